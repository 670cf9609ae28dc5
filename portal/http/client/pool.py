"""ConnectionPool: connections to one host and port, kept from one exchange to the next."""

from __future__ import annotations

import socket
from collections import deque
from time import monotonic
from typing import Any

from ..._internal.at_fork import new_lock, renew_after_fork
from .connection import Answer, HTTPConnection, NotSent

__all__ = ["ConnectionPool"]


def _connect_to_any(host: str, port: int, limit: float) -> socket.socket:
    """A connection to the first address of a host that answers; each may take its share of what time is left."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    last: OSError = OSError(f"{host} has no address")
    for index, (family, _, _, _, address) in enumerate(found):
        now = monotonic()
        try:
            return _connected(family, address, now + (limit - now) / (len(found) - index))
        except OSError as error:
            last = error
    raise last


def _connected(family: int, address: Any, limit: float) -> socket.socket:
    left = limit - monotonic()
    if left <= 0:
        raise TimeoutError("no time is left to connect")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(left)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class ConnectionPool:
    """Kept connections to one host and port.

    Args:
        size: how many idle ones are kept; more are opened when needed and closed after use.
        path: of a Unix socket to connect to instead.
        read_timeout: seconds for which a server may send nothing; None leaves that to the deadline.

    Threads: any; the connection used last is taken first, so that the others can grow stale and be dropped.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        size: int = 32,
        connect_timeout: float = 5.0,
        path: str | None = None,
        read_timeout: float | None = None,
    ) -> None:
        self._read_timeout = read_timeout
        self._path = path
        self._host = host
        self._port = port
        self._size = size
        self._connect_timeout = connect_timeout
        self._idle: deque[HTTPConnection] = deque()
        self._lock = new_lock()  # guards `_closed` against a connection that comes back late
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Let go of the parent's connections, which are the parent's to use; a child process does so by itself."""
        self._idle = deque()

    def exchange(self, request: bytes, deadline: float | None) -> Answer:
        """Send a request and read the head of its answer.

        Raises: NotSent when no connection could be made; StaleConnection, TimeoutError, OSError, ProtocolError as the
            connection does.
        """
        wire = self._take(deadline)
        try:
            wire.send(request, deadline)
            return Answer(self, wire, deadline)
        except BaseException:
            wire.close()
            raise

    def _take(self, deadline: float | None) -> HTTPConnection:
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return self._connect(deadline)
            if not wire.is_dropped():
                return wire
            wire.close()

    def _connect(self, deadline: float | None) -> HTTPConnection:
        limit = monotonic() + self._connect_timeout
        if deadline is not None:
            limit = min(limit, deadline)
        try:
            if self._path is not None:
                return HTTPConnection(_connected(socket.AF_UNIX, self._path, limit), self._read_timeout)
            sock = _connect_to_any(self._host, self._port, limit)
        except (OSError, UnicodeError) as error:
            if deadline is not None and monotonic() >= deadline:
                raise TimeoutError("the deadline has passed") from error
            raise NotSent(str(error)) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return HTTPConnection(sock, self._read_timeout)

    def put(self, wire: HTTPConnection, keep: bool) -> None:
        """Take a connection back after an answer was read to its end."""
        with self._lock:
            if keep and not self._closed and len(self._idle) < self._size:
                self._idle.append(wire)
                return
        wire.close()

    def close(self) -> None:
        """Close the idle connections; those in use close after their answer."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for wire in idle:
            wire.close()
