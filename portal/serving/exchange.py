"""Exchange: one request and its one answer, which either the worker or a reactor of deadlines gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import time

from .._internal.closing import close_resource
from ..http11.request_head import RequestHead
from ..http11.response_head import LAST_CHUNK, encode_chunk, encode_head
from .connection import Connection
from .request import Response

__all__ = ["Exchange"]

_NO_BODY = (204, 304)


class Exchange:
    """One request and its one answer.

    Attributes:
        keep_alive: whether the connection is kept after the answer.

    Threads: those that would answer race for `claim`; the first one sends.
    """

    __slots__ = ("_chunked", "_claim", "_connection", "_head", "_last", "_open", "_writing", "keep_alive")

    def __init__(self, connection: Connection, head: RequestHead, keep_alive: bool) -> None:
        self._connection = connection
        self._head = head
        self._claim = threading.Lock()  # taken once by whoever answers; never released
        self._chunked = head.version >= (1, 1)
        self._writing: threading.Lock | None = None  # of a stream: held while a piece is written
        self._open = False  # whether a stream is being sent and may go on
        self.keep_alive = keep_alive and head.keep_alive

    def claim(self) -> bool:
        """Whether the answer is still to be given; whoever gets True gives it."""
        return self._claim.acquire(blocking=False)

    def send(self, response: Response) -> None:
        """Send a response; the caller has claimed the exchange. Raises ConnectionError when the client is gone."""
        body = response.body
        if isinstance(body, bytes):
            self._connection.send(self.encode(response, body))
        else:
            self._send_stream(response, body)

    def encode(self, response: Response, body: bytes) -> bytes:
        """A whole response as bytes; a HEAD request gets no body (RFC 9110 section 9.3.2)."""
        bare = response.status < 200 or response.status in _NO_BODY
        head = self._head_of(response, None if bare else len(body))
        return head if bare or self._head.method == "HEAD" else head + body

    def _head_of(self, response: Response, length: int | None) -> bytes:
        return encode_head(
            response.status,
            response.headers,
            keep_alive=self.keep_alive,
            version=self._head.version,
            length=length,
            now=time(),
        )

    def _send_stream(self, response: Response, body: Iterator[bytes]) -> None:
        if self._chunked:
            response.headers = [*response.headers, ("Transfer-Encoding", "chunked")]
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        coded = any(name.lower() == "content-encoding" for name, _ in response.headers)
        self._last = getattr(body, "last", _nothing if coded or self._head.method == "HEAD" else _as_it_is)
        self._open = True
        self._writing = writing = threading.Lock()

        def write(data: bytes) -> None:
            with writing:
                if not self._open:
                    raise ConnectionAbortedError("the stream was cut")
                self._connection.send(data)

        try:
            write(self._head_of(response, None))
            if self._head.method == "HEAD":
                return
            for piece in body:
                if piece:
                    write(encode_chunk(piece) if self._chunked else piece)
            if self._chunked:
                write(LAST_CHUNK)
        except OSError:
            self.keep_alive = False
            raise
        finally:
            self._open = False
            self._connection.forget_hangup()
            close_resource(body)

    def cut(self, last: bytes) -> None:
        """End the stream that is being sent, if one is; from another thread, which does not wait.

        Args:
            last: a piece to send before, left out where one is being written, perhaps to a client that takes nothing.
        """
        writing = self._writing
        if writing is None:
            return
        if writing.acquire(blocking=False):
            try:
                if not self._open:
                    return
                self._open = False
                piece = self._last(last)
                if piece:
                    self._connection.send_nowait(encode_chunk(piece) if self._chunked else piece)
            finally:
                writing.release()
        elif not self._open:
            return
        self._connection.abort()


def _as_it_is(piece: bytes) -> bytes:
    return piece


def _nothing(piece: bytes) -> bytes:
    return b""
