"""SharedOutcomes: outcomes of calls with an idempotency key in a store that several processes share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from .._internal.at_fork import renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.redis_client import StoreClient, StoreUnavailable, as_text, require_namespace
from ..errors import OverloadedError
from .store import MARKER_SIZE, NO_ROOM, Bounds, Claim, Found, StoreFull

__all__ = ["SharedOutcomes", "UnnamedOutcomes"]

_log = get_logger("portal.calls")
_NO_BOUND = 2**53

# KEYS[1] is a claim or outcome: the digest of the parameters (64 hex digits), then "?" and the token of the claim, or
# "=" and the outcome. KEYS[2] and KEYS[3] are the share of a client: the moment at which each of its entries ends, and
# the size of each entry and of all of them ("total"). The braces in their names put them on one node of a cluster.
_SHARE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function resize(member, size)
  redis.call('HINCRBY', KEYS[3], 'total', size - (tonumber(redis.call('HGET', KEYS[3], member) or 0)))
  if size == 0 then
    redis.call('HDEL', KEYS[3], member)
    redis.call('ZREM', KEYS[2], member)
  else
    redis.call('HSET', KEYS[3], member, size)
  end
end
local function total()
  return tonumber(redis.call('HGET', KEYS[3], 'total') or 0)
end
local function keep(member, value, left, size)
  redis.call('SET', KEYS[1], value, 'PX', left)
  resize(member, size)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + left), member)
  for number = 2, 3 do
    if redis.call('PTTL', KEYS[number]) < tonumber(left) then
      redis.call('PEXPIRE', KEYS[number], left + 1000)
    end
  end
end
"""
_CLAIM = (
    _SHARE
    + """
local value, left, member, size = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 500)) do resize(gone, 0) end
local entries = redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf')
if entries >= tonumber(ARGV[5]) or total() + size > tonumber(ARGV[6]) then
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return math.max(1, (tonumber(first[2] or now)) - now)
end
keep(member, value, left, size)
return 0
"""
)
_RECORD = (
    _SHARE
    + """
local claimed, value, left, member, size = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local kept = redis.call('GET', KEYS[1])
if kept and kept ~= claimed then return 0 end
if total() - tonumber(redis.call('HGET', KEYS[3], member) or 0) + size > tonumber(ARGV[6]) then
  value, size = ARGV[7], tonumber(ARGV[8])
end
keep(member, value, left, size)
return 1
"""
)
_DROP = (
    _SHARE
    + """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  resize(ARGV[2], 0)
end
return 1
"""
)


