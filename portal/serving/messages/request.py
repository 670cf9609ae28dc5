"""Request and Response, as applications see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from ..._internal.content import Content, content_of, pieces_of
from ...context import Identity
from ...http11.request_head import RequestHead
from .held_keys import HeldKeys
from .upgraded import Upgraded

__all__ = ["Client", "EarlyResponder", "Exchange", "Request", "Response"]


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

    def on_reset(self, callback: Callable[[], object], *, runs: bool = True) -> None:
        """Call `callback`, in another thread, if the client breaks the connection while a call runs; on Linux.

        Args:
            runs: whether the call runs, or has ended.
        """


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
        body: the whole body. One that is on disk is read when it is first asked for; `content` leaves it there.
        peer: network address of the client, "unix:" on a Unix socket.
        arrived: `time.monotonic()` moment at which the head was complete. Deadlines count from it.
        held: counts the request for further keys until it is served, for example for its client once that is known.
            None if it holds no worker, because the reading thread or another server serves it.
        notes: facts for middleware further out, such as the name of the function ("function") or the code of an error
            ("code").
    """

    __slots__ = (
        "_content",
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
        body: bytes | Content,
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
        if isinstance(body, bytes):
            self.body = body
        else:
            self._content = body
        self.connection = connection
        self.peer = peer
        self.notes: dict[str, Any] = {}
        self.arrived = monotonic() if arrived is None else arrived
        self.held = held
        self._exchange = exchange

    def __getattr__(self, name: str) -> bytes:
        # Only for an attribute that is not set, so that a body in memory costs nothing.
        if name != "body":
            raise AttributeError(f"a request has no {name}")
        self.body = body = b"".join(pieces_of(self._content))
        return body

    @property
    def content(self) -> Content:
        """The whole body, which may be on disk."""
        try:
            body: bytes = _BODY.__get__(self, Request)
        except AttributeError:
            return self._content
        return content_of(body)

    @property
    def body_size(self) -> int:
        """The number of bytes of the body."""
        try:
            return len(_BODY.__get__(self, Request))
        except AttributeError:
            return self._content.size

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


_BODY: Any = Request.__dict__["body"]  # raises AttributeError while it is not set


@dataclass(slots=True)
class Response:
    """The response of an app. Its body is bytes, or an iterator whose items are sent as they come.

    The iterator is closed at its end, or when the client is gone.

    Attributes:
        abort_chunk: for a response at a deadline while a stream is being sent: the last piece of that stream. Nothing
            follows it, not even the end of the body. The body of that stream may have a method `encode_abort_chunk`,
            which returns the piece as the body sends it. Without that method, a body with a Content-Encoding ends
            without the piece.
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
