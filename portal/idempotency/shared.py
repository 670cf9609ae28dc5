"""SharedOutcomes: outcomes of calls with an idempotency key in a store that several processes share."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from .._internal.at_fork import renew_after_fork
from .._internal.redis_client import StoreClient, StoreUnavailable, as_text, require_namespace
from .store import Claim, Found

__all__ = ["SharedOutcomes", "UnnamedOutcomes"]

_log = logging.getLogger("portal.calls")

# A value is the digest of the parameters (64 hex digits), then "?" and the token of the claim, or "=" and the outcome.
_RECORD = """
local kept = redis.call('GET', KEYS[1])
if kept and kept ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_DROP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class SharedOutcomes:
    """Outcomes in a store that several processes share.

    A claim is a lease. A thread renews it while the call is running. The keys of a process that died are free when
    their leases end. If the store does not respond, an outcome is recorded when it responds again.

    Args:
        link: the connection to the store.
        window: seconds for which an outcome is kept.
        lease: the length of a lease in seconds.
        prefix: the prefix of the keys in the store.
        max_bytes: the largest size of the outcomes that wait to be recorded.
        clock: seconds, as `time.monotonic`.

    Threads: any. Fork: a child starts its own thread and has no claims of the parent.
    """

    notifies: bool = False

    def __init__(
        self, link: StoreClient, window: float, lease: float, prefix: str, max_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._window = window
        self._lease_ms = max(1, round(lease * 1000))
        self._interval = lease / 3
        self._prefix = prefix
        self._max_bytes = max_bytes
        self._clock = clock
        self._recording = link.client.register_script(_RECORD)
        self._dropping = link.client.register_script(_DROP)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start without claims and without a thread."""
        self._wake = threading.Condition()  # guards the attributes below
        self._held: set[Claim] = set()
        self._unrecorded: OrderedDict[Claim, tuple[str, float]] = OrderedDict()
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first.

        Raises: StoreUnavailable.
        """
        name, value = self._name(claim), _claimed(claim)
        while True:
            if self._link.run(lambda client: client.set(name, value, nx=True, px=self._lease_ms)):
                break
            kept = self._link.run(lambda client: client.get(name))
            if kept is not None:
                text = as_text(kept)
                if text == value:
                    break  # a client with retries made the claim but lost the response
                return Found(text[:64], text[65:] if text[64:65] == "=" else None)
        self._hold(claim)
        return None

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window. If the store does not respond, it is recorded later."""
        until = self._clock() + self._window
        try:
            self._send(claim, text, until)
        except StoreUnavailable:
            self._postpone(claim, text, until)
        self._release(claim)

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs. Without the store it ends with its lease."""
        self._release(claim)
        self._link.run(lambda _: self._dropping(keys=[self._name(claim)], args=[_claimed(claim)]))

    def watch(self, key: str, woken: threading.Event) -> None:
        """Do nothing: a shared store does not notify."""

    def _name(self, claim: Claim) -> str:
        return f"{self._prefix}:{claim.key}"

    def _send(self, claim: Claim, text: str, until: float) -> None:
        left = max(1, round((until - self._clock()) * 1000))
        values = [_claimed(claim), f"{claim.digest}={text}", left]
        if not self._link.run(lambda _: self._recording(keys=[self._name(claim)], args=values)):
            _log.error(
                "idempotency: the claim on a key expired before its call ended; another call may have run: key=%s",
                claim.key,
            )

    def _hold(self, claim: Claim) -> None:
        with self._wake:
            self._held.add(claim)
            self._wake_thread()

    def _release(self, claim: Claim) -> None:
        with self._wake:
            self._held.discard(claim)

    def _postpone(self, claim: Claim, text: str, until: float) -> None:
        with self._wake:
            self._unrecorded[claim] = (text, until)
            self._bytes += len(text)
            while self._bytes > self._max_bytes:
                self._discard(next(iter(self._unrecorded)))
                _log.error(
                    "idempotency: an outcome was lost; the store does not respond: max_bytes=%d", self._max_bytes
                )
            self._wake_thread()

    def _discard(self, claim: Claim) -> None:
        gone = self._unrecorded.pop(claim, None)
        self._bytes -= len(gone[0]) if gone is not None else 0

    def _wake_thread(self) -> None:
        if self._thread is None and not self._closed:
            thread = threading.Thread(target=self._run, name="portal-leases", daemon=True)
            thread.start()
            self._thread = thread
        self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._held and not self._unrecorded:
                    self._wake.wait(3600.0)
                if not self._closed:
                    interval = min(1.0, self._interval) if self._unrecorded else self._interval
                    self._wake.wait_for(lambda: self._closed, interval)
                if self._closed:
                    return
            self.renew_and_record()

    def renew_and_record(self) -> None:
        """Renew the leases of running calls and record the outcomes that wait. The thread calls this."""
        with self._wake:
            held, unrecorded = list(self._held), list(self._unrecorded.items())
        try:
            for claim in held:
                self._renew(claim)
            for claim, (text, until) in unrecorded:
                if self._clock() < until:
                    self._send(claim, text, until)
                with self._wake:
                    self._discard(claim)
        except StoreUnavailable:
            return  # already logged; the thread tries again

    def _renew(self, claim: Claim) -> None:
        # If the store lost the claim, this makes it again, because the call is still running.
        values = [_claimed(claim), _claimed(claim), self._lease_ms]
        held = self._link.run(lambda _: self._recording(keys=[self._name(claim)], args=values))
        if not held:
            self._release(claim)
        elif claim not in self._held:  # dropped meanwhile, so this renewal made it again
            self._link.run(lambda _: self._dropping(keys=[self._name(claim)], args=[_claimed(claim)]))

    def close(self) -> None:
        """End the thread, and close the connections that were opened for a URL."""
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        self._link.close()


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

    def record(self, claim: Claim, text: str) -> None:
        """Do nothing: there are no claims."""

    def drop(self, claim: Claim) -> None:
        """Do nothing: there are no claims."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Do nothing: there are no claims."""

    def close(self) -> None:
        """Do nothing: there are no connections."""
