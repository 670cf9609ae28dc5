"""ImageCache: the states of instances in which programs are loaded, so that a call begins without loading anything."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from ...._internal.at_fork import new_lock
from .instance import Image

__all__ = ["Handles", "ImageCache", "Loaded"]

_MIB = 1024 * 1024


class Handles(NamedTuple):
    """Numbers in the memory of the guest that are the same in every instance with the state.

    Attributes:
        result: where the guest writes the handle of a result.
        arguments: where it reads the handles of two arguments.
        undefined: the handle of `undefined`.
        send: the handle of the function of the prelude.
        ops: the handles of the names of its operations.
    """

    result: int
    arguments: int
    undefined: int
    send: int
    ops: dict[str, int]


class Loaded(NamedTuple):
    """A state, and the values that are needed to continue from it.

    Attributes:
        image: the state.
        handles: see `Handles`.
        fuel: what it took to load the program.
    """

    image: Image
    handles: Handles
    fuel: int


class ImageCache:
    """The states that were used last.

    Args:
        max_bytes: of all of them.
        max_item: bytes of one; a larger one is not kept.

    Threads: any.
    """

    def __init__(self, *, max_bytes: int = 64 * _MIB, max_item: int = 8 * _MIB) -> None:
        self._max_bytes = max_bytes
        self._max_item = max_item
        self._lock = new_lock()  # guards the attributes below
        self._items: OrderedDict[Hashable, Loaded] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Loaded | None:
        """Return a state, or None."""
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def put(self, key: Hashable, loaded: Loaded) -> None:
        """Keep a state, and forget those that were not used for the longest time."""
        size = len(loaded.image.memory)
        if size > self._max_item:
            return
        with self._lock:
            old = self._items.pop(key, None)
            self._bytes += size - (0 if old is None else len(old.image.memory))
            self._items[key] = loaded
            while self._bytes > self._max_bytes and len(self._items) > 1:
                self._bytes -= len(self._items.popitem(last=False)[1].image.memory)
