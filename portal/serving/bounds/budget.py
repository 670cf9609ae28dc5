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
    """Counts the places that are taken, of all clients together and of each one.

    Args:
        limit: number of places.
        per_client: places of one client at most; None for all.

    Attributes:
        taken: places that are taken now.
        rejected: how many attempts found no place.

    Threads: any.
    """

    __slots__ = ("_clients", "_limit", "_lock", "_per_client", "rejected", "taken")

    def __init__(self, limit: int, per_client: int | None = None) -> None:
        self._limit = limit
        self._per_client = limit if per_client is None else per_client
        self._lock = threading.Lock()  # guards the attributes
        self._clients: dict[str, int] = {}  # of each client that has a place
        self.taken = 0
        self.rejected = 0

    def take(self, client: str | None = None) -> bool:
        """Take a place. Return False if there is none.

        Args:
            client: who takes it; None counts for no client.
        """
        with self._lock:
            own = 0 if client is None else self._clients.get(client, 0)
            if self.taken >= self._limit or own >= self._per_client:
                self.rejected += 1
                return False
            self.taken += 1
            if client is not None:
                self._clients[client] = own + 1
            return True

    def leave(self, client: str | None = None) -> None:
        """Give a place back."""
        with self._lock:
            self.taken -= 1
            if client is None:
                return
            left = self._clients[client] - 1
            if left:
                self._clients[client] = left
            else:
                del self._clients[client]
