"""OpenConnections: the open connections of a listener, and what all of its connections have moved."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection
else:
    Connection = object

__all__ = ["OpenConnections", "Totals"]

#: Requests, bytes in, bytes out.
Totals = tuple[int, int, int]


class OpenConnections(set[Connection]):
    """The open connections. Its length may be read at any time; to go through them take a `snapshot`.

    A connection counts either as an open or as a closed one: the totals never shrink.

    Args:
        before: totals of connections before these.

    Threads: any, by the methods below.
    """

    __slots__ = ("_clients", "_closed", "_lock")

    def __init__(self, before: Totals = (0, 0, 0)) -> None:
        super().__init__()
        self._lock = threading.Lock()  # guards the set and the attributes below
        self._closed = before
        self._clients: dict[str, int] = {}  # number of connections

    def enter(self, connection: Connection) -> None:
        """Count a new connection."""
        client = connection.client
        with self._lock:
            self.add(connection)
            if client is not None:
                self._clients[client] = self._clients.get(client, 0) + 1

    def leave(self, connection: Connection) -> None:
        """Count a connection as closed, if it is open."""
        client = connection.client
        with self._lock:
            if connection not in self:
                return
            self.discard(connection)
            self._closed = _sum(self._closed, connection)
            if client is not None:
                self._clients[client] -= 1
                if not self._clients[client]:
                    del self._clients[client]

    def connections_of(self, client: str | None) -> int:
        """Return how many connections a client has; 1 for a connection that is a client of its own."""
        return 1 if client is None else self._clients.get(client, 0)

    def snapshot(self) -> list[Connection]:
        """Return the connections that are open now."""
        with self._lock:
            return list(self)

    def totals(self) -> Totals:
        """Return what all connections have moved, open or closed."""
        with self._lock:
            found, connections = self._closed, list(self)
        for connection in connections:
            found = _sum(found, connection)
        return found


def _sum(totals: Totals, connection: Connection) -> Totals:
    requests, bytes_in, bytes_out = totals
    return requests + connection.requests, bytes_in + connection.bytes_in, bytes_out + connection.output.sent
