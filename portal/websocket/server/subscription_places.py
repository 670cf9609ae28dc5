"""SubscriptionPlaces: how many subscriptions the clients of a portal may have, each one and all together."""

from __future__ import annotations

import threading

from ...errors import OverloadedError, RateLimitError

__all__ = ["SubscriptionPlaces"]


class SubscriptionPlaces:
    """Counts the subscriptions of all connections of a portal, by client.

    Args:
        total: subscriptions of all clients at most.
        per_client: subscriptions of one client at most, on all its connections.

    Threads: any.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self._total = total
        self._per_client = per_client
        self._lock = threading.Lock()  # guards the attributes below
        self._taken = 0
        self._clients: dict[str, int] = {}
        self._rejected = 0

    def take(self, client: str) -> None:
        """Take a place for a client.

        Raises: RateLimitError if the client has too many; OverloadedError if all clients together have.
        """
        with self._lock:
            own = self._clients.get(client, 0)
            if own < self._per_client and self._taken < self._total:
                self._clients[client] = own + 1
                self._taken += 1
                return
            self._rejected += 1
        if own >= self._per_client:
            words = f"a client must have at most {self._per_client} subscriptions on all its connections"
            raise RateLimitError(words, retry_after=1.0)
        raise OverloadedError(f"all clients must have at most {self._total} subscriptions", retry_after=1.0)

    def leave(self, client: str) -> None:
        """Give a place of a client back."""
        with self._lock:
            self._taken -= 1
            left = self._clients[client] - 1
            if left:
                self._clients[client] = left
            else:
                del self._clients[client]

    def stats(self) -> dict[str, int]:
        """Return the numbers of subscriptions, of clients that have some, and of rejected ones."""
        with self._lock:
            return {"open": self._taken, "clients": len(self._clients), "rejected": self._rejected}
