"""Outcomes: what is remembered of calls under an idempotency key, in this process or in a shared store.

A call is first claimed, by a token that nobody else has, then its outcome is recorded for the length of a window, or
the claim is dropped. Who finds a claim waits and looks again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.redis_client import StoreLink, StoreLost, text_of

__all__ = ["Claim", "Found", "MemoryOutcomes", "OutcomeStore", "SharedOutcomes", "store_of"]

_log = logging.getLogger("portal.calls")


class Claim(NamedTuple):
    """A call that wants to run.

    Attributes:
        key: which call: digest of caller, function and idempotency key.
        digest: of its parameters, 64 hex digits.
        token: whose claim it is.
    """

    key: str
    digest: str
    token: str


class Found(NamedTuple):
    """What is known of a call that was claimed before; `text` is its outcome, None while it runs."""

    digest: str
    text: str | None


class OutcomeStore(Protocol):
    """Where claims and outcomes are kept. Every method but `watch` and `close` may raise StoreLost.

    Attributes:
        tells: whether `watch` wakes who waits; else it has to look again and again.
    """

    tells: bool

    def claim(self, claim: Claim) -> Found | None:
        """None: the call is the claimer's to run, who then calls `record` or `drop`."""

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window."""

    def drop(self, claim: Claim) -> None:
        """Nothing is kept: the next claim runs."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call no longer runs, at once if it does not."""

    def close(self) -> None:
        """End threads and connections."""


class _Running:
    __slots__ = ("digest", "thread", "token", "watchers")

    def __init__(self, claim: Claim) -> None:
        self.thread = threading.get_ident()
        self.digest = claim.digest
        self.token = claim.token
        self.watchers: WeakSet[threading.Event] = WeakSet()  # weak: who stops waiting is gone from it


class _Done(NamedTuple):
    digest: str
    text: str
    until: float


