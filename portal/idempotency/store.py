"""Outcomes of calls with an idempotency key, in this process or in a shared store.

A call first makes a claim with a token of its own. Then its outcome is recorded for the duration of a window, or the
claim is dropped. A call that finds another call's claim waits and looks again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol
from weakref import WeakSet

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.redis_client import RedisClient, StoreClient, StoreUnavailable, as_text

__all__ = ["Claim", "Found", "MemoryOutcomes", "OutcomeStore", "SharedOutcomes", "store_of"]

_log = logging.getLogger("portal.calls")


class Claim(NamedTuple):
    """The claim of a call to be the first with its idempotency key.

    Attributes:
        key: the digest of caller, function and idempotency key.
        digest: the digest of the parameters, 64 hex digits.
        token: a random text, different for each claim.
    """

    key: str
    digest: str
    token: str


class Found(NamedTuple):
    """A claim of an earlier call.

    Attributes:
        digest: the digest of its parameters.
        text: its outcome; None while the call is running.
    """

    digest: str
    text: str | None


class OutcomeStore(Protocol):
    """Keeps claims and outcomes. Every method except `watch` and `close` may raise StoreUnavailable.

    Attributes:
        notifies: whether `watch` sets its event. If not, a waiting call must poll.
    """

    notifies: bool

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first; its owner then calls `record` or `drop`."""

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window."""

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call ends, or at once if it has ended."""

    def close(self) -> None:
        """End threads and connections."""


class _Running:
    __slots__ = ("digest", "thread", "token", "watchers")

    def __init__(self, claim: Claim) -> None:
        self.thread = threading.get_ident()
        self.digest = claim.digest
        self.token = claim.token
        self.watchers: WeakSet[threading.Event] = WeakSet()  # weak, so that a waiter that stops leaves the set


class _Done(NamedTuple):
    digest: str
    text: str
    until: float


class MemoryOutcomes:
    """Outcomes in this process. Beyond a limit the oldest one is removed.

    Args:
        window: seconds for which an outcome is kept.
        max_entries: the largest number of outcomes.
        max_bytes: the largest size of all outcomes together.
        clock: seconds, as `time.monotonic`.

    Threads: any. The thread that made a claim ends it. Fork: a child keeps the outcomes, and the claims of the thread
    that forked. Claims of other threads are dropped, because they would never end in the child.
    """

    notifies: bool = True

    def __init__(self, window: float, max_entries: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._window = window
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._running: dict[str, _Running] = {}
        self._done: OrderedDict[str, _Done] = OrderedDict()  # the first one expires next
        self._bytes = 0
        self._warned = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the claims of other threads, which a child process does not have."""
        own = threading.get_ident()
        self._running = {key: running for key, running in self._running.items() if running.thread == own}

    def __len__(self) -> int:
        return len(self._running) + len(self._done)

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first."""
        now = self._clock()
        with self._lock:
            self._remove_expired(now)
            done = self._done.get(claim.key)
            if done is not None:
                return Found(done.digest, done.text)
            running = self._running.get(claim.key)
            if running is not None:
                return Found(running.digest, None)
            self._running[claim.key] = _Running(claim)
            return None

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window."""
        until = self._clock() + self._window
        with self._lock:
            running = self._running.pop(claim.key)
            self._done[claim.key] = _Done(claim.digest, text, until)
            self._bytes += len(text)
            early = self._make_room()
            warn, self._warned = early and not self._warned, self._warned or early
        if warn:
            _log.warning(
                "idempotency: outcomes are removed before their window ends; raise max_entries=%d or max_bytes=%d",
                self._max_entries,
                self._max_bytes,
            )
        _wake(running)

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs."""
        with self._lock:
            running = self._running.pop(claim.key)
        _wake(running)

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call ends, or at once if it has ended."""
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                running.watchers.add(woken)
                return
        woken.set()

    def _remove_expired(self, now: float) -> None:
        while self._done and next(iter(self._done.values())).until <= now:
            self._remove_oldest()

    def _make_room(self) -> bool:
        early = False
        while len(self._done) > self._max_entries or self._bytes > self._max_bytes:
            self._remove_oldest()
            early = True
        return early

    def _remove_oldest(self) -> None:
        _, done = self._done.popitem(last=False)
        self._bytes -= len(done.text)

    def close(self) -> None:
        """Do nothing. A store in memory has no connection."""


def _wake(running: _Running) -> None:
    for woken in list(running.watchers):
        woken.set()


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


def store_of(
    source: str | RedisClient | None,
    window: float,
    lease: float,
    prefix: str,
    max_entries: int,
    max_bytes: int,
    clock: Callable[[], float],
) -> OutcomeStore:
    """Return the store for the setting `store`.

    Args:
        source: a URL or a client of a shared store; None keeps outcomes in this process.
        window, lease, prefix, max_entries, max_bytes, clock: the settings of the store.
    """
    if source is None:
        return MemoryOutcomes(window, max_entries, max_bytes, clock)
    link = StoreClient(source, path="idempotency.store", clock=clock)
    return SharedOutcomes(link, window, lease, prefix, max_bytes, clock)
