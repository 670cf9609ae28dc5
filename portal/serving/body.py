"""ChunkedDecoder: a body in chunks, piece by piece (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from ..errors import ProtocolError

__all__ = ["ChunkedDecoder"]

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_MAX_LINE = 512
_MAX_TRAILERS = 8 * 1024
_FORBIDDEN = frozenset({"content-length", "transfer-encoding", "host", "authorization", "content-type", "trailer"})


class ChunkedDecoder:
    """Takes a chunked body as it arrives and gives its data.

    Args:
        limit: bytes of data; more is a ProtocolError with status 413.

    Attributes:
        complete: whether the end was reached.
        remainder: what came after the end; belongs to the next request.
        trailers: values by lower-case name; those that must not stand in a trailer are dropped.

    Threads: one at a time.
    """

    __slots__ = ("_buffer", "_left", "_limit", "_size", "_state", "complete", "remainder", "trailers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._left = 0
        self._size = 0
        self._state = "size"
        self.complete = False
        self.remainder = b""
        self.trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, give the data in it; ProtocolError (400, 413, 431) when it is no chunked body."""
        self._buffer = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        while not self.complete and self._step(pieces):
            pass
        if self.complete:
            self.remainder += self._buffer
            self._buffer = b""
        return b"".join(pieces)

    def _step(self, pieces: list[bytes]) -> bool:
        """Do one thing with the buffer; False when more must arrive first."""
        if self._state == "data":
            return self._take_data(pieces)
        if self._state == "end":
            return self._take_end()
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            if len(line) > (_MAX_TRAILERS if self._state == "trailers" else _MAX_LINE):
                raise ProtocolError("a line of the chunked body is too long", status=431)
            return False
        self._buffer = rest
        if self._state == "size":
            self._take_size(line)
        else:
            self._take_trailer(line)
        return True

    def _take_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > _MAX_LINE:
            raise ProtocolError("a bad chunk size")
        self._left = int(match[1], 16)
        self._size += self._left
        if self._size > self._limit:
            raise ProtocolError(f"the body is longer than {self._limit} bytes", status=413)
        self._state = "data" if self._left else "trailers"
        if not self._left:
            self._size = 0  # counts the trailers from here on

    def _take_data(self, pieces: list[bytes]) -> bool:
        if not self._buffer:
            return False
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = "end"
        return True

    def _take_end(self) -> bool:
        if len(self._buffer) < 2:
            if self._buffer not in (b"", b"\r"):
                raise ProtocolError("a chunk is longer than its size")
            return False
        if not self._buffer.startswith(b"\r\n"):
            raise ProtocolError("a chunk is longer than its size")
        self._buffer = self._buffer[2:]
        self._state = "size"
        return True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.complete = True
            return
        self._size += len(line)
        if self._size > _MAX_TRAILERS:
            raise ProtocolError("the trailers are too long", status=431)
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise ProtocolError("a bad trailer line")
        name = match[1].decode("ascii").lower()
        if name not in _FORBIDDEN:
            self.trailers[name] = match[2].decode("latin-1")
