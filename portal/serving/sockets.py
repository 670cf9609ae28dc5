"""The sockets that a listener listens on: TCP by stdlib http.server, Unix sockets, and those it is handed."""

from __future__ import annotations

import errno
import http.server
import os
import socket
import socketserver
import stat

from ..errors import TransportError

__all__ = ["is_unix", "open_socket", "remove_socket_file"]

_UNIX = "unix:"


class _Server(http.server.HTTPServer):
    """The listening socket of http.server, without its one-request-at-a-time loop."""

    def __init__(self, family: int, address: object, backlog: int) -> None:
        self.address_family = family
        self.request_queue_size = backlog
        super().__init__(address, http.server.BaseHTTPRequestHandler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks DNS for the host's full name, which can take seconds and is not needed here.
        socketserver.TCPServer.server_bind(self)


def is_unix(host: str) -> bool:
    """Whether `host` is "unix:" and a path."""
    return host.startswith(_UNIX)


def open_socket(host: str, port: int, backlog: int, socket_mode: int) -> socket.socket:
    """A listening socket; `host` is a name, an address, or "unix:" and a path.

    Raises: TransportError when the address is in use or not of this machine.
    """
    try:
        if is_unix(host):
            return _listen_at_path(host.removeprefix(_UNIX), backlog, socket_mode)
        return _Server(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port), backlog).socket
    except OSError as error:
        where = host if is_unix(host) else f"{host}:{port}"
        reason = f"cannot be listened on: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            reason = "is in use" if is_unix(host) else "is in use; take another port, or 0 for a free one"
        raise TransportError(f"{where} {reason}", delivery="not_sent", retryable=False, cause=error) from error


def _listen_at_path(path: str, backlog: int, mode: int) -> socket.socket:
    _remove_stale(path)
    # Between bind and chmod nobody but the owner may connect.
    before = os.umask(0o177)
    try:
        server = _Server(socket.AF_UNIX, path, backlog)
    finally:
        os.umask(before)
    os.chmod(path, mode)
    return server.socket


def _remove_stale(path: str) -> None:
    """Remove a socket that a process left behind when it was killed; one that answers is left alone."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def remove_socket_file(host: str) -> None:
    """Remove the file of a Unix socket that is listened on no more."""
    if is_unix(host):
        try:
            os.unlink(host.removeprefix(_UNIX))
        except FileNotFoundError:
            return