class SharedOutcomes:
    """Outcomes in a store that several processes share.

    A claim is a lease. A thread renews it while the call is running. The keys of a process that died are free when
    their leases end. If the store does not respond, an outcome is recorded when it responds again.

    Args:
        link: the connection to the store.
        window: seconds for which an outcome is kept.
        lease: the length of a lease in seconds.
        prefix: the prefix of the keys in the store.
        bounds: how much each client may have in the store. Of the bounds for all clients, `size` holds for the outcomes
            of this process that wait to be recorded. The store itself bounds the rest.
        clock: seconds, as `time.monotonic`.

    Threads: any. Fork: a child starts its own thread and has no claims of the parent.
    """

    notifies: bool = False

    def __init__(
        self, link: StoreClient, window: float, lease: float, prefix: str, bounds: Bounds, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._window = window
        self._lease_ms = max(1, round(lease * 1000))
        self._interval = lease / 3
        self._prefix = prefix
        self._bounds = bounds
        self._clock = clock
        self._claiming = link.client.register_script(_CLAIM)
        self._recording = link.client.register_script(_RECORD)
        self._dropping = link.client.register_script(_DROP)
        self._loop = BackgroundLoop("portal-leases", self._wait_and_renew)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without claims. A child process has no thread."""
        self._wake = Condition()  # guards the attributes below
        self._held: set[Claim] = set()
        self._unrecorded: OrderedDict[Claim, tuple[str, float]] = OrderedDict()
        self._bytes = 0
        self._closed = False

    def __len__(self) -> int:
        """Return the number of claims that this process holds, and of outcomes that wait to be recorded."""
        return len(self._held) + len(self._unrecorded)

    @property
    def size(self) -> int:
        """The bytes of the outcomes that wait to be recorded."""
        return self._bytes

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first.

        Raises: StoreUnavailable, StoreFull.
        """
        value, bounds = _claimed(claim), self._bounds
        values = [value, self._lease_ms, _member(claim), MARKER_SIZE, bounds.client_entries, bounds.client_size]
        kept = self._link.run(lambda _: self._claiming(keys=self._keys(claim), args=values))
        if isinstance(kept, int):
            if kept:
                raise StoreFull(True, kept / 1000)
        else:
            text = as_text(kept)
            if text != value:  # equal if a client with retries made the claim but lost the response
                return Found(text[:64], text[65:] if text[64:65] == "=" else None)
        try:
            self._hold(claim)
        except BaseException:  # without a thread the lease would end before the call
            with suppress(StoreUnavailable):
                self.drop(claim)
            raise
        return None

    def holds(self, claim: Claim) -> bool:
        """Return whether a claim is renewed."""
        return claim in self._held

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window. If that fails, it is recorded later."""
        until = self._clock() + self._window
        try:
            self._send(claim, text, until)
            with self._wake:
                self._discard(claim)  # of an earlier attempt
        except StoreUnavailable:
            self._postpone(claim, text, until)
        except BaseException as error:
            self._postpone(claim, text, until)
            if not isinstance(error, Exception):
                raise
            _log.error("idempotency: a response is recorded later: key=%s", claim.key, exc_info=error)
        finally:
            self._release(claim)

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs. Without the store it ends with its lease."""
        self._release(claim)
        self._remove(claim)

    def _remove(self, claim: Claim) -> None:
        self._link.run(lambda _: self._dropping(keys=self._keys(claim), args=[_claimed(claim), _member(claim)]))

    def watch(self, key: str, woken: threading.Event) -> None:
        """Do nothing: a shared store does not notify."""

    def _keys(self, claim: Claim) -> list[str]:
        share = f"{self._prefix}:{{{claim.client}}}"
        return [f"{share}:{claim.key}", f"{share}:ends", f"{share}:sizes"]

    def _write(self, claim: Claim, value: str, left: int, size: int, room: int) -> bool:
        """Write a claim or outcome unless another call's is there. Return whether it is written.

        Args:
            size: bytes that it takes of the client's share.
            room: the size of the share; beyond it NO_ROOM is written.
        """
        marker = f"{claim.digest}={NO_ROOM}"
        values = [_claimed(claim), value, left, _member(claim), size, room, marker, MARKER_SIZE]
        return bool(self._link.run(lambda _: self._recording(keys=self._keys(claim), args=values)))

    def _send(self, claim: Claim, text: str, until: float) -> None:
        left = max(1, round((until - self._clock()) * 1000))
        size = max(MARKER_SIZE, len(text))
        if not self._write(claim, f"{claim.digest}={text}", left, size, self._bounds.client_size):
            _log.error(
                "idempotency: a claim expired before its call ended; a second call with its key may have run: key=%s",
                claim.key,
            )

    def _hold(self, claim: Claim) -> None:
        self._start_loop()
        with self._wake:
            self._held.add(claim)
            self._wake.notify()

    def _release(self, claim: Claim) -> None:
        with self._wake:
            self._held.discard(claim)

    def _postpone(self, claim: Claim, text: str, until: float) -> None:
        with self._wake:
            if len(text) > len(NO_ROOM) and self._bytes + len(text) > self._bounds.size:
                text = NO_ROOM  # small, and only calls that were running when the store was lost get here
                _log.error(
                    "idempotency: a response was lost, its call will not run again; the store does not respond: "
                    "max_bytes=%d",
                    self._bounds.size,
                )
            self._discard(claim)
            self._unrecorded[claim] = (text, until)
            self._bytes += len(text)
            self._wake.notify()
        try:
            self._start_loop()
        except OverloadedError as error:
            _log.error("idempotency: a response is recorded later: %s", error)

    def _discard(self, claim: Claim) -> None:
        gone = self._unrecorded.pop(claim, None)
        self._bytes -= len(gone[0]) if gone is not None else 0

    def _start_loop(self) -> None:
        if not self._closed:
            self._loop.start()

    def _wait_and_renew(self) -> None:
        with self._wake:
            if not (self._closed or self._held or self._unrecorded):
                self._wake.wait(3600.0)
                return
            interval = min(1.0, self._interval) if self._unrecorded else self._interval
            if self._wake.wait_for(lambda: self._closed, interval):
                return
        self.renew_and_record()

    def renew_and_record(self) -> None:
        """Renew the leases of running calls and record the outcomes that wait. The thread calls this.

        Raises: the last error of a claim, after all claims, unless the store does not respond.
        """
        with self._wake:
            held, unrecorded = list(self._held), list(self._unrecorded.items())
        failure: BaseException | None = None
        for claim in held:
            try:
                self._renew(claim)
            except StoreUnavailable:
                return  # already logged; the thread tries again
            except BaseException as error:  # the lease of another claim must not end for it
                failure = error
        for claim, (text, until) in unrecorded:
            try:
                if self._clock() < until:
                    self._send(claim, text, until)
                with self._wake:
                    self._discard(claim)
            except StoreUnavailable:
                return
            except BaseException as error:
                failure = error
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # else the exception and this frame refer to each other

    def _renew(self, claim: Claim) -> None:
        # If the store lost the claim, this makes it again, because the call is still running.
        if not self._write(claim, _claimed(claim), self._lease_ms, MARKER_SIZE, _NO_BOUND):
            self._release(claim)
        elif claim not in self._held:  # dropped meanwhile, so this renewal made it again
            self._remove(claim)

    def close(self) -> None:
        """End the thread, and close the connections that were opened for a URL."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._loop.stop()
        self._link.close()


def _member(claim: Claim) -> str:
    """Return the name of a claim among those of its client."""
    return claim.key[:32]


def _claimed(claim: Claim) -> str:
    return f"{claim.digest}?{claim.token}"


class UnnamedOutcomes:
    """Stands for a shared store until its namespace is known. Raises ConfigError when a call uses it.

    Threads: any.
    """

    notifies: bool = False

    def claim(self, claim: Claim) -> Found | None:
        """Raise ConfigError, since without a namespace the call could get the response of another portal."""
        require_namespace(None, path="idempotency.namespace")
        return None  # pragma: no cover - it raises

    def holds(self, claim: Claim) -> bool:
        """Return False: there are no claims."""
        return False

    def record(self, claim: Claim, text: str) -> None:
        """Do nothing: there are no claims."""

    def drop(self, claim: Claim) -> None:
        """Do nothing: there are no claims."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Do nothing: there are no claims."""

    def __len__(self) -> int:
        return 0

    @property
    def size(self) -> int:
        """0, since nothing is kept."""
        return 0

    def close(self) -> None:
        """Do nothing: there are no connections."""
