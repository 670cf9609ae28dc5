"""The header Range: a part of a file in place of all of it. Source: RFC 9110 section 14."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ByteRange", "Unsatisfiable", "read_range"]

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class ByteRange(NamedTuple):
    """A part of a file: its first byte, and the one after the last."""

    start: int
    stop: int


class Unsatisfiable(ValueError):
    """A range that begins after the end."""


def read_range(value: str | None, size: int) -> ByteRange | None:
    """Return the part that a header asks for; None for all.

    Several ranges, another unit and malformed text count as no header, as the specification allows.

    Raises: Unsatisfiable.
    """
    found = None if value is None else _RANGE.fullmatch(value.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(size - length, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(start, min(int(last) + 1, size) if last else size)
