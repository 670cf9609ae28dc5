"""Exchange: one request and its one response, which the serving thread or the responder at a deadline sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic, time

from ..._internal.closing import close_and_log, run_all
from ...http11.request_head import RequestHead
from ...http11.response_head import BODILESS, LAST_CHUNK, encode_chunk, encode_head
from ..messages.rejections import overloaded_response
from ..messages.request import Response
from .connection import Connection

__all__ = ["Exchange"]

_SOON = 0.001  # seconds after a piece of a stream in which further pieces are gathered
_LARGE = 64 * 1024  # bytes of a body that is not copied behind its head


class Exchange:
    """One request and its one response.

    Args:
        keep_alive: whether the server keeps the connection after the response; the client has to want it, too.
        release: called after an early response, with the connection and whether it can be kept.

    Attributes:
        keep_alive: whether the connection is kept after the response.

    Threads: the serving thread calls `share` before another thread learns of the exchange. Then the threads that may
        respond race for `claim`, and the first one sends.
    """

    __slots__ = (
        "_chunked",
        "_claim",
        "_connection",
        "_encode_abort_chunk",
        "_head",
        "_release",
        "_streaming",
        "_unreleased",
        "_writing",
        "keep_alive",
    )

    def __init__(
        self,
        connection: Connection,
        head: RequestHead,
        keep_alive: bool,
        release: Callable[[Connection, bool], object],
    ) -> None:
        self._connection = connection
        self._head = head
        self._release = release
        self._claim: threading.Lock | None = None  # acquired once by the thread that responds, and never released
        self._chunked = head.version >= (1, 1)
        self._writing: threading.Lock | None = None  # of a stream: held while a piece is written
        self._streaming = False  # whether a stream is being sent and may go on
        self._unreleased = False  # whether the early response was sent, and the connection is still of this thread
        self.keep_alive = keep_alive and head.keep_alive

    def check_released(self) -> None:
        """Raise ConnectionAbortedError if the connection is to be closed after the early response."""
        if self._unreleased:
            raise ConnectionAbortedError("the connection was not released after an early response")

    def share(self) -> Exchange:
        """Let another thread call `respond_early` from now on. Only the serving thread calls this."""
        if self._claim is None:
            self._claim = threading.Lock()
        return self

    def claim(self) -> bool:
        """Return whether the response has not been sent. A thread that gets True sends it."""
        return self._claim is None or self._claim.acquire(blocking=False)

    def close_after_response(self) -> None:
        """Close the connection after the response."""
        self.keep_alive = False

    # the serving thread

    def send(self, response: Response, client: str | None = None) -> None:
        """Send a response that the caller has claimed. Raises: OSError if the client is gone.

        The reactor sends what the client does not take at once. A stream waits while too much is kept.

        Args:
            client: whose places a stream takes; None counts it for no client.
        """
        body = response.body
        if isinstance(body, bytes):
            if len(body) > _LARGE and response.status not in BODILESS and self._head.method != "HEAD":
                self._connection.send_part(self._encode_head(response, len(body)))
                self._connection.send(body)
            else:
                self._connection.send(self._encode(response, body))
        else:
            self._send_stream(response, body, client)

    def _reject_stream(self, body: Iterator[bytes]) -> None:
        """Send 503 in the place of a stream, as its client could hold a worker for a long time."""
        self._connection.forget_hangup()
        close_and_log(body, "the body of a response")
        self.keep_alive = False
        self._connection.send(overloaded_response("every place for a stream of this client is taken", now=time()))

    def _encode(self, response: Response, body: bytes) -> bytes:
        """Return a complete response. A HEAD request gets no body (RFC 9110 section 9.3.2)."""
        bodiless = response.status < 200 or response.status in BODILESS
        head = self._encode_head(response, None if bodiless else len(body))
        return head if bodiless or self._head.method == "HEAD" else head + body

    def _encode_head(self, response: Response, length: int | None) -> bytes:
        return encode_head(
            response.status,
            response.headers,
            keep_alive=self.keep_alive,
            version=self._head.version,
            length=length,
            now=time(),
        )

    def _send_stream(self, response: Response, body: Iterator[bytes], client: str | None) -> None:
        if not self._connection.streams.take(client):
            self._reject_stream(body)
            return
        try:
            self._write_stream(response, body)
        except OSError:
            self.keep_alive = False
            raise
        finally:
            self._streaming = False
            run_all(
                partial(self._connection.streams.leave, client),
                self._connection.forget_hangup,
                partial(close_and_log, body, "the body of a response"),
            )

    def _write_stream(self, response: Response, body: Iterator[bytes]) -> None:
        length = getattr(body, "length", None)  # of a file
        if length is not None:
            self._chunked = False
        elif self._chunked:
            response.add_header("Transfer-Encoding", "chunked")
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        coded = any(name.lower() == "content-encoding" for name, _ in response.headers)
        plain = _no_chunk if coded or self._head.method == "HEAD" else _same_chunk
        self._encode_abort_chunk = getattr(body, "encode_abort_chunk", plain)
        self._streaming = True
        self._writing = writing = threading.Lock()

        def write(data: bytes, soon: bool = False) -> bool:
            """Send a piece, and return whether that is done; with `soon`, only a piece that can be gathered."""
            if not soon:
                self._connection.wait_for_room()
            with writing:
                if not self._streaming:
                    raise ConnectionAbortedError("the stream was aborted")
                if soon:
                    return self._connection.output.gather(data)
                self._connection.send_part(data)
                return True

        write(self._encode_head(response, length))
        if self._head.method == "HEAD":
            return
        sent_at = 0.0
        try:
            for piece in body:
                if piece:
                    data, now = encode_chunk(piece) if self._chunked else piece, monotonic()
                    if now - sent_at >= _SOON or not write(data, soon=True):
                        write(data)
                        sent_at = now
        except BaseException:
            with suppress(OSError), writing:
                if self._streaming:
                    self._connection.send_part(b"")  # what was gathered goes out before the connection is closed
            raise
        if self._chunked:
            write(LAST_CHUNK)

    # another thread

    def respond_early(self, response: Response) -> bool:
        """Send a response in the place of the serving thread, without waiting for the client.

        A stream that is being sent by then is aborted, after the response's `abort_chunk` if that can be sent at once.

        Returns: whether the response was still to be sent.
        """
        if not self.claim():
            self._abort_stream(response.abort_chunk)
            return False
        keeps = False
        try:
            assert isinstance(response.body, bytes)
            sent = self._connection.send_nowait(self._encode(response, response.body))
            keeps = sent and self.keep_alive
        finally:
            self._release_connection(keeps)  # nobody else responds now
        return True

    def _release_connection(self, keeps: bool) -> None:
        try:
            self._release(self._connection, keeps)
        except BaseException:
            self._unreleased = True
            self._connection.abort()
            raise

    def _abort_stream(self, chunk: bytes) -> None:
        """End the stream that is being sent, if there is one.

        The chunk is left out if a piece is being written: the client may take nothing.
        """
        writing = self._writing
        if writing is None:
            return
        if writing.acquire(blocking=False):
            try:
                if not self._streaming:
                    return
                self._streaming = False
                piece = self._encode_abort_chunk(chunk)
                if piece:
                    self._connection.send_nowait(encode_chunk(piece) if self._chunked else piece)
            finally:
                writing.release()
        elif not self._streaming:
            return
        self._connection.abort()


def _same_chunk(chunk: bytes) -> bytes:
    return chunk


def _no_chunk(chunk: bytes) -> bytes:
    return b""
