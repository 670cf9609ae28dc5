"""WeakBag: objects by weak references, which one thread may list while objects end in others.

A `weakref.WeakSet` changes itself as an object ends, in whichever thread that happens. If another thread lists the set
at that moment, the listing can fail with "Set changed size during iteration".
"""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

__all__ = ["WeakBag"]

T = TypeVar("T")
_MIN_PURGE = 16


class WeakBag(Generic[T]):
    """Objects that live elsewhere; each is in the bag once.

    Threads: one at a time; the owner has a lock. Objects may end in any thread.
    """

    __slots__ = ("_purge_at", "_refs")

    def __init__(self) -> None:
        self._refs: dict[int, ref[T]] = {}  # by `id`; an id that is reused belongs to an object that has ended
        self._purge_at = _MIN_PURGE

    def __len__(self) -> int:
        """Return how many objects are in the bag, with some that have ended."""
        return len(self._refs)

    def add(self, item: T) -> None:
        """Put an object into the bag, unless it is there."""
        if len(self._refs) >= self._purge_at:
            self._refs = {key: one for key, one in self._refs.items() if one() is not None}
            self._purge_at = 2 * len(self._refs) + _MIN_PURGE
        self._refs[id(item)] = ref(item)

    def discard(self, item: T) -> None:
        """Take an object out of the bag, if it is there."""
        self._refs.pop(id(item), None)

    def items(self) -> list[T]:
        """Return the objects that have not ended, in the order in which they were added."""
        return [item for one in self._refs.values() if (item := one()) is not None]
