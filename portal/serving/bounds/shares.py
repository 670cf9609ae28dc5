"""Choose the connection to abort when the output of all connections exceeds its budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

__all__ = ["heaviest"]

T = TypeVar("T")


def heaviest(rows: Iterable[tuple[T, Hashable, int]]) -> T | None:
    """Return the heaviest connection of the client whose connections hold the most, or None if nothing is held.

    So a client that reads its responses is not cut for the output of another one, however many connections that has.

    Args:
        rows: of each connection: the connection, its client, and the bytes that it holds.
    """
    found = [row for row in rows if row[2] > 0]
    totals: defaultdict[Hashable, int] = defaultdict(int)
    for _, client, held in found:
        totals[client] += held
    return max(found, key=lambda row: (totals[row[1]], row[2]))[0] if found else None
