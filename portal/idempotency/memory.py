"""MemoryOutcomes: outcomes of calls with an idempotency key in this process."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakSet

from .._internal.at_fork import new_lock, renew_after_fork
from .store import Claim, Found

__all__ = ["MemoryOutcomes"]

_log = logging.getLogger("portal.calls")


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
