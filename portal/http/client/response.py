"""ConnectionResponse: the body of a response as an HTTPConnection receives it.

Source: RFC 9112 section 6.3.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from ...errors import ProtocolError
from ...http11.chunked import ChunkedDecoder
from ...http11.response_head import BODILESS

if TYPE_CHECKING:
    from .connection import HTTPConnection

__all__ = ["ConnectionResponse"]

_NO_LIMIT = 1 << 62


class ConnectionResponse:
    """A response whose head has been read.

    At the end of the body the connection is given back; `close` before that closes the connection.

    Attributes:
        status, headers: of the head; headers by lower-case name.

    Raises: what `HTTPConnection.read_head` raises.

    Threads: one at a time.
    """

    __slots__ = ("_connection", "_deadline", "_keep", "headers", "status")

    def __init__(self, connection: HTTPConnection, deadline: float | None) -> None:
        self._connection: HTTPConnection | None = connection
        self._deadline = deadline
        self.status, self.headers, self._keep = connection.read_head(deadline)

    def read_buffered(self) -> bytes | None:
        """Return the body if exactly the body arrived with the head, else None; then `iter_body` yields it."""
        connection = self._connection
        headers = self.headers
        if connection is None or "transfer-encoding" in headers or self.status in BODILESS:
            return None
        body = connection.take_whole(headers.get("content-length"))
        if body is not None:
            self._connection = None
            connection.release(self._keep)
        return body

    def iter_body(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises: TimeoutError; OSError when the body is incomplete; ProtocolError.
        """
        connection = self._connection
        if connection is None:
            return
        try:
            if self.status in BODILESS:
                rest = connection.take_buffered()
            elif "transfer-encoding" in self.headers:
                rest = yield from self._iter_chunked(connection)
            elif "content-length" in self.headers:
                rest = yield from self._iter_sized(connection)
            else:
                rest = yield from self._iter_until_closed(connection)
        except BaseException:
            self.close()
            raise
        self._connection = None
        connection.release(self._keep and not rest)

    # Each of these returns the bytes after the end of the body. They belong to no response.

    def _iter_sized(self, connection: HTTPConnection) -> Generator[bytes, None, bytes]:
        text = self.headers["content-length"]
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ProtocolError(f"the Content-Length of the response must be a number of bytes, got {text[:40]!r}")
        left = int(text)
        data = connection.take_buffered()
        while True:
            if len(data) > left:
                # The body up to there may be valid JSON but wrong: 3 instead of 32.
                raise ProtocolError("the response is longer than its Content-Length")
            if data:
                yield data
            if len(data) == left:
                return b""
            left -= len(data)
            data = self._receive_more(connection)

    def _iter_chunked(self, connection: HTTPConnection) -> Generator[bytes, None, bytes]:
        coding = self.headers["transfer-encoding"]
        if coding.lower() != "chunked":
            raise ProtocolError(f"the Transfer-Encoding of the response must be chunked, got {coding[:40]!r}")
        decoder = ChunkedDecoder(_NO_LIMIT)
        piece = decoder.feed(connection.take_buffered())
        while True:
            if piece:
                yield piece
            if decoder.complete:
                return bytes(decoder.remainder)
            piece = decoder.feed(self._receive_more(connection))

    def _iter_until_closed(self, connection: HTTPConnection) -> Generator[bytes, None, bytes]:
        self._keep = False
        data = connection.take_buffered()
        while True:
            if data:
                yield data
            data = connection.receive(self._deadline)
            if not data:
                connection.check_end()
                return b""

    def _receive_more(self, connection: HTTPConnection) -> bytes:
        data = connection.receive(self._deadline)
        if not data:
            raise ConnectionResetError("the connection closed before the end of the response")
        return data

    def close(self) -> None:
        """Give up the rest of the response and close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
