"""ChunkedDecoder: a body in chunks, piece by piece (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from ..errors import ProtocolError

__all__ = ["ChunkedDecoder"]

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_MAX_LINE = 512
_MAX_TRAILERS = 8 * 1024
_MAX_EXTENSIONS = 16 * 1024  # of all chunks together, beyond a byte for each of data; they would have no bound else
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
        self._at = 0  # how much of the buffer is done with: cutting it off for each chunk would take quadratic time
        self._left = 0
        self._extensions = 0
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
        rest = self._buffer[self._at :]
        self._at = 0
        if self.complete:
            self.remainder += rest
            rest = b""
        self._buffer = rest
        return b"".join(pieces)

    def _step(self, pieces: list[bytes]) -> bool:
        """Do one thing with the buffer; False when more must arrive first."""
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
        """Refuse early what cannot become a good line any more."""
        # The CR of its end may be there already.
        if len(self._buffer) - self._at > (_MAX_TRAILERS if self._state == "trailers" else _MAX_LINE) + 1:
            raise ProtocolError("a line of the chunked body is too long", status=431)
        if self._buffer.find(b"\n", self._at) >= 0:
            raise ProtocolError("a line of the chunked body ends without CR LF")

    def _take_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > _MAX_LINE:
            raise ProtocolError("a bad chunk size")
        self._left = int(match[1], 16)
        self._size += self._left
        self._extensions += len(line) - len(match[1])
        if self._extensions > _MAX_EXTENSIONS + self._size:
            raise ProtocolError("the chunk extensions are too long")
        if self._size > self._limit:
            raise ProtocolError(f"the body is longer than {self._limit} bytes", status=413)
        self._state = "data" if self._left else "trailers"
        if not self._left:
            self._size = 0  # counts the trailers from here on

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
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise ProtocolError("a bad trailer line")
        name = match[1].decode("ascii").lower()
        if name not in _FORBIDDEN:
            self.trailers[name] = match[2].strip(b" \t").decode("latin-1")
