"""Budgets of a listener: a number of bytes that its connections share, and a number of places."""

from __future__ import annotations

import threading

__all__ = ["ByteBudget", "Places"]


class ByteBudget:
    """Counts the bytes that the connections of a listener hold.

    Args:
        limit: the largest number of bytes.

    Attributes:
        limit: as given.
        used: bytes that are held now.

    Threads: any.
    """

    __slots__ = ("_lock", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()  # guards `used`

    def reserve(self, count: int) -> bool:
        """Hold `count` bytes more, unless that exceeds the limit. Return whether they are held."""
        with self._lock:
            if self.used + count > self.limit:
                return False
            self.used += count
            return True

    def add(self, count: int) -> None:
        """Hold `count` bytes that exist already, even above the limit."""
        with self._lock:
            self.used += count

    @property
    def is_exceeded(self) -> bool:
        """Whether more bytes are held than the limit says."""
        return self.used > self.limit

    def release(self, count: int) -> None:
        """Hold `count` bytes less."""
        with self._lock:
            self.used -= count


class Places:
    """Counts the places that are taken, up to a limit.

    Args:
        limit: number of places.

    Attributes:
        taken: places that are taken now.
        rejected: how many attempts found no place.

    Threads: any.
    """

    __slots__ = ("_limit", "_lock", "rejected", "taken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()  # guards the attributes
        self.taken = 0
        self.rejected = 0

    def take(self) -> bool:
        """Take a place. Return False if there is none."""
        with self._lock:
            if self.taken >= self._limit:
                self.rejected += 1
                return False
            self.taken += 1
            return True

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            self.taken -= 1
