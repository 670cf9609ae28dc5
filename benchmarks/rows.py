"""What the comparison of streams and rows serves: a stream of numbers, and a list of objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ITEMS", "ROWS", "Row", "count", "rows"]

ITEMS = 50_000
ROWS = 10_000


@dataclass
class Row:
    """One row."""

    number: int
    name: str
    price: float


def count(number: int) -> Iterator[int]:
    """Stream the numbers up to one."""
    yield from range(number)


def rows(number: int) -> list[Row]:
    """Return so many rows."""
    return [Row(one, "a pen", 1.5) for one in range(number)]
