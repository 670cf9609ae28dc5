"""Limits on the connections of a listener, and the order in which they give way to new ones."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["ConnectionLimits", "choose_idle", "connection_limits"]

_MIN_RESERVE = 64  # descriptors that the rest of the process needs at least

T = TypeVar("T")
Rank = tuple[int, float]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The numbers of connections of a listener.

    Attributes:
        total: open connections.
        per_client: open connections of one client.
        handshakes: connections whose TLS handshake is not complete.
    """

    total: int
    per_client: int
    handshakes: int


def connection_limits(
    total: int, per_client: int | None, handshakes: int | None, descriptors: int | None
) -> ConnectionLimits:
    """Return the limits that are in effect.

    Args:
        total: connections as configured.
        per_client: as configured; None for half of all.
        handshakes: as configured; None for a quarter of all.
        descriptors: that the process may have open; None if there is no limit. A tenth of them, and at least 64, stay
            free for files, databases and other sockets.
    """
    if descriptors is not None:
        total = min(total, max(1, descriptors - max(_MIN_RESERVE, descriptors // 10)))
    return ConnectionLimits(
        total,
        min(total, max(1, total // 2 if per_client is None else per_client)),
        min(total, max(1, total // 4 if handshakes is None else handshakes)),
    )


def choose_idle(
    rows: Iterable[tuple[T, Hashable, Rank]], connections_of: Callable[[Hashable], int], count: int
) -> list[T]:
    """Return up to `count` connections to close: each time, the lowest rank of the client with the most connections.

    So a client with few connections keeps them while another one has many.

    Args:
        rows: of each connection that may be closed: the connection, its client, and its rank.
        connections_of: returns how many connections a client has, with those that may not be closed.
    """
    by_client: defaultdict[Hashable, list[tuple[Rank, int, T]]] = defaultdict(list)
    for index, (connection, client, rank) in enumerate(rows):
        by_client[client].append((rank, index, connection))
    for queue in by_client.values():
        heapq.heapify(queue)
    fullest = [(-connections_of(client), queue[0][:2], client) for client, queue in by_client.items()]
    order = [(size, first, index) for index, (size, first, _) in enumerate(fullest)]
    heapq.heapify(order)
    chosen: list[T] = []
    while order and len(chosen) < count:
        size, _, index = heapq.heappop(order)
        queue = by_client[fullest[index][2]]
        chosen.append(heapq.heappop(queue)[2])
        if queue:
            heapq.heappush(order, (size + 1, queue[0][:2], index))
    return chosen
