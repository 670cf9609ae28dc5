"""UnsignedOrigins: the servers that only an unsigned directory names, and that get no credential for that reason."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from .._internal.at_fork import new_lock

__all__ = ["UnsignedOrigins"]


class UnsignedOrigins:
    """Knows each server that is in a list now, and those that were in a list last.

    A server that is in a list is never forgotten, so that many other entries cannot displace it.

    Args:
        max_former: servers to remember that are in no list any more.

    Threads: any. A lock guards both tables.
    """

    def __init__(self, max_former: int = 10_000) -> None:
        self._max_former = max_former
        self._lock = new_lock()
        self._lists: dict[object, frozenset[Hashable]] = {}
        self._listed: dict[Hashable, int] = {}  # origin -> number of lists
        self._former: OrderedDict[Hashable, None] = OrderedDict()  # newest last

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
            return origin in self._listed or origin in self._former

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
        for origin in origins:
            self._former[origin] = None
            self._former.move_to_end(origin)
        while len(self._former) > self._max_former:
            self._former.popitem(last=False)
