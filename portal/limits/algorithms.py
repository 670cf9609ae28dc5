"""Rates: how many calls in how long, and the two ways to count them, in this process or in a shared store.

Token bucket: `burst` tokens at most, `calls` of them come back in `seconds`, evenly; a call takes one. Sliding window:
calls are counted in windows of `seconds`, the first of which begins with a key's first call; the count of the window
before weighs as much as it still overlaps the last `seconds`.

Times are whole microseconds and the arithmetic in memory is exact. throttled-py was measured first: its token bucket
counts in whole seconds and, on Redis, forgets a bucket that fills in under half a second (100 a second with a burst of
10 let 300 of 300 through); its window takes the time from each client's clock and not from the server's.
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
_MOST_CALLS = 1_000_000_000
_LONGEST = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """`calls` in `seconds`, both whole numbers above 0."""

    calls: int
    seconds: int

    @staticmethod
    def parse(text: str, path: str = "rate_limit.rate") -> Rate:
        """The rate of "100/minute", "5/second", "1000/hour", "10/day", "20/30s".

        Raises: ConfigError, which names the setting by `path`.
        """
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is not None and found.group(3) in _UNITS:
            calls = int(found.group(1))
            seconds = int(found.group(2) or 1) * _UNITS[found.group(3)]
            if 0 < calls <= _MOST_CALLS and 0 < seconds <= _LONGEST:
                return Rate(calls, seconds)
        allowed = 'calls in a time, such as "100/minute", "5/second", "1000/hour", "10/day" or "20/30s"'
        raise ConfigError(f"the rate is {text!r:.80}; expected: {allowed}", path=path, expected=allowed)


class Verdict(NamedTuple):
    """What is said of one call.

    Attributes:
        allowed: whether it may run.
        remaining: calls that may follow at once.
        reset: seconds until the whole quota is there again, if nobody calls.
        retry_after: seconds until a call is allowed; 0.0 where this one is.
    """

    allowed: bool
    remaining: int
    reset: float
    retry_after: float


_verdict = tuple.__new__  # a NamedTuple's own constructor is a call more


class RateStore(Protocol):
    """Counts calls by key."""

    def take(self, key: str) -> Verdict:
        """Count one call if it is allowed. Raises: StoreUnavailable."""


# token bucket


def _bucket_verdict(calls: int, token: int, full: int, level: int, allowed: bool) -> Verdict:
    """Of a bucket after the call; a microsecond brings `calls` units of level, and a call costs `token` of them."""
    reset = -((level - full) // calls) if level < full else 0
    wait = 0.0 if allowed else -((level - token) // calls) / _SECOND
    return Verdict(allowed, level // token, reset / _SECOND, wait)


class _Table:
    """States by key, the least recently used dropped beyond a number."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._lock = new_lock()  # guards the table
        self._states: OrderedDict[str, list[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def _state(self, key: str, new: list[int]) -> list[int]:
        """The state of a key, to be changed in place; the lock is held."""
        states = self._states
        state = states.get(key)
        if state is not None:
            states.move_to_end(key)
            return state
        states[key] = new
        if len(states) > self._most:
            states.popitem(last=False)
        return new


class MemoryBuckets(_Table):
    """Token buckets of this process; about 1 us a call. Threads: any.

    Of each bucket that was used only the moment is kept at which it is full again: by what that lies ahead of now, the
    bucket is not full (the generic cell rate algorithm of ITU-T I.371). Moments are in units of level.

    Args:
        most: keys; of those beyond, the ones used least recently start anew.
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, rate: Rate, burst: int, most: int, clock: Callable[[], float]) -> None:
        super().__init__(most, clock)
        self._calls = rate.calls
        self._token = rate.seconds * _SECOND  # so many units of level; each microsecond brings `calls` of them
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
    """Counting by a script that the store runs as one step, with the store's clock."""

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
    """After the call; `elapsed` microseconds of the present window have passed."""
    period = rate.seconds * _SECOND
    room = rate.calls * period - count * period - before * (period - elapsed)
    reset = 2 * period - elapsed if count else period - elapsed if before else 0
    wait = 0 if allowed else _window_wait(rate.calls, period, before, count, elapsed)
    return Verdict(allowed, max(0, room // period), reset / _SECOND, wait / _SECOND)


def _window_wait(calls: int, period: int, before: int, count: int, elapsed: int) -> int:
    if count < calls:  # so `before` is in the way, and weighs less and less
        return max(1, period - (calls - count - 1) * period // before - elapsed)
    return period - elapsed + max(0, period - (calls - 1) * period // count)


class MemoryWindows(_Table):
    """Sliding windows of this process; about 2 us a call. Threads: any; arguments as for MemoryBuckets."""

    def __init__(self, rate: Rate, most: int, clock: Callable[[], float]) -> None:
        super().__init__(most, clock)
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
    rate: Rate, burst: int | None, link: StoreClient | None, prefix: str, most: int, clock: Callable[[], float]
) -> RateStore:
    """Where calls are counted.

    Args:
        burst: of token buckets; None counts in sliding windows.
        link: to the store that is shared; None counts in this process.
        prefix: of what is kept in a shared store.
        most, clock: as of MemoryBuckets, in this process.
    """
    if link is None:
        return MemoryWindows(rate, most, clock) if burst is None else MemoryBuckets(rate, burst, most, clock)
    if burst is None:
        return SharedWindows(rate, link, f"{prefix}:w")
    return SharedBuckets(rate, burst, link, f"{prefix}:b{burst}")
