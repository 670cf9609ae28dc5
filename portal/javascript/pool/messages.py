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

__all__ = ["MessageReader", "pack", "read_message"]

_LENGTHS = struct.Struct(">II")
_MAX_HEAD = 1_000_000
_CHUNK, _PIECE = 64 * 1024, 1024 * 1024  # bytes
_encode = json.JSONEncoder(separators=(",", ":")).encode


def pack(head: Any, body: str = "") -> bytes:
    """Return a message."""
    first, second = _encode(head).encode(), body.encode("utf-8", "surrogatepass")
    return b"".join((_LENGTHS.pack(len(first), len(second)), first, second))


class MessageReader:
    """Reads messages from a stream, a small one with a single system call.

    Args:
        receive: returns at most so many bytes, at least one; b"" at the end.

    Threads: one at a time.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._rest = b""  # what was received beyond the last message

    def read(self, most: int | None = None) -> tuple[Any, str]:
        """Read one message.

        Args:
            most: bytes of the body at most.

        Raises: EOFError at the end; ValueError for a message that is too long or malformed.
        """
        data = self._at_least(_LENGTHS.size, self._rest)
        head_length, body_length = _LENGTHS.unpack_from(data)
        if head_length > _MAX_HEAD or (most is not None and body_length > most):
            raise ValueError(f"a message must have at most {most} bytes, got {head_length + body_length}")
        head_end = _LENGTHS.size + head_length
        end = head_end + body_length
        if len(data) < end:
            data = self._at_least(end, data)
        self._rest = data[end:]
        return json.loads(data[_LENGTHS.size : head_end]), data[head_end:end].decode("utf-8", "surrogatepass")

    def _at_least(self, length: int, data: bytes) -> bytes:
        """Return the data with so much more that it has at least `length` bytes."""
        parts, have = [data], len(data)
        while have < length:
            part = self._receive(_CHUNK if length - have < _CHUNK else _PIECE)
            if not part:
                raise EOFError("the other side has closed")
            parts.append(part)
            have += len(part)
        return b"".join(parts) if len(parts) > 1 else data


def read_message(receive: Callable[[int], bytes]) -> tuple[Any, str]:
    """Read one message, and nothing beyond it; see `MessageReader.read`."""
    lengths = _read(receive, _LENGTHS.size)
    parts = [_read(receive, sum(_LENGTHS.unpack(lengths))), lengths]
    return MessageReader(lambda length: parts.pop()).read()


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
