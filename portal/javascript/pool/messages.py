"""The messages between this process and a child: a head of JSON and a body of text, both with their lengths.

to the child      the settings; program, digest + program; call, digest, limits + parameters; done + result of a
                  request; failed, name, message of a request
from the child    ready, facts; failed, reason; ok + result; error, facts; host, kind + text; log + text; fuel + number
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["pack", "read_message"]

_LENGTHS = struct.Struct(">II")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def pack(head: Any, body: str = "") -> bytes:
    """Return a message."""
    first, second = _encode(head).encode(), body.encode("utf-8", "surrogatepass")
    return b"".join((_LENGTHS.pack(len(first), len(second)), first, second))


def read_message(receive: Callable[[int], bytes], most: int | None = None) -> tuple[Any, str]:
    """Read one message.

    Args:
        receive: returns at most so many bytes, at least one; b"" at the end.
        most: bytes of the body at most.

    Raises: EOFError at the end; ValueError for a message that is too long or malformed.
    """
    head_length, body_length = _LENGTHS.unpack(_read(receive, _LENGTHS.size))
    if head_length > 1_000_000 or (most is not None and body_length > most):
        raise ValueError(f"a message must have at most {most} bytes, got {head_length + body_length}")
    data = _read(receive, head_length + body_length)
    return json.loads(data[:head_length]), data[head_length:].decode("utf-8", "surrogatepass")


def _read(receive: Callable[[int], bytes], length: int) -> bytes:
    first = receive(length) if length else b""
    if len(first) == length:
        return first
    parts, left = [first], length - len(first)
    while left:
        if not parts[-1]:
            raise EOFError("the other side has closed")
        parts.append(receive(min(left, 1 << 20)))
        left -= len(parts[-1])
    return b"".join(parts)
