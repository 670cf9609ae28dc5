"""UnsignedOrigins: the servers that only an unsigned directory names, and that get no credential for that reason."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from math import inf
from time import monotonic

from .._internal.at_fork import new_lock

__all__ = ["UnsignedOrigins"]


class UnsignedOrigins:
    """Knows each server that is in a list now, and those that were in a list before.

    Many other entries cannot displace a server. One that is in a list is never forgotten. One that has left all lists
    is remembered for `hold` seconds, as a call of it may still be in progress. If too many have left, every server
    counts as named for that time.

    Args:
        max_former: servers that left all lists more than `hold` seconds ago, to remember.
        max_held: servers in no list to remember at all.
        hold: seconds for which a server that has left all lists is remembered.
        clock: seconds, as `time.monotonic`.

    Threads: any. A lock guards the tables.
    """

    def __init__(
        self,
        max_former: int = 10_000,
        max_held: int = 100_000,
        hold: float = 3600.0,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_former = max_former
        self._max_held = max_held
        self._hold = hold
        self._clock = clock
        self._lock = new_lock()
        self._lists: dict[object, frozenset[Hashable]] = {}
        self._listed: dict[Hashable, int] = {}  # origin -> number of lists
        self._former: OrderedDict[Hashable, float] = OrderedDict()  # origin -> when it left; newest last
        self._all_until = -inf  # until when every server counts as named

    def open_list(self) -> object:
        """Return the key of a new, empty list."""
        key = object()
        with self._lock:
            self._lists[key] = frozenset()
        return key

    def replace(self, key: object, origins: Iterable[Hashable]) -> None:
        """Replace the servers of a list. Those of a list that was closed count as former ones."""
        after = frozenset(origins)
        with self._lock:
            before = self._lists.get(key)
            if before is None:
                self._remember(after)
                return
            self._lists[key] = after
            self._change(before, after)

    def close_list(self, key: object) -> None:
        """Remove a list. May be called twice."""
        with self._lock:
            self._change(self._lists.pop(key, frozenset()), frozenset())

    def note(self, origins: Iterable[Hashable]) -> None:
        """Remember servers that were read once."""
        with self._lock:
            self._remember(origins)

    def __contains__(self, origin: Hashable) -> bool:
        with self._lock:
            return origin in self._listed or origin in self._former or self._clock() < self._all_until

    def __len__(self) -> int:
        with self._lock:
            return len(self._listed) + len(self._former)

    def _change(self, before: frozenset[Hashable], after: frozenset[Hashable]) -> None:
        for origin in after - before:
            self._listed[origin] = self._listed.get(origin, 0) + 1
        gone = before - after
        for origin in gone:
            left = self._listed.pop(origin) - 1
            if left:
                self._listed[origin] = left
        self._remember(gone)

    def _remember(self, origins: Iterable[Hashable]) -> None:
        now = self._clock()
        for origin in origins:
            self._former[origin] = now
            self._former.move_to_end(origin)
        while len(self._former) > self._max_former and next(iter(self._former.values())) + self._hold <= now:
            self._former.popitem(last=False)
        while len(self._former) > self._max_held:
            self._all_until = self._former.popitem(last=False)[1] + self._hold
