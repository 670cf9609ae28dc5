"""Connection: one client's socket, read by whichever thread has it, answered once a request."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from time import monotonic, time

from ..errors import ProtocolError
from .answer import LAST_CHUNK, encode_chunk, encode_head, error_answer
from .config import ServingConfig
from .head import HeadCache, RequestHead
from .request import Request, RequestReader, Response

__all__ = ["Connection", "Exchange"]

_log = logging.getLogger("portal.serving")
_READ_SIZE = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """One client's socket.

    At any moment it belongs to one thread: the selector while parked, else the worker that serves it (or the
    watcher that answers in the worker's place). The socket's own timeout is the linger time, so that waiting briefly
    for the next request costs no system call to set up.
    """

    __slots__ = ("_config", "_parked_in", "_reader", "closed", "deadline", "draining", "peer", "requests", "socket")

    def __init__(self, sock: socket.socket, peer: str, config: ServingConfig, cache: HeadCache) -> None:
        self.socket = sock
        self.peer = peer
        self.closed = False
        self.draining = False
        self.deadline = monotonic() + config.head_timeout
        self.requests = 0
        self._parked_in = "idle"
        self._config = config
        self._reader = RequestReader(config.max_head, config.max_body, cache)
        sock.settimeout(config.linger)
        if sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def next_request(self) -> Request | None:
        """The next whole request, waiting the linger time for it; None when it has to be waited for longer.

        Raises: ProtocolError to be answered; ConnectionError when the client is gone.
        """
        while (request := self._take_request()) is None:
            if not self._read():
                return None
        return request

    def read_ready(self) -> Request | None:
        """Read once from a connection that the selector says is readable; its request if that is whole now.

        Raises: as `next_request`.
        """
        return self._take_request() if self._read() else None

    def _take_request(self) -> Request | None:
        found = self._reader.next_request()
        if found is not None:
            self.requests += 1
            return Request(found[0], found[1], self, self.peer)
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            self.send(_CONTINUE)
        return None

    def _read(self) -> bool:
        try:
            data = self.socket.recv(_READ_SIZE)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionResetError("the client closed the connection")
        self._reader.feed(data)
        return True

    def note_parked(self, now: float) -> None:
        """Set the moment at which the connection, parked now, is given up.

        A head or a body in progress keeps the deadline it began with: a byte now and then does not extend it.
        """
        state = self._reader.state
        if state == "idle" or state != self._parked_in:
            config = self._config
            limits = {"idle": config.idle_timeout, "head": config.head_timeout, "body": config.body_timeout}
            self.deadline = now + limits[state]
        self._parked_in = state

    @property
    def waits_inside_request(self) -> bool:
        """Whether part of a request has arrived."""
        return self._reader.state != "idle"

    def send(self, data: bytes) -> None:
        """Send all of `data`; ConnectionError when the peer is gone or takes nothing for the write timeout."""
        view = memoryview(data)
        give_up = 0.0
        while view:
            try:
                view = view[self.socket.send(view) :]
            except TimeoutError:
                now = monotonic()
                give_up = give_up or now + self._config.write_timeout
                if now >= give_up:
                    raise ConnectionAbortedError("the client takes no more of the answer") from None
            else:
                give_up = 0.0

    def try_send(self, data: bytes) -> bool:
        """Send `data` if the kernel takes all of it at once; for threads that must not wait."""
        try:
            return self.socket.send(data) == len(data)
        except OSError:
            return False

    def refuse(self, error: ProtocolError) -> None:
        """Answer a request that cannot be read; the connection is drained and closed after it."""
        self.try_send(error_answer(error.status, str(error), now=time()))

    def shut_writing(self) -> None:
        """Say that nothing more will come, so that the client reads the answer before the connection is cut."""
        self.draining = True
        self.deadline = monotonic() + 2.0
        self.socket.shutdown(socket.SHUT_WR)

    def drain(self) -> bool:
        """Throw away what the client still sends; whether it has closed its side."""
        try:
            return not self.socket.recv(_READ_SIZE)
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket. May be called twice, from any thread."""
        self.closed = True
        self.socket.close()


class Exchange:
    """One request and its one answer, which either the worker or a watcher gives.

    Threads: `answer` and `answer_early` may race; the first one sends.
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
        headers = response.headers
        if response.status >= 200 and response.status not in (204, 304):
            headers = [*headers, ("Content-Length", str(len(body)))]
        else:
            body = b""
        head = encode_head(response.status, headers, keep_alive=self.keep_alive, version=self._head.version, now=time())
        return head if self._head.method == "HEAD" else head + body

    def _send_stream(self, response: Response, body: Iterator[bytes]) -> None:
        chunked = self._head.version >= (1, 1)
        headers = response.headers
        if chunked:
            headers = [*headers, ("Transfer-Encoding", "chunked")]
        else:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        head = encode_head(response.status, headers, keep_alive=self.keep_alive, version=self._head.version, now=time())
        try:
            self._connection.send(head)
            if self._head.method == "HEAD":
                return
            for piece in body:
                if piece:
                    self._connection.send(encode_chunk(piece) if chunked else piece)
            if chunked:
                self._connection.send(LAST_CHUNK)
        except OSError:
            self.keep_alive = False
            raise
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
