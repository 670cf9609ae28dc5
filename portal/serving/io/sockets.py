"""The listening sockets of a listener: TCP sockets by stdlib http.server, and Unix sockets."""

from __future__ import annotations

import errno
import http.server
import os
import socket
import socketserver
import stat
from dataclasses import dataclass

from ..._internal.log import get_logger
from ...errors import TransportError
from ...http11.host_patterns import is_loopback

__all__ = [
    "SocketFile",
    "bind_free_port",
    "descriptor_limit",
    "is_bound_to_loopback",
    "is_unix",
    "open_socket",
    "socket_file",
    "start_listening",
]

_log = get_logger("portal.serving")
_UNIX = "unix:"


class _Server(http.server.HTTPServer):
    """The listening socket of http.server, without its one-request-at-a-time loop."""

    def __init__(self, family: int, address: object, backlog: int, *, listens: bool = True) -> None:
        self.address_family = family
        self.request_queue_size = backlog
        super().__init__(address, http.server.BaseHTTPRequestHandler, listens)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks DNS for the host's full name, which can take seconds and is not needed here.
        socketserver.TCPServer.server_bind(self)


class _BoundServer(_Server):
    """A socket that refuses connections until it listens.

    Without SO_REUSEADDR no other socket can bind its port meanwhile; `start_listening` sets it.
    """

    allow_reuse_address = False

    def server_activate(self) -> None:
        """Do not listen yet."""


def descriptor_limit() -> int | None:
    """Return how many descriptors this process may have open, or None if the system sets no limit."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def is_unix(host: str) -> bool:
    """Return whether `host` is "unix:" and a path."""
    return host.startswith(_UNIX)


def is_bound_to_loopback(sock: socket.socket) -> bool:
    """Return whether a TCP socket is bound to a loopback address; False for a Unix socket."""
    name = sock.getsockname()
    return isinstance(name, tuple) and is_loopback(str(name[0]))


def open_socket(host: str, port: int, backlog: int, socket_mode: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: a name, an address, or "unix:" and a path.
    Raises: TransportError if the address is in use or not of this machine.
    """
    try:
        if is_unix(host):
            return _listen_at_path(host.removeprefix(_UNIX), backlog, socket_mode)
        return _Server(_family_of(host), (host, port), backlog).socket
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def bind_free_port(host: str) -> socket.socket:
    """Return a socket bound to a free port; connections to it are refused until `start_listening`.

    Raises: TransportError if the host is not an address of this machine.
    """
    try:
        return _BoundServer(_family_of(host), (host, 0), 0).socket
    except OSError as error:
        raise _cannot_listen(host, 0, error) from error


def start_listening(sock: socket.socket, backlog: int) -> socket.socket:
    """Accept connections on a socket of `bind_free_port`, and return it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that the port can be bound again after a stop
    sock.listen(backlog)
    return sock


def _family_of(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_listen(host: str, port: int, error: OSError) -> TransportError:
    where = host if is_unix(host) else f"{host}:{port}"
    reason = f"cannot be used for listening: {error.strerror or error}"
    if error.errno == errno.EADDRINUSE:
        reason = "is in use" if is_unix(host) else "is in use; choose another port, or 0 for a free one"
    return TransportError(f"{where} {reason}", delivery="not_sent", retryable=False, cause=error)


def _listen_at_path(path: str, backlog: int, mode: int) -> socket.socket:
    _remove_stale(path)
    server = _Server(socket.AF_UNIX, path, backlog, listens=False)
    try:
        server.server_bind()
        file = SocketFile.at(path)
        try:
            os.chmod(path, mode)  # nobody can connect before it listens, whatever the mode is until then
            server.server_activate()
        except BaseException:
            file.remove()
            raise
    except BaseException:
        server.server_close()
        raise
    return server.socket


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that was killed. A socket that accepts connections is left alone.

    So is one whose process does not accept at the moment, so that its backlog is full.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if _identity(os.stat(path)) == _identity(status):  # not that of another process which starts now
                os.unlink(path)
        except OSError:
            return  # to bind the path fails, and says why


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a Unix socket.

    Attributes:
        path: its absolute path, as the current directory may change.
        identity: device and inode. As long as its socket is open, no other file has them.
    """

    path: str
    identity: tuple[int, int, int]

    @classmethod
    def at(cls, path: str) -> SocketFile:
        """Return the file that is at a path now. Raises: OSError."""
        return cls(os.path.abspath(path), _identity(os.stat(path)))

    def remove(self) -> None:
        """Remove the file, unless another one has its path by now, such as that of a successor of this process.

        Call this before the socket is closed.
        """
        try:
            if _identity(os.stat(self.path)) == self.identity:
                os.unlink(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return  # with its directory
        except OSError as error:
            _log.warning("the file of a socket was not removed: %s: %s", self.path, error)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    # A file system may give the number of a removed file to the next one at once.
    return status.st_dev, status.st_ino, status.st_mtime_ns


def socket_file(host: str) -> SocketFile | None:
    """Return the file of a socket that has just been bound, or None for a host that is not a Unix socket."""
    return SocketFile.at(host.removeprefix(_UNIX)) if is_unix(host) else None
