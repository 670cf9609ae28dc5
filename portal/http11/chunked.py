"""ChunkedDecoder: decodes a chunked body as it arrives (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from ..errors import ProtocolError
from .fields import FIELD_VALUE, parse_field_line

__all__ = ["ChunkedDecoder"]

_SIZE = re.compile(rf"([0-9A-Fa-f]{{1,16}})[ \t]*(?:;{FIELD_VALUE})?".encode())
_MAX_LINE = 512
_MAX_TRAILERS = 8 * 1024
_MAX_EXTENSIONS = 16 * 1024  # bytes in all chunks together, in addition to one per byte of data
_FORBIDDEN = frozenset({"content-length", "transfer-encoding", "host", "authorization", "content-type", "trailer"})


class ChunkedDecoder:
    """Decodes one chunked body.

    Args:
        limit: the largest number of data bytes; more raise ProtocolError with status 413.

    Attributes:
        complete: whether the end of the body has arrived.
        remainder: the bytes after the end; they belong to the next message.
        trailers: values by lower-case name. Headers that must not be in a trailer are dropped.

    Threads: one at a time.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_extensions",
        "_left",
        "_limit",
        "_size",
        "_state",
        "complete",
        "remainder",
        "trailers",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._at = 0  # decoded bytes of the buffer; cutting them off after each chunk would take quadratic time
        self._left = 0
        self._extensions = 0
        self._size = 0
        self._state = "size"
        self.complete = False
        self.remainder = b""
        self.trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> bytes:
        """Decode the bytes that have arrived and return their data.

        Raises: ProtocolError (400, 413, 431) for a malformed or too long body.
        """
        self._buffer = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        while not self.complete and self._step(pieces):
            pass
        rest = self._buffer[self._at :]
        self._at = 0
        if self.complete:
            self.remainder += rest
            rest = b""
        self._buffer = rest
        return b"".join(pieces)

    def _step(self, pieces: list[bytes]) -> bool:
        """Decode one element of the buffer. Return False if more bytes must arrive first."""
        if self._state == "data":
            return self._take_data(pieces)
        if self._state == "end":
            return self._take_end()
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            self._check_partial_line()
            return False
        line = self._buffer[self._at : end]
        self._at = end + 2
        if self._state == "size":
            self._take_size(line)
        else:
            self._take_trailer(line)
        return True

    def _check_partial_line(self) -> None:
        """Reject a line as soon as it cannot become a valid one."""
        # One byte more: the CR of its line break may have arrived.
        if len(self._buffer) - self._at > (_MAX_TRAILERS if self._state == "trailers" else _MAX_LINE) + 1:
            raise ProtocolError("a line of the chunked body is too long", status=431)
        if self._buffer.find(b"\n", self._at) >= 0:
            raise ProtocolError("a line of the chunked body ends without CR LF")

    def _take_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > _MAX_LINE:
            raise ProtocolError("malformed chunk size")
        self._left = int(match[1], 16)
        self._size += self._left
        self._extensions += len(line) - len(match[1])
        if self._extensions > _MAX_EXTENSIONS + self._size:
            raise ProtocolError("the chunk extensions are too long")
        if self._size > self._limit:
            raise ProtocolError(f"the body is longer than {self._limit} bytes", status=413)
        self._state = "data" if self._left else "trailers"
        if not self._left:
            self._size = 0  # from here on it counts the bytes of the trailers

    def _take_data(self, pieces: list[bytes]) -> bool:
        piece = self._buffer[self._at : self._at + self._left]
        if not piece:
            return False
        pieces.append(piece)
        self._at += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = "end"
        return True

    def _take_end(self) -> bool:
        found = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(found):
            raise ProtocolError("a chunk is longer than its size")
        if len(found) < 2:
            return False
        self._at += 2
        self._state = "size"
        return True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.complete = True
            return
        self._size += len(line)
        if self._size > _MAX_TRAILERS:
            raise ProtocolError("the trailers are too long", status=431)
        name, value = parse_field_line(line)
        if name not in _FORBIDDEN:
            self.trailers[name] = value
