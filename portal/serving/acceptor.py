"""Acceptor: accepts connections at the listening sockets."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from functools import partial

from ..http11.head_cache import HeadCache
from .config import ServingConfig
from .connection import Connection
from .connection_table import ConnectionTable
from .poller import Poller
from .rejections import RejectionLog
from .stream import Stream, TLSStream, plain_stream
from .tls import ServerTLS

__all__ = ["Acceptor"]

_log = logging.getLogger("portal.serving")
_LIMIT_REACHED = "connection limit reached"
_BATCH = 64  # connections accepted at a socket before other sockets are looked at


class Acceptor:
    """Accepts connections at the listening sockets and adds them to the table.

    Args:
        sockets: listening sockets; `close` closes them.
        poller: reports a socket at which a connection waits.
        table: receives the connections.
        tls: for new connections, or None.
        rejections: counts connections beyond the limit.
        shared: whether other processes listen on these sockets, too, and accept what waits when this process stops.

    Attributes:
        accepted: how many connections were accepted.

    Threads: any thread may call `abandon`, in the child of a fork, and may read `accepted`. Only the thread that leads
        the reactor's loop calls the other methods.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        poller: Poller,
        table: ConnectionTable,
        config: ServingConfig,
        *,
        tls: ServerTLS | None,
        rejections: RejectionLog,
        shared: bool,
    ) -> None:
        self.accepted = 0
        self._open = {sock.fileno(): sock for sock in sockets}
        self._poller = poller
        self._table = table
        self._config = config
        self._tls = tls
        self._rejections = rejections
        self._shared = shared
        self._heads = HeadCache(max_headers=config.max_headers, max_target=config.max_target)
        self._paused = False  # whether some socket is not listened on for a while
        for fd, sock in self._open.items():
            sock.setblocking(False)
            poller.listen(fd)

    def __contains__(self, fd: int) -> bool:
        return fd in self._open

    def accept(self, fd: int) -> None:
        """Accept the connections that wait at a socket."""
        # One process must not take everything that waits at a shared socket while another is idle.
        self._accept(fd, 1 if self._shared else _BATCH)

    def _accept(self, fd: int, count: int) -> None:
        for _ in range(count):
            try:
                sock, peer = self._open[fd].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely the process is out of descriptors. The connection stays ready: another attempt at once
                # would spin, and a pause here would hold up all others.
                _log.warning("a connection could not be accepted: %s", error)
                self._poller.forget(fd)
                self._paused = True
                return
            self.accepted += 1
            if len(self._table.open) >= self._config.connections:
                self._rejections.note(_LIMIT_REACHED)
                sock.close()
            else:
                self._admit(sock, str(peer[0]) if isinstance(peer, tuple) else "unix:")

    def _admit(self, sock: socket.socket, peer: str) -> None:
        try:
            stream = self._stream(sock)
        except OSError:  # the client has gone meanwhile
            sock.close()
            return
        self._table.add(Connection(stream, peer, self._config, self._heads, self._table))

    def _stream(self, sock: socket.socket) -> Stream:
        if sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = self._config
        if self._tls is None:
            return plain_stream(sock, config.linger)
        wrap = partial(self._tls.context.wrap_socket, server_side=True, do_handshake_on_connect=False)
        return TLSStream(sock, config.linger, wrap)

    def listen_again(self) -> None:
        """Listen again on sockets where a connection could not be accepted."""
        if self._paused:
            self._paused = False
            for fd in self._open:
                self._poller.forget(fd)
                self._poller.listen(fd)

    def close(self) -> None:
        """Close the sockets. Unless they are shared, accept first what the kernel has accepted already."""
        while self._open:
            fd, sock = next(iter(self._open.items()))
            if not self._shared:
                self._accept(fd, self._config.backlog)
            self._poller.forget(fd)
            del self._open[fd]
            sock.close()

    def abandon(self) -> None:
        """Close this process's copies of the sockets in the child of a fork."""
        for sock in self._open.values():
            sock.close()
