"""Request and Response, and RequestReader, which makes complete requests of bytes. It knows no sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, Protocol, runtime_checkable

from .._internal.executor import HeldKeys
from .._internal.job_queue import Keys
from ..context import Identity
from ..errors import ProtocolError
from ..http11.chunked import ChunkedDecoder
from ..http11.head_cache import HeadCache
from ..http11.request_head import RequestHead, find_head_end

__all__ = [
    "App",
    "Authenticating",
    "Client",
    "EarlyResponder",
    "Exchange",
    "KeyedApp",
    "ProxyAware",
    "Received",
    "Request",
    "RequestReader",
    "Response",
    "Upgraded",
]

Received = tuple[RequestHead, bytes, float]
"""The head and the whole body of a request, and the `time.monotonic()` moment at which the head was complete."""


class Client(Protocol):
    """The connection of a request, as apps see it."""

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""

    @property
    def identity(self) -> Identity | None:
        """The identity of the client by its certificate, or None."""

    @property
    def known_identity(self) -> Identity | None:
        """The identity of the caller if it was authenticated before the body was read, or None."""

    def on_hangup(self, callback: Callable[[], object]) -> None:
        """Call `callback`, in another thread, if the client closes its side during a response."""


class EarlyResponder(Protocol):
    """Sends a response before the app returns one."""

    def respond_early(self, response: Response) -> bool:
        """Send a response from another thread, once, for example because a deadline has passed.

        The response that the app returns is dropped then. A stream that is being sent by then is aborted, after the
        response's `abort_chunk` if that can be sent at once.

        Returns: whether the response was in time.
        """


class Exchange(EarlyResponder, Protocol):
    """The exchange that a request belongs to."""

    def share(self) -> EarlyResponder:
        """Let another thread respond early from now on."""


class Request:
    """One request.

    Attributes:
        method, path, query: of the request line; the path is still percent-encoded.
        headers: by lower-case name. Equal requests share the mapping, so it is read-only; middleware that changes
            headers sets another mapping.
        body: the whole body.
        peer: network address of the client, "unix:" on a Unix socket.
        arrived: `time.monotonic()` moment at which the head was complete. Deadlines count from it.
        held: counts the request for further keys, such as its client once that is known, until it is served. None if
            the thread that reads serves it, or another server: then it holds no worker.
        notes: facts for middleware further out, such as the name of the function ("function") or the code of an error
            ("code").
    """

    __slots__ = (
        "_exchange",
        "arrived",
        "body",
        "connection",
        "head",
        "headers",
        "held",
        "method",
        "notes",
        "path",
        "peer",
        "query",
    )

    def __init__(
        self,
        head: RequestHead,
        body: bytes,
        connection: Client | None = None,
        peer: str = "",
        exchange: Exchange | None = None,
        arrived: float | None = None,
        held: HeldKeys | None = None,
    ) -> None:
        self.head = head
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = body
        self.connection = connection
        self.peer = peer
        self.notes: dict[str, Any] = {}
        self.arrived = monotonic() if arrived is None else arrived
        self.held = held
        self._exchange = exchange

    @property
    def secure(self) -> bool:
        """Whether it arrived over TLS."""
        return self.connection is not None and self.connection.secure

    @property
    def tls_identity(self) -> Identity | None:
        """The identity of the client by its certificate, or None."""
        return None if self.connection is None else self.connection.identity

    @property
    def known_identity(self) -> Identity | None:
        """The identity of the caller if it was authenticated before the body was read, or None."""
        return None if self.connection is None else self.connection.known_identity

    def resolve_peer(self, peer: str) -> None:
        """Set the address of the client behind a trusted proxy."""
        self.peer = peer

    def share(self) -> EarlyResponder | None:
        """Return what another thread may respond with from now on; None if only the app can respond."""
        return None if self._exchange is None else self._exchange.share()


@dataclass(slots=True)
class Response:
    """The response of an app. Its body is bytes, or an iterator whose items are sent as they come.

    The iterator is closed at its end, or when the client is gone.

    Attributes:
        abort_chunk: of a response at a deadline: the last piece of a stream that is being sent already. Nothing follows
            it, not even the end of the body. The body of that stream may have a method `encode_abort_chunk`, which
            returns the piece as the body sends it. Without that method, a body with a Content-Encoding ends without
            the piece.
        upgrade: with status 101, takes the connection over after the head is sent. It receives the Connection.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterator[bytes] = b""
    abort_chunk: bytes = b""
    upgrade: Callable[[Any], Upgraded] | None = None

    def add_header(self, name: str, value: str) -> None:
        """Add a header. The list that the app has passed is not changed."""
        self.headers = [*self.headers, (name, value)]


class Upgraded(Protocol):
    """A protocol that has taken a connection over, such as WebSocket."""

    def received(self, data: bytes) -> Callable[[], object] | None:
        """Take the bytes that have arrived, and return work for a worker, or None.

        The reactor calls this, or a worker the first time. It must not wait. It may call `connection.resume_http(rest)`
        to give the connection back.
        """

    def overloaded(self, work: Callable[[], object]) -> None:
        """Take back work that no worker can do, as all are busy and the queue is full."""

    def overdue(self) -> bool:
        """React to the passing of `connection.deadline`.

        Returns: whether a later deadline is set. Otherwise the connection is closed.
        """

    def stopping(self) -> None:
        """Say goodbye to the client, as the listener stops. Called once, by the reactor or by a worker."""

    def lost(self) -> None:
        """React to the end of the connection."""


