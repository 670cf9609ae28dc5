"""Rates, and two algorithms to count calls, in this process or in a shared store.

A token bucket holds up to `burst` tokens. A call takes one token, and `calls` tokens return in `seconds`, evenly. A
sliding window counts calls in windows of `seconds`; the first window of a key starts with its first call. The count of
the previous window is weighted with its overlap with the last `seconds`.

Times are whole microseconds, and the arithmetic in memory is exact. throttled-py was measured first. Its token bucket
counts whole seconds and, on Redis, forgets a bucket that refills in under half a second (100 calls a second with a
burst of 10 let 300 of 300 through). Its window uses the clock of each client instead of the server's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .._internal.at_fork import new_lock
from .._internal.redis_client import StoreClient, as_text
from ..errors import ConfigError

__all__ = [
    "MemoryBuckets",
    "MemoryWindows",
    "Rate",
    "RateStore",
    "SharedBuckets",
    "SharedWindows",
    "Verdict",
    "rate_store",
]

_SECOND = 1_000_000  # microseconds
_TEXT = re.compile(r"\s*(\d{1,10})\s*/\s*(\d{0,8})\s*([a-z]+)\s*", re.ASCII)
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}
_MAX_CALLS = 1_000_000_000
_MAX_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of calls in a number of seconds, both whole numbers above 0."""

    calls: int
    seconds: int

    @staticmethod
    def parse(text: str, path: str = "rate_limit.rate") -> Rate:
        """Parse a rate such as "100/minute", "5/second", "1000/hour", "10/day" or "20/30s".

        Raises: ConfigError for the setting `path`.
        """
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is not None and found.group(3) in _UNITS:
            calls = int(found.group(1))
            seconds = int(found.group(2) or 1) * _UNITS[found.group(3)]
            if 0 < calls <= _MAX_CALLS and 0 < seconds <= _MAX_SECONDS:
                return Rate(calls, seconds)
        expected = 'a rate such as "100/minute", "5/second", "1000/hour", "10/day" or "20/30s"'
        raise ConfigError.invalid(path, text, expected)


class Verdict(NamedTuple):
    """The result of counting a call.

    Attributes:
        allowed: whether the call may run.
        remaining: further calls that may run at once.
        reset: seconds until the quota is full again without further calls.
        retry_after: seconds until a call is allowed; 0.0 if this one is.
    """

    allowed: bool
    remaining: int
    reset: float
    retry_after: float


_verdict = tuple.__new__  # the constructor of a NamedTuple costs one more call


