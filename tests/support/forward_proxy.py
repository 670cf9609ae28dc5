"""A small forward proxy: it forwards requests (RFC 9112 section 3.2.2) and opens tunnels (CONNECT)."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["ForwardProxy"]

_READ = 65536


class ForwardProxy:
    """Listen on a free port. As a context manager it ends every thread.

    Args:
        instead: replaces forwarding: bytes to send as the response, or a callable that takes the socket. The connection
            is then closed. None forwards requests.
        host: the only host that the proxy connects to; it stands for 127.0.0.1.
        tls: serves over TLS.

    Attributes:
        lines: the first line of each request.
        authorizations: the Proxy-Authorization header of each request, or None.
        connections: the number of accepted connections.
    """

    def __init__(
        self,
        instead: bytes | Callable[[socket.socket], Any] | None = None,
        *,
        host: str = "orders.invalid",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.lines: list[str] = []
        self.authorizations: list[str | None] = []
        self.connections = 0
        self._instead = instead
        self._host = host
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> ForwardProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop()
        for thread in list(self._threads):
            thread.join(20)

    def drop(self) -> None:
        """End every connection."""
        with self._lock:
            sockets = list(self._open)
        for sock in sockets:
            with suppress(OSError):  # closed by its thread meanwhile
                sock.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, sock)

    def _serve(self, bare: socket.socket) -> None:
        with suppress(OSError):  # either side has gone
            sock = bare if self._tls is None else self._tls.wrap_socket(bare, server_side=True)
            with sock:
                with self._lock:
                    self._open.add(sock)
                while self._exchange(sock):
                    continue
        bare.close()

    def _exchange(self, client: socket.socket) -> bool:
        """Handle one request; return whether another may follow."""
        head, body = _read_message(client)
        if not head:
            return False
        first, *fields = head.split("\r\n")
        given = [field.partition(": ")[2] for field in fields if field.lower().startswith("proxy-authorization:")]
        self.lines.append(first)
        self.authorizations.append(given[0] if given else None)
        if self._instead is not None:
            client.sendall(self._instead) if isinstance(self._instead, bytes) else self._instead(client)
            return False
        if first.startswith("CONNECT "):
            self._tunnel(client, first.split()[1])
            return False
        method, target, version = first.split()
        place, _, path = target.removeprefix("http://").partition("/")
        forwarded = [field for field in fields if not field.lower().startswith("proxy-authorization:")]
        with self._connect(place) as server:
            server.sendall("\r\n".join([f"{method} /{path} {version}", *forwarded]).encode() + b"\r\n\r\n" + body)
            response, body = _read_message(server)
        client.sendall(response.encode() + b"\r\n\r\n" + body)
        return True

    def _connect(self, place: str) -> socket.socket:
        host, _, port = place.partition(":")
        assert host == self._host, place
        return socket.create_connection(("127.0.0.1", int(port)), timeout=20)

    def _tunnel(self, client: socket.socket, place: str) -> None:
        with self._connect(place) as server:
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = self._start(_copy, server, client)
            _copy(client, server)
            back.join(20)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_READ):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _read_message(sock: socket.socket) -> tuple[str, bytes]:
    """Return head and body of a request or a response with Content-Length; ("", b"") at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(_READ)
        if not piece:
            return "", b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += sock.recv(_READ)
    return head.decode("latin-1"), body
