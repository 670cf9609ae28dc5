"""The socket and the request of a WSGI environment.

PEP 3333 gives no access to the socket. simple-websocket knows where the servers keep it. Of its connection nothing else
is used, as it has faults that no lock outside of it can mend:

- `send` may send part of a frame, and two threads that send at once tear each other's frames.
- Its own pongs have the same fault, and with a timeout of the socket a large message is cut off in silence.
- Over TLS a message may wait for the next ping, and two threads use one TLS object at once.
- It sends nothing to a client whose handshake is wrong, and `close` does not wait.
- `max_message_size` counts characters, and messages that nobody takes pile up without a bound.
- It compresses and decompresses without a bound, and each connection has a thread of its own beside the server's.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from simple_websocket import Server

from ...context import Identity
from ...errors import ProtocolError
from ...http11.request_head import parse_request_head
from ...network.wsgi_head import head_bytes
from ...serving import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Hosted", "request_of", "socket_of"]

_SAFE = "/!$&'()*+,;=:@~"  # unencoded in a path (RFC 3986 section 3.3)


class Hosted:
    """The connection of a request that a WSGI server has read; see `portal.serving.messages.request.Client`."""

    def __init__(self, secure: bool) -> None:
        self.secure = secure
        self.identity: Identity | None = None
        self.known_identity: Identity | None = None

    def on_hangup(self, callback: object) -> None:
        """Report nothing: a handshake is responded to at once."""

    def on_reset(self, callback: object, *, runs: bool = True) -> None:
        """Report nothing, as `on_hangup`."""


def request_of(environ: WSGIEnvironment) -> Request:
    """Return the request of an environment. Raises: ProtocolError."""
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
    try:
        target = quote(path.encode("latin-1"), safe=_SAFE)
    except UnicodeEncodeError:
        raise ProtocolError("the path must be Latin-1 text, as PEP 3333 demands") from None
    query = environ.get("QUERY_STRING")
    head = parse_request_head(head_bytes(environ, f"{target}?{query}" if query else target))
    client = Hosted(environ.get("wsgi.url_scheme") == "https")
    return Request(head, b"", client, environ.get("REMOTE_ADDR") or "unix:")


def socket_of(environ: Mapping[str, Any]) -> tuple[socket.socket, str]:
    """Return the socket of a request, and "gunicorn" or "werkzeug" by the way in which the server keeps it.

    Raises: ProtocolError (501) if the server gives no access to it, or serves one request at a time.
    """
    if not environ.get("wsgi.multithread"):
        raise ProtocolError(
            "this WSGI server serves one request at a time, so a WebSocket would block it",
            status=501,
            hint="run gunicorn with --worker-class gthread --threads 100, or Portal's own worker class",
        )
    found = dict(environ)
    if "werkzeug.socket" not in found and "gunicorn.socket" not in found:
        sock = getattr(getattr(environ.get("wsgi.input"), "raw", None), "_sock", None)  # wsgiref, Django's runserver
        if sock is not None:
            found["werkzeug.socket"] = sock
    try:
        made = _Found(found)
    except RuntimeError:
        raise ProtocolError(
            "this WSGI server gives no access to the socket of a request",
            status=501,
            hint="use gunicorn with --worker-class gthread, werkzeug, or the listener of the portal",
        ) from None
    return made.sock, made.mode


class _NoThread:
    """A thread that simple-websocket starts and that does nothing."""

    name = ""

    def __init__(self, target: object) -> None:
        self.target = target

    def start(self) -> None: ...


class _Found(Server):  # type: ignore[misc]  # simple-websocket has no types
    """Locates the socket of a connection as simple-websocket does. It neither reads nor writes."""

    sock: socket.socket
    mode: str

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ, thread_class=_NoThread)

    def handshake(self) -> None:
        """Leave the handshake to the portal."""
        self.connected = True
