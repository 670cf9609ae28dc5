"""Content: bytes that can be read from any place, in memory or in a file."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, Protocol

__all__ = ["Content", "OpenFile", "content_of", "pieces_of", "spooled"]

_PIECE = 1024 * 1024
_IN_MEMORY = 1024 * 1024


class Content(Protocol):
    """Bytes that can be read from any place, more than once, by any thread."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from an offset; b"" at the end."""


class _Memory:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]


class OpenFile:
    """The content of an open file, which is closed with this object.

    Threads: any.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        # Not in __del__: the garbage collector may finalise the file of a reference cycle first, which warns.
        weakref.finalize(self, file.close)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from an offset; b"" at the end."""
        return os.pread(self._file.fileno(), size, offset)


def content_of(data: bytes) -> Content:
    """Return content that is in memory."""
    return _Memory(data)


def pieces_of(content: Content) -> Iterator[bytes]:
    """Yield the content in pieces of at most 1 MiB."""
    start = 0
    while piece := content.read_at(start, _PIECE):
        start += len(piece)
        yield piece


def spooled(pieces: Iterator[bytes]) -> Content:
    """Return content that is kept in memory up to 1 MiB, and else in a temporary file without a name."""
    first = bytearray()
    for piece in pieces:
        first += piece
        if len(first) > _IN_MEMORY:
            break
    else:
        return _Memory(bytes(first))
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the content
    try:
        _write(file, first)
        for piece in pieces:
            _write(file, piece)
    except BaseException:
        file.close()
        raise
    return OpenFile(file)


def _write(file: IO[bytes], data: bytes | bytearray) -> None:
    """Write all of the data: a file without a buffer may take a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