class MemoryOutcomes:
    """Outcomes of this process, the oldest dropped where there are too many.

    Args:
        window: seconds.
        most: outcomes.
        max_bytes: of all outcomes together.
        clock: seconds, as `time.monotonic`.

    Threads: any; who has claimed also ends the claim. Calls that run are as many as threads run them. Fork: the child
    keeps the outcomes and the claims of the thread that it goes on with; those of others would never end there.
    """

    tells: bool = True

    def __init__(self, window: float, most: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._window = window
        self._most = most
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = new_lock()  # guards all below
        self._running: dict[str, _Running] = {}
        self._done: OrderedDict[str, _Done] = OrderedDict()  # the next to expire first
        self._bytes = 0
        self._said = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Hold the claims of this thread alone; a child process, which has no other, does so by itself."""
        own = threading.get_ident()
        self._running = {key: running for key, running in self._running.items() if running.thread == own}

    def __len__(self) -> int:
        return len(self._running) + len(self._done)

    def claim(self, claim: Claim) -> Found | None:
        """None: the call is the claimer's to run."""
        now = self._clock()
        with self._lock:
            self._forget_expired(now)
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
            say, self._said = early and not self._said, self._said or early
        if say:
            _log.warning("idempotency: outcomes are forgotten before their window ends, for there are too many")
        _wake(running)

    def drop(self, claim: Claim) -> None:
        """Nothing is kept: the next claim runs."""
        with self._lock:
            running = self._running.pop(claim.key)
        _wake(running)

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call no longer runs, at once if it does not."""
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                running.watchers.add(woken)
                return
        woken.set()

    def _forget_expired(self, now: float) -> None:
        while self._done and next(iter(self._done.values())).until <= now:
            self._forget_oldest()

    def _make_room(self) -> bool:
        early = False
        while len(self._done) > self._most or self._bytes > self._max_bytes:
            self._forget_oldest()
            early = True
        return early

    def _forget_oldest(self) -> None:
        _, done = self._done.popitem(last=False)
        self._bytes -= len(done.text)

    def close(self) -> None:
        """Nothing is open."""


def _wake(running: _Running) -> None:
    for woken in list(running.watchers):
        woken.set()


# A kept value is 64 hex digits of the parameters and then "?" and the token of who runs it, or "=" and the outcome.
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

    A claim is a lease, renewed by a thread for as long as the call runs: a process that died frees its keys when the
    lease ends. An outcome that could not be recorded, because the store was gone, is recorded when it is back.

    Args:
        window: seconds.
        lease: seconds.
        prefix: of the keys in the store.
        max_bytes: of the outcomes that wait to be recorded.
        clock: seconds, as `time.monotonic`.

    Threads: any. Fork: the child has a thread of its own and none of the parent's claims.
    """

    tells: bool = False

    def __init__(
        self, link: StoreLink, window: float, lease: float, prefix: str, max_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._window = window
        self._lease_ms = max(1, round(lease * 1000))
        self._every = lease / 3
        self._prefix = prefix
        self._max_bytes = max_bytes
        self._clock = clock
        self._recording = link.client.register_script(_RECORD)
        self._dropping = link.client.register_script(_DROP)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Hold no claims and have no thread; a child process begins so."""
        self._wake = threading.Condition()  # guards all below
        self._held: set[Claim] = set()
        self._unrecorded: OrderedDict[Claim, tuple[str, float]] = OrderedDict()
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def claim(self, claim: Claim) -> Found | None:
        """None: the call is the claimer's to run. Raises: StoreLost."""
        name, value = self._name(claim), _claimed(claim)
        while True:
            if self._link.run(lambda client: client.set(name, value, nx=True, px=self._lease_ms)):
                break
            kept = self._link.run(lambda client: client.get(name))
            if kept is not None:
                text = text_of(kept)
                if text == value:
                    break  # a client that retries by itself had claimed it, and missed the answer
                return Found(text[:64], text[65:] if text[64:65] == "=" else None)
        self._hold(claim)
        return None

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window, as soon as the store answers."""
        until = self._clock() + self._window
        try:
            self._send(claim, text, until)
        except StoreLost:
            self._postpone(claim, text, until)
        self._let_go(claim)

    def drop(self, claim: Claim) -> None:
        """Nothing is kept: the next claim runs, at the latest when the lease ends."""
        self._let_go(claim)
        self._link.run(lambda _: self._dropping(keys=[self._name(claim)], args=[_claimed(claim)]))

    def watch(self, key: str, woken: threading.Event) -> None:
        """The store does not tell."""

    def _name(self, claim: Claim) -> str:
        return f"{self._prefix}:{claim.key}"

    def _send(self, claim: Claim, text: str, until: float) -> None:
        left = max(1, round((until - self._clock()) * 1000))
        values = [_claimed(claim), f"{claim.digest}={text}", left]
        if not self._link.run(lambda _: self._recording(keys=[self._name(claim)], args=values)):
            _log.error("idempotency: a lease ended while its call ran, and another has claimed the key")

    # the thread

    def _hold(self, claim: Claim) -> None:
        with self._wake:
            self._held.add(claim)
            self._run_thread()

    def _let_go(self, claim: Claim) -> None:
        with self._wake:
            self._held.discard(claim)

    def _postpone(self, claim: Claim, text: str, until: float) -> None:
        with self._wake:
            self._unrecorded[claim] = (text, until)
            self._bytes += len(text)
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._unrecorded)))
                _log.error("idempotency: an outcome was not recorded: the store is gone and there are too many")
            self._run_thread()

    def _forget(self, claim: Claim) -> None:
        gone = self._unrecorded.pop(claim, None)
        self._bytes -= len(gone[0]) if gone is not None else 0

    def _run_thread(self) -> None:
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
                    pause = min(1.0, self._every) if self._unrecorded else self._every
                    self._wake.wait_for(lambda: self._closed, pause)
                if self._closed:
                    return
            self.tend()

    def tend(self) -> None:
        """Renew the leases of calls that run, and record what could not be; what the thread does."""
        with self._wake:
            held, unrecorded = list(self._held), list(self._unrecorded.items())
        try:
            for claim in held:
                self._renew(claim)
            for claim, (text, until) in unrecorded:
                if self._clock() < until:
                    self._send(claim, text, until)
                with self._wake:
                    self._forget(claim)
        except StoreLost:
            return  # the link has said so; next time

    def _renew(self, claim: Claim) -> None:
        # A claim that is gone, since the store lost its memory, is made again: the call still runs.
        values = [_claimed(claim), _claimed(claim), self._lease_ms]
        held = self._link.run(lambda _: self._recording(keys=[self._name(claim)], args=values))
        if not held:
            self._let_go(claim)
        elif claim not in self._held:  # dropped meanwhile: this has made it again, for the length of a lease
            self._link.run(lambda _: self._dropping(keys=[self._name(claim)], args=[_claimed(claim)]))

    def close(self) -> None:
        """End the thread and the connections that were made for a URL."""
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
    source: Any, window: float, lease: float, prefix: str, most: int, max_bytes: int, clock: Callable[[], float]
) -> OutcomeStore:
    """The store for a setting: None is this process's memory."""
    if source is None:
        return MemoryOutcomes(window, most, max_bytes, clock)
    link = StoreLink(source, path="idempotency.store", clock=clock)
    return SharedOutcomes(link, window, lease, prefix, max_bytes, clock)
