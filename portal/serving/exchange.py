"""Exchange: one request and its one answer, which either the worker or a watcher of deadlines gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import time

from .answer import LAST_CHUNK, encode_chunk, encode_head
from .connection import Connection
from .head import RequestHead
from .request import Response

__all__ = ["Exchange"]

_NO_BODY = (204, 304)


class Exchange:
    """One request and its one answer.

    Attributes:
        keep_alive: whether the connection is kept after the answer.

    Threads: those that would answer race for `claim`; the first one sends.
    """

    __slots__ = ("_claim", "_connection", "_head", "keep_alive")

    def __init__(self, connection: Connection, head: RequestHead, keep_alive: bool) -> None:
        self._connection = connection
        self._head = head
        self._claim = threading.Lock()  # taken once by whoever answers; never released
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
        chunked = self._head.version >= (1, 1)
        if chunked:
            response.headers = [*response.headers, ("Transfer-Encoding", "chunked")]
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        send = self._connection.send
        try:
            send(self._head_of(response, None))
            if self._head.method == "HEAD":
                return
            for piece in body:
                if piece:
                    send(encode_chunk(piece) if chunked else piece)
            if chunked:
                send(LAST_CHUNK)
        except OSError:
            self.keep_alive = False
            raise
        finally:
            self._connection.forget_hangup()
            close = getattr(body, "close", None)
            if close is not None:
                close()
