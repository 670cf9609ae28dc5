"""Acceptor: accepts connections at the listening sockets."""

from __future__ import annotations

import socket
from collections import Counter as CountOf
from collections.abc import Callable, Hashable, Iterable
from functools import cache, partial
from math import inf
from time import monotonic

from ..._internal.log import get_logger
from ...http11.client_network import client_network
from ...http11.head_cache import HeadCache
from ..bounds.connections import choose_idle, connection_limits
from ..config import ServingConfig
from ..connections.connection import Connection
from ..connections.table import ConnectionTable
from ..io.poller import Poller
from ..io.sockets import descriptor_limit
from ..io.stream import Stream, TLSStream, plain_stream
from ..io.tls import ServerTLS
from ..messages.rejections import RejectionLog

__all__ = ["Acceptor"]

_log = get_logger("portal.serving")
_LIMIT_REACHED = "connection limit reached"
_SHARE_USED = "connection limit of the client reached"
_TOO_MANY_HANDSHAKES = "limit of unfinished TLS handshakes reached"
_BATCH = 16  # connections that are accepted before other events are handled
_TURN = 0.001  # seconds after which other events are handled, too; while other threads compute, a connection takes that


class Acceptor:
    """Accepts connections at the listening sockets and adds them to the table.

    Args:
        sockets: listening sockets; `close` closes them.
        poller: reports a socket at which a connection waits.
        table: receives the connections.
        tls: for new connections, or None.
        rejections: counts connections beyond the limit.
        trusts: returns whether an address is a trusted proxy, which has no share of its own.
        shared: whether other processes listen on these sockets, too, and accept what waits when this process stops.

    Attributes:
        accepted: how many connections were accepted.
        evicted: how many connections were closed to make room for new ones.
        limits: how many connections it keeps.

    Threads: any thread may call `abandon`, in the child of a fork, and may read the attributes. Only the thread that
        leads the reactor's loop calls the other methods.
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
        trusts: Callable[[str], bool],
        shared: bool,
    ) -> None:
        self.accepted = self.evicted = 0
        self.limits = connection_limits(
            config.connections, config.connections_per_client, config.max_handshakes, descriptor_limit()
        )
        if self.limits.total < config.connections:
            _log_clamped(config.connections, self.limits.total)
        self._open = {sock.fileno(): sock for sock in sockets}
        self._poller = poller
        self._table = table
        self._config = config
        self._tls = tls
        self._rejections = rejections
        self._trusts = trusts
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
        self._accept(fd, 1 if self._shared else _BATCH, monotonic() + _TURN)

    def pause(self, fd: int) -> None:
        """Accept nothing at a socket until `listen_again`."""
        self._paused = True
        self._poller.forget(fd)

    def _accept(self, fd: int, count: int, end: float = inf) -> None:
        for number in range(count):
            if number and monotonic() >= end:
                return
            try:
                sock, peer = self._open[fd].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely the process is out of descriptors. The connection stays ready: another attempt at once
                # would spin, and a pause here would hold up all others.
                _log.warning("a connection could not be accepted: %s", error)
                self.pause(fd)
                return
            self.accepted += 1
            try:
                if isinstance(peer, tuple):
                    address = str(peer[0])
                    self._admit(sock, address, None if self._trusts(address) else client_network(address))
                else:
                    self._admit(sock, "unix:", None)
            except BaseException:
                sock.close()
                raise

    def _admit(self, sock: socket.socket, peer: str, client: str | None) -> None:
        reason = self._make_room(client)
        if reason is not None:
            self._rejections.note(reason)
            sock.close()
            return
        try:
            stream = self._stream(sock)
        except OSError:  # the client has gone meanwhile
            sock.close()
            return
        self._table.add(Connection(stream, peer, self._config, self._heads, self._table, client))

    def _make_room(self, client: str | None) -> str | None:
        """Close connections until one of a client can be added. Return why that is impossible, or None."""
        table, limits = self._table, self.limits
        if client is not None and table.connections_of(client) >= limits.per_client and not self._evict(1, client):
            return _SHARE_USED
        # Several at once, so that a flood of connections does not look through all of them for each one.
        if len(table.open) >= limits.total and not self._evict(max(1, limits.total // 100)):
            return _LIMIT_REACHED
        if len(table.handshaking) >= limits.handshakes and not self._evict_handshake():
            return _TOO_MANY_HANDSHAKES
        return None

    def _evict(self, count: int, client: str | None = None) -> bool:
        """Close the longest idle connections, of one client or of all. Return whether there was one."""
        rows = [
            (fd, one.client or one, rank)
            for fd, one in self._table.parked.copy().items()
            if (client is None or one.client == client) and (rank := one.rank) is not None
        ]
        return self._drop(choose_idle(rows, self._connections_of, count))

    def _connections_of(self, client: object) -> int:
        return self._table.connections_of(client if isinstance(client, str) else None)

    def _evict_handshake(self) -> bool:
        """Close the oldest of the handshakes of the client that has the most of them."""
        handshaking = list(self._table.handshaking.copy())
        counts: CountOf[Hashable] = CountOf(one.client or one for one in handshaking)
        rows = [(one.stream.fileno(), one.client or one, (0, one.idle_since)) for one in handshaking]
        parked = [row for row in rows if row[0] in self._table.parked]
        return self._drop(choose_idle(parked, counts.__getitem__, 1))

    def _drop(self, descriptors: list[int]) -> bool:
        for fd in descriptors:
            self._table.drop(fd)
        self.evicted += len(descriptors)
        return bool(descriptors)

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
            for fd in self._open:
                self._poller.forget(fd)
                self._poller.listen(fd)
            self._paused = False

    def close(self) -> None:
        """Close the sockets. Unless they are shared, accept first what the kernel has accepted already."""
        while self._open:
            fd, sock = next(iter(self._open.items()))
            try:
                if not self._shared:
                    self._accept(fd, self._config.backlog)
                self._poller.forget(fd)
            finally:
                del self._open[fd]
                sock.close()

    def abandon(self) -> None:
        """Close this process's copies of the sockets in the child of a fork."""
        for sock in self._open.values():
            sock.close()


@cache  # once a process
def _log_clamped(wanted: int, kept: int) -> None:
    _log.warning("connections=%d exceeds the limit of open files; the listener uses %d", wanted, kept)