class App(Protocol):
    """Responds to the requests under a path prefix of a listener."""

    def handle(self, request: Request) -> Response:
        """Return the response to a request. After `request.share()` another thread may respond first."""


@runtime_checkable
class Authenticating(Protocol):
    """An app that can authenticate a caller before the body of its request is read."""

    def authenticates_at(self, head: RequestHead) -> Literal["never", "head", "body"]:
        """Return when the caller of a request is known: it needs no credential, by the head, or by the body."""

    def authenticate_head(self, request: Request) -> Identity | Response:
        """Return the identity of the caller of a request without its body, or the response that rejects it."""


@runtime_checkable
class ProxyAware(Protocol):
    """An app that knows trusted proxies."""

    def trusts(self, peer: str) -> bool:
        """Return whether an address is that of a trusted proxy. It must be quick."""


class KeyedApp(App, Protocol):
    """An app whose requests have keys, which limit how many of them run and wait."""

    def keys(self, head: RequestHead, peer: str, identity: Identity | None) -> Keys:
        """Return the keys of a request that needs a worker. It must be quick.

        Args:
            peer: network address of the other end of the connection.
            identity: the identity of the client by its certificate, or None.
        """


class RequestReader:
    """Makes complete requests of the bytes of a connection, in order.

    Args:
        clock: seconds, as `time.monotonic`.

    Attributes:
        wants_continue: whether the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).

    Threads: one at a time.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_buffer",
        "_cache",
        "_clock",
        "_decoder",
        "_fed",
        "_head",
        "_max_body",
        "_max_head",
        "_scanned",
        "wants_continue",
    )

    def __init__(self, max_head: int, max_body: int, cache: HeadCache, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._fed = self._arrived = 0.0  # the moments of the latest bytes and of the end of the head
        self._max_head = max_head
        self._max_body = max_body
        self._cache = cache
        self._buffer = b""
        self._scanned = 0
        self._head: RequestHead | None = None
        self._decoder: ChunkedDecoder | None = None
        self._body = bytearray()
        self.wants_continue = False

    @property
    def state(self) -> str:
        """ "idle" between requests, "head" or "body" inside one."""
        if self._head is not None:
            return "body"
        # An empty line before a request is ignored (RFC 9112 section 2.2).
        return "idle" if self._buffer in (b"", b"\r\n") else "head"

    @property
    def pending_head(self) -> RequestHead | None:
        """The head of the request whose body is arriving, or None."""
        return self._head

    @property
    def buffered(self) -> int:
        """How many bytes are kept of a request whose head has arrived, and whose body has not."""
        return 0 if self._head is None else len(self._body) + len(self._buffer)

    def drop(self) -> None:
        """Forget all bytes. Nothing more can be read after it."""
        self._body, self._buffer, self._decoder = bytearray(), b"", None

    def feed(self, data: bytes) -> None:
        """Take the bytes that have arrived."""
        self._fed = self._clock()
        if self._head is not None and self._decoder is None:
            self._body += data
        else:
            self._buffer = self._buffer + data if self._buffer else data

    def take_rest(self) -> bytes:
        """Return and drop the bytes after the last request."""
        rest, self._buffer = self._buffer, b""
        return rest

    def next_request(self) -> Received | None:
        """Return the next complete request, or None until more bytes arrive.

        Raises: ProtocolError with the HTTP status of the response. Nothing more can be read after it.
        """
        if self._head is None and not self._read_head():
            return None
        return self._read_chunked() if self._decoder is not None else self._read_sized()

    def _read_head(self) -> bool:
        end = find_head_end(self._buffer, self._scanned)
        if end < 0:
            if len(self._buffer) > self._max_head:
                raise ProtocolError(f"the head is longer than {self._max_head} bytes", status=431)
            self._scanned = max(0, len(self._buffer) - 3)
            return False
        if end > self._max_head:
            raise ProtocolError(f"the head is longer than {self._max_head} bytes", status=431)
        head = self._cache.parse(self._buffer[:end])
        self._buffer = self._buffer[end:]
        self._scanned = 0
        if head.content_length is not None and head.content_length > self._max_body:
            raise ProtocolError(f"the body is longer than {self._max_body} bytes", status=413)
        self._head = head
        self._arrived = self._fed
        if head.chunked:
            self._decoder = ChunkedDecoder(self._max_body)
        else:
            self._body = bytearray(self._buffer)
            self._buffer = b""
        self.wants_continue = head.expect_continue and not self._buffer and not self._body
        return True

    def _read_sized(self) -> Received | None:
        head = self._head
        assert head is not None
        length = head.content_length or 0
        if len(self._body) < length:
            return None
        body = bytes(self._body[:length])
        return self._complete(head, body, bytes(self._body[length:]))

    def _read_chunked(self) -> Received | None:
        head, decoder = self._head, self._decoder
        assert head is not None
        assert decoder is not None
        if self._buffer:
            self._body += decoder.feed(self._buffer)
            self._buffer = b""
        if not decoder.complete:
            return None
        return self._complete(head, bytes(self._body), bytes(decoder.remainder))

    def _complete(self, head: RequestHead, body: bytes, rest: bytes) -> Received:
        self._head = None
        self._decoder = None
        self._body = bytearray()
        self._buffer = rest
        self.wants_continue = False
        return head, body, self._arrived
