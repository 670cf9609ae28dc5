"""DiskBudget: what the bodies of all requests together may take on disk."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["DiskBudget"]


class DiskBudget:
    """Counts the bytes of bodies on disk. One client may have half of them, so that others still get through.

    Args:
        limit: bytes of all clients.

    Attributes:
        limit: as given.
        refused: how many attempts found no room.

    Threads: any. `release` takes no lock, as the garbage collector may call it in the middle of another method.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.refused = 0
        self._used = 0
        self._per_client = (limit + 1) // 2
        self._clients: dict[str, int] = {}
        self._released: deque[tuple[str | None, int]] = deque()  # which are still counted
        self._lock = threading.Lock()  # guards the other attributes

    @property
    def used(self) -> int:
        """The number of bytes on disk now."""
        with self._lock:
            self._settle()
            return self._used

    def reserve(self, client: str | None, count: int) -> bool:
        """Count `count` bytes more, unless that exceeds a limit. Return whether they are counted.

        Args:
            client: None for a trusted proxy, which has no share of its own.
        """
        with self._lock:
            self._settle()
            mine = 0 if client is None else self._clients.get(client, 0) + count
            if self._used + count > self.limit or mine > self._per_client:
                self.refused += 1
                return False
            self._used += count
            if client is not None:
                self._clients[client] = mine
            return True

    def release(self, client: str | None, count: int) -> None:
        """Count `count` bytes less."""
        self._released.append((client, count))

    def _settle(self) -> None:
        """Stop counting what was released. The lock is held."""
        while self._released:
            client, count = self._released.popleft()
            self._used -= count
            if client is not None:
                left = self._clients.get(client, 0) - count
                if left > 0:
                    self._clients[client] = left
                else:
                    self._clients.pop(client, None)
