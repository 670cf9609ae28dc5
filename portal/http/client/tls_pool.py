"""TLSConnectionPools: connections over TLS, kept from one exchange to the next, and their sessions."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ...network.tls import ClientTLS
from .connection import HTTPConnection
from .pool import ConnectionLimits, ConnectionPool, ConnectionPools

if TYPE_CHECKING:
    import ssl

__all__ = ["TLSConnectionPool", "TLSConnectionPools"]


class TLSConnectionPools(ConnectionPools):
    """A TLSConnectionPool for each server, of 256 servers at most.

    Args:
        limits: timeouts, and the idle connections to keep for each server.
        tls: trusted authorities and the client's certificate. Its files are read for the first connection, and again
            for the first one after `close`.

    Threads: any; a look-up takes no lock.
    """

    _default_port = 443

    def __init__(self, limits: ConnectionLimits, tls: ClientTLS) -> None:
        super().__init__(limits, {})
        self._tls = tls
        self._context: ssl.SSLContext | None = None  # guarded by the lock

    def _make_pool(self, host: str, port: int, path: str | None) -> ConnectionPool:
        if self._context is None:
            self._context = self._tls.context()
            self._context.set_alpn_protocols(["http/1.1"])
        return TLSConnectionPool(host, port, self._limits, self._context)

    def close(self) -> None:
        """Close idle connections. From now on, each connection closes after its response, those of later calls, too."""
        with self._lock:
            self._context = None
        super().close()


class TLSConnectionPool(ConnectionPool):
    """Idle connections to one host and port, and the session that a new connection resumes.

    A session belongs to one server and one set of trusted authorities. So a resumed connection need not check the
    certificate again.

    Args:
        limits: timeouts, and how many idle connections to keep.
        context: what the client trusts, and its certificate.

    Threads: any.
    """

    def __init__(self, host: str, port: int, limits: ConnectionLimits, context: ssl.SSLContext) -> None:
        super().__init__(host, port, limits)
        self._context = context
        self._server_name = host.partition("%")[0].removesuffix(".")  # without the zone of an IPv6 address
        self._session: ssl.SSLSession | None = None

    def after_fork(self) -> None:
        """Drop the connections and the session, which the parent process uses."""
        super().after_fork()
        self._session = None

    def _open(self, sock: socket.socket, limit: float) -> HTTPConnection:
        from .tls_connection import TLSConnection, TLSState, start_tls  # imports ssl, which plain http does not need

        try:
            state = TLSState(self._context, self._server_name, self._session)
            start_tls(sock, state, limit)
            return TLSConnection(sock, self, state, self._limits.read_timeout)
        except BaseException:
            sock.close()
            raise

    def keep_session(self, session: ssl.SSLSession | None) -> None:
        """Keep the session of a connection for the next one."""
        if session is not None:
            self._session = session
