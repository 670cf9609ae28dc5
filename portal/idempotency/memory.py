"""MemoryOutcomes: outcomes of calls with an idempotency key in this process."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.weak_bag import WeakBag
from .store import MARKER_SIZE, NO_ROOM, Bounds, Claim, Found, StoreFull

__all__ = ["MemoryOutcomes"]


class _Running:
    __slots__ = ("client", "digest", "thread", "token", "watchers")

    def __init__(self, claim: Claim) -> None:
        self.thread = threading.get_ident()
        self.client = claim.client
        self.digest = claim.digest
        self.token = claim.token
        self.watchers: WeakBag[threading.Event] = WeakBag()  # weak, so that a waiter that stops leaves the set


class _Done(NamedTuple):
    digest: str
    text: str
    until: float
    client: str


class _Share:
    """The part of the store that belongs to one client.

    Attributes:
        entries: its claims and outcomes.
        size: bytes that they take or reserve.
        ends: when the outcomes are removed, in order.
    """

    __slots__ = ("ends", "entries", "size")

    def __init__(self) -> None:
        self.entries = 0
        self.size = 0
        self.ends: deque[float] = deque()


class MemoryOutcomes:
    """Outcomes in this process.

    Args:
        window: seconds for which an outcome is kept.
        bounds: how much is kept.
        clock: seconds, as `time.monotonic`.

    Threads: any. The thread that made a claim ends it. Fork: a child keeps the outcomes, and the claims of the thread
    that forked. Claims of other threads are dropped, because they would never end in the child.
    """

    notifies: bool = True

    def __init__(self, window: float, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._window = window
        self._bounds = bounds
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._running: dict[str, _Running] = {}
        self._done: OrderedDict[str, _Done] = OrderedDict()  # the first one expires next
        self._shares: dict[str, _Share] = {}  # of each client that has an entry
        self._size = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the claims of other threads, which a child process does not have."""
        own = threading.get_ident()
        for key, running in list(self._running.items()):
            if running.thread != own:
                self._remove(self._running, key, running.client, MARKER_SIZE)

    def __len__(self) -> int:
        return len(self._running) + len(self._done)

    @property
    def size(self) -> int:
        """The bytes that all claims and outcomes take or reserve."""
        return self._size

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first. Raises: StoreFull."""
        now = self._clock()
        with self._lock:
            self._remove_expired(now)
            done = self._done.get(claim.key)
            if done is not None:
                return Found(done.digest, done.text)
            running = self._running.get(claim.key)
            if running is not None:
                return Found(running.digest, None)
            self._reserve(claim, now)
            return None

    def holds(self, claim: Claim) -> bool:
        """Return whether a claim has not ended."""
        running = self._running.get(claim.key)
        return running is not None and running.token == claim.token

    # What changes together below does so in adjacent statements without a call, between which no handler of a signal
    # runs.

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window, or NO_ROOM if it is larger than the room that is left."""
        running = self._running[claim.key]
        try:
            self._record(claim, text, self._clock() + self._window)
        finally:
            _wake(running)

    def _record(self, claim: Claim, text: str, until: float) -> None:
        with self._lock:
            share = self._shares[claim.client]
            room = min(self._bounds.size - self._size, self._bounds.client_size - share.size)
            if len(text) - MARKER_SIZE > room:
                text = NO_ROOM
            growth = len(text) - MARKER_SIZE
            done = _Done(claim.digest, text, until, claim.client)
            share.ends += (until,)
            try:
                self._done[claim.key] = done
            except BaseException:  # all of it or nothing
                share.ends.pop()
                raise
            del self._running[claim.key]
            share.size += growth
            self._size += growth

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs."""
        running = self._running[claim.key]
        try:
            with self._lock:
                self._remove(self._running, claim.key, running.client, MARKER_SIZE)
        finally:
            _wake(running)

    def _reserve(self, claim: Claim, now: float) -> None:
        """Add a claim."""
        client, own = claim.client, _Running(claim)
        bounds, share = self._bounds, self._shares.get(client)
        if share is not None and (
            share.entries >= bounds.client_entries or share.size + MARKER_SIZE > bounds.client_size
        ):
            raise StoreFull(True, share.ends[0] - now if share.ends else 1.0)
        if len(self) >= bounds.entries or self._size + MARKER_SIZE > bounds.size:
            raise StoreFull(False, next(iter(self._done.values())).until - now if self._done else 1.0)
        if share is None:
            share = _Share()
        self._running[claim.key] = own
        self._shares[client] = share
        share.entries += 1
        share.size += MARKER_SIZE
        self._size += MARKER_SIZE

    def _remove(self, table: dict[str, Any], key: str, client: str, size: int) -> None:
        """Remove an entry from one of the two tables."""
        share = self._shares[client]
        del table[key]
        if table is self._done:
            del share.ends[0]
        share.entries -= 1
        share.size -= size
        self._size -= size
        if not share.entries:
            del self._shares[client]

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call ends, or at once if it has ended."""
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                running.watchers.add(woken)
                return
        woken.set()

    def _remove_expired(self, now: float) -> None:
        while self._done:
            key, done = next(iter(self._done.items()))
            if done.until > now:
                return
            self._remove(self._done, key, done.client, len(done.text))

    def close(self) -> None:
        """Do nothing. A store in memory has no connection."""


def _wake(running: _Running) -> None:
    for woken in running.watchers.items():
        woken.set()
