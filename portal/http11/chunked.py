"""ChunkedDecoder: decodes a chunked body as it arrives (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from ..errors import ProtocolError
from .fields import FIELD_VALUE, parse_field_line

__all__ = ["ChunkedDecoder"]

_SIZE = re.compile(rf"([0-9A-Fa-f]{{1,16}})[ \t]*(?:;{FIELD_VALUE})?".encode())
_ONE_BYTE_CHUNKS = re.compile(rb"(?:1\r\n.\r\n)++", re.DOTALL)
_SMALL_CHUNK = re.compile(
    b"|".join(rb"%X\r\n.{%d}\r\n" % (size, size) for size in range(1, 16)), re.DOTALL | re.IGNORECASE
)
_SMALL_CHUNKS = re.compile(b"(?:%b)++" % _SMALL_CHUNK.pattern, re.DOTALL | re.IGNORECASE)
_SIZE_LINE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{1,7})\r\n")
_MAX_LINE = 512
_MAX_TRAILERS = 8 * 1024
_MAX_EXTENSIONS = 16 * 1024  # bytes in all chunks together, in addition to one per byte of data
_COST_OF_EXTENSION = 8  # bytes that an extension, or a leading zero, counts in addition to its own: it takes time
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
        found = bytearray()
        while not self.complete and self._step(found):
            pass
        rest = self._buffer[self._at :]
        self._at = 0
        if self.complete:
            self.remainder += rest
            rest = b""
        self._buffer = rest
        return bytes(found)

    def _step(self, found: bytearray) -> bool:
        """Decode one element of the buffer, or many small chunks. Return False if more bytes must arrive first."""
        if self._state == "data":
            return self._take_data(found)
        if self._state == "end":
            return self._take_end()
        if self._state == "size":
            self._take_chunks(found)
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

    def _take_chunks(self, found: bytearray) -> None:
        """Decode the chunks without extensions that the buffer has as a whole, many at once if they are small.

        A client chooses the size of its chunks. Decoded one by one in Python, those of a byte would take a thousand
        times as long as large ones.
        """
        before, buffer, at = len(found), self._buffer, self._at
        while True:
            if run := _ONE_BYTE_CHUNKS.match(buffer, at):
                found += buffer[at + 3 : run.end() : 6]
                at = run.end()
            elif run := _SMALL_CHUNKS.match(buffer, at):
                found += b"".join([chunk[3:-2] for chunk in _SMALL_CHUNK.findall(buffer, at, run.end())])
                at = run.end()
            elif line := _SIZE_LINE.match(buffer, at):
                start, end = line.end(), line.end() + int(line[1], 16)
                if buffer[end : end + 2] != b"\r\n":
                    break
                found += buffer[start:end]
                at = end + 2
            else:
                break
        self._at = at
        self._count(len(found) - before)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise ProtocolError(f"the body must have at most {self._limit} bytes (max_body)", status=413)

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
        extra = len(line) - len(b"%x" % self._left)
        self._extensions += extra + _COST_OF_EXTENSION if extra else 0
        if self._extensions > _MAX_EXTENSIONS + self._size + self._left:
            raise ProtocolError("the chunk extensions are too long")
        self._count(self._left)
        self._state = "data" if self._left else "trailers"
        if not self._left:
            self._size = 0  # from here on it counts the bytes of the trailers

    def _take_data(self, found: bytearray) -> bool:
        piece = self._buffer[self._at : self._at + self._left]
        if not piece:
            return False
        found += piece
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
