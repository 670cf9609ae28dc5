"""ConnectionPools: connections to servers, kept from one exchange to the next."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from ..._internal.at_fork import new_lock, renew_after_fork
from ...address import Address
from ...network.dial import NotSent, connect_socket, connect_to_host
from .connection import HTTPConnection

__all__ = ["ConnectionLimits", "ConnectionPool", "ConnectionPools"]

_MAX_POOLS = 256


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of every connection of one client; `HTTPClient` checks the values.

    Attributes:
        connect_timeout: seconds to connect, within the deadline.
        read_timeout: seconds that a server may send nothing; None for no limit but the deadline.
        max_idle: idle connections to keep for each server; further ones are closed after use.
    """

    connect_timeout: float = 5.0
    read_timeout: float | None = None
    max_idle: int = 32


class ConnectionPools:
    """A ConnectionPool for each server, of 256 servers at most; `TLSConnectionPools` are those for https.

    Args:
        limits: timeouts, and the idle connections to keep for each server.
        sockets: paths of Unix sockets by the authority that they stand for.

    Threads: any; a look-up takes no lock.
    """

    _default_port = 80

    def __init__(self, limits: ConnectionLimits, sockets: Mapping[str, str]) -> None:
        self._limits = limits
        self._sockets = dict(sockets)
        self._lock = new_lock()  # guards adding and removing pools
        self._pools: dict[tuple[str, int], ConnectionPool] = {}
        self._closed = False

    def __len__(self) -> int:
        """Return the number of servers with a pool."""
        return len(self._pools)

    def acquire(self, address: Address, deadline: float | None) -> HTTPConnection:
        """Return an idle connection to the server of an address, or a new one; exceptions as `ConnectionPool`."""
        pool = self._pools.get((address.host, address.port or self._default_port)) or self._add(address)
        return pool.acquire(deadline)

    def socket_path(self, address: Address) -> str | None:
        """Return the path of the Unix socket that stands for the address's authority, or None."""
        return self._sockets.get(address.authority)

    def _add(self, address: Address) -> ConnectionPool:
        evicted: list[ConnectionPool] = []
        host, port = address.host, address.port or self._default_port
        with self._lock:
            made = self._make_pool(host, port, self.socket_path(address))
            if self._closed:
                made.close()  # it keeps no connection, which nobody would close
                return made
            pool = self._pools.setdefault((host, port), made)
            while len(self._pools) > _MAX_POOLS:
                evicted.append(self._pools.pop(next(iter(self._pools))))
        for old in evicted:
            old.close()
        return pool

    def _make_pool(self, host: str, port: int, path: str | None) -> ConnectionPool:
        """Return a pool for a server. The lock is held."""
        return ConnectionPool(host, port, self._limits, path=path)

    def close(self) -> None:
        """Close idle connections. From now on, each connection closes after its response, those of later calls, too."""
        with self._lock:
            self._closed = True
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()


class ConnectionPool:
    """Idle connections to one host and port.

    The connection used last is taken first, so that the others become stale and are dropped.

    Args:
        limits: timeouts, and how many idle connections to keep.
        path: path of a Unix socket to connect to instead.

    Threads: any.
    """

    def __init__(self, host: str, port: int, limits: ConnectionLimits, path: str | None = None) -> None:
        self._host = host
        self._port = port
        self._limits = limits
        self._path = path
        self._idle: deque[HTTPConnection] = deque()
        self._lock = new_lock()  # guards `_closed` against a connection that comes back late
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop the connections, which the parent process uses; a child process calls this by itself."""
        self._idle = deque()

    def acquire(self, deadline: float | None) -> HTTPConnection:
        """Return an idle connection, or a new one.

        Raises: NotSent when no connection can be made; TimeoutError at the deadline.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect(deadline)
            if not connection.is_dropped():
                return connection
            connection.close()

    def _connect(self, deadline: float | None) -> HTTPConnection:
        limit = monotonic() + self._limits.connect_timeout
        if deadline is not None:
            limit = min(limit, deadline)
        try:
            if self._path is not None:
                sock = connect_socket(socket.AF_UNIX, self._path, limit)
            else:
                sock = connect_to_host(self._host, self._port, limit)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._open(sock, limit)
        except (OSError, ValueError) as error:  # UnicodeError for a name that cannot be encoded
            if deadline is not None and monotonic() >= deadline:
                raise TimeoutError("the deadline has passed") from error
            raise NotSent(str(error)) from error

    def _open(self, sock: socket.socket, limit: float) -> HTTPConnection:
        """Return a connection on a connected socket, which it closes; `limit` is for a handshake."""
        return HTTPConnection(sock, self, self._limits.read_timeout)

    def put(self, connection: HTTPConnection) -> None:
        """Take a connection back after a response was read to its end."""
        with self._lock:
            if not self._closed and len(self._idle) < self._limits.max_idle:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close idle connections; connections in use close after their response."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()