class RateStore(Protocol):
    """Counts calls by key."""

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed. Raises: StoreUnavailable."""


# token bucket


def _bucket_verdict(calls: int, token: int, full: int, level: int, allowed: bool) -> Verdict:
    """Return the verdict of a bucket after a call. A microsecond adds `calls` units of level; a call takes `token`."""
    reset = -((level - full) // calls) if level < full else 0
    wait = 0.0 if allowed else -((level - token) // calls) / _SECOND
    return Verdict(allowed, level // token, reset / _SECOND, wait)


class _Table:
    """States by key; beyond `max_entries` the least recently used is removed."""

    def __init__(self, max_entries: int, clock: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._lock = new_lock()  # guards the table
        self._states: OrderedDict[str, list[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def _state(self, key: str, new: list[int]) -> list[int]:
        """Return the state of a key, to be changed in place. The caller holds the lock."""
        states = self._states
        state = states.get(key)
        if state is not None:
            states.move_to_end(key)
            return state
        states[key] = new
        if len(states) > self._max_entries:
            states.popitem(last=False)
        return new


class MemoryBuckets(_Table):
    """Token buckets of this process; a call takes about 1 us.

    For each bucket it keeps only the moment at which the bucket is full again, in units of level. The time from now to
    that moment is what the bucket lacks.

    Args:
        max_entries: keys at most. Beyond it the least recently used is removed and starts with a full bucket.
        clock: seconds, as `time.monotonic`.

    Threads: any.

    Source: generic cell rate algorithm, ITU-T I.371.
    """

    def __init__(self, rate: Rate, burst: int, max_entries: int, clock: Callable[[], float]) -> None:
        super().__init__(max_entries, clock)
        self._calls = rate.calls
        self._token = rate.seconds * _SECOND  # units of level; each microsecond adds `calls` units
        self._full = burst * self._token

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed."""
        token, calls = self._token, self._calls
        with self._lock:
            now = round(self._clock() * _SECOND) * calls
            state = self._state(key, [now])
            full_at = state[0]
            missing = full_at - now if full_at > now else 0
            left = self._full - missing - token
            if left < 0:
                return Verdict(False, 0, -(-missing // calls) / _SECOND, -(left // calls) / _SECOND)
            missing += token
            state[0] = now + missing
        return _verdict(Verdict, (True, left // token, -(-missing // calls) / _SECOND, 0.0))


_BUCKET_SCRIPT = """
local calls, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = burst
if kept[1] then
  level = math.min(burst, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * calls / period)
end
local allowed = 0
if level + 0.000001 >= 1 then
  allowed = 1
  level = level - 1
  redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((burst - level) * period / calls / 1000) + 1000)
end
return {allowed, string.format('%.17g', level)}
"""


class _Shared:
    """Counts with a script that the store runs atomically, with the clock of the store."""

    def __init__(self, link: StoreClient, prefix: str, script: str, arguments: list[int]) -> None:
        self._link = link
        self._prefix = prefix
        self._script = link.client.register_script(script)
        self._arguments = arguments

    def _count(self, key: str) -> list[Any]:
        keys = [f"{self._prefix}:{key}"]
        found: list[Any] = self._link.run(lambda _: self._script(keys=keys, args=self._arguments))
        return found


class SharedBuckets(_Shared):
    """Token buckets in a store that several processes share. Threads: any."""

    def __init__(self, rate: Rate, burst: int, link: StoreClient, prefix: str) -> None:
        super().__init__(link, prefix, _BUCKET_SCRIPT, [rate.calls, rate.seconds * _SECOND, burst])
        self._rate = rate
        self._burst = burst

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed. Raises: StoreUnavailable."""
        allowed, level = self._count(key)
        units = round(float(as_text(level)) * self._rate.seconds * _SECOND)
        token = self._rate.seconds * _SECOND
        return _bucket_verdict(self._rate.calls, token, self._burst * token, max(0, units), bool(allowed))


# sliding window


def _window_verdict(rate: Rate, before: int, count: int, elapsed: int, allowed: bool) -> Verdict:
    """Return the verdict after a call, `elapsed` microseconds after the start of the current window."""
    period = rate.seconds * _SECOND
    room = rate.calls * period - count * period - before * (period - elapsed)
    reset = 2 * period - elapsed if count else period - elapsed if before else 0
    wait = 0 if allowed else _window_wait(rate.calls, period, before, count, elapsed)
    return Verdict(allowed, max(0, room // period), reset / _SECOND, wait / _SECOND)


def _window_wait(calls: int, period: int, before: int, count: int, elapsed: int) -> int:
    if count < calls:  # the previous window blocks the call, and its weight decreases
        return max(1, period - (calls - count - 1) * period // before - elapsed)
    return period - elapsed + max(0, period - (calls - 1) * period // count)


class MemoryWindows(_Table):
    """Sliding windows of this process; a call takes about 2 us. Arguments as for MemoryBuckets. Threads: any."""

    def __init__(self, rate: Rate, max_entries: int, clock: Callable[[], float]) -> None:
        super().__init__(max_entries, clock)
        self._rate = rate
        self._period = rate.seconds * _SECOND

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed."""
        period, calls = self._period, self._rate.calls
        with self._lock:
            now = round(self._clock() * _SECOND)
            state = self._state(key, [now, 0, 0])
            began, before, count = state
            passed = max(0, now - began)
            if passed >= 2 * period:
                began, before, count, passed = now, 0, 0, 0
            elif passed >= period:
                began, before, count, passed = began + period, count, 0, passed - period
            allowed = before * (period - passed) + (count + 1) * period <= calls * period
            if allowed:
                count += 1
                state[:] = began, before, count
        return _window_verdict(self._rate, before, count, passed, allowed)


_WINDOW_SCRIPT = """
local calls, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('HMGET', KEYS[1], 'began', 'before', 'count')
local began, before, count = now, 0, 0
if kept[1] then began, before, count = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3]) end
local passed = math.max(0, now - began)
if passed >= 2 * period then
  began, before, count, passed = now, 0, 0, 0
elseif passed >= period then
  began, before, count, passed = began + period, count, 0, passed - period
end
local allowed = 0
if before * ((period - passed) / period) + count + 1 <= calls + 0.000001 then
  allowed = 1
  count = count + 1
  redis.call('HSET', KEYS[1], 'began', string.format('%.0f', began), 'before', before, 'count', count)
  redis.call('PEXPIRE', KEYS[1], math.ceil((2 * period - passed) / 1000) + 1)
end
return {allowed, before, count, passed}
"""


class SharedWindows(_Shared):
    """Sliding windows in a store that several processes share. Threads: any."""

    def __init__(self, rate: Rate, link: StoreClient, prefix: str) -> None:
        super().__init__(link, prefix, _WINDOW_SCRIPT, [rate.calls, rate.seconds * _SECOND])
        self._rate = rate

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed. Raises: StoreUnavailable."""
        allowed, before, count, passed = map(int, self._count(key))
        return _window_verdict(self._rate, before, count, passed, bool(allowed))


def rate_store(
    rate: Rate, burst: int | None, link: StoreClient | None, prefix: str, max_entries: int, clock: Callable[[], float]
) -> RateStore:
    """Return the store that counts calls.

    Args:
        burst: size of token buckets; None selects sliding windows.
        link: the shared store; None counts in this process.
        prefix: prefix of the keys in a shared store.
        max_entries, clock: see MemoryBuckets; only for counting in this process.
    """
    if link is None:
        return (
            MemoryWindows(rate, max_entries, clock) if burst is None else MemoryBuckets(rate, burst, max_entries, clock)
        )
    if burst is None:
        return SharedWindows(rate, link, f"{prefix}:w")
    return SharedBuckets(rate, burst, link, f"{prefix}:b{burst}")
