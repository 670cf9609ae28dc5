"""Reactor: watches every connection nobody serves.

    accepted -> parked -> (readable: read) -> request whole? -> served -> parked -> ... -> closed

It accepts, shakes hands by way of a worker, reads until a request is whole, times out and drains, and never waits for
a client. One thread does so at a time; should serving a request hold it up, another goes on (`leader.py`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic, time

from ..errors import OverloadedError, ProtocolError
from ..http11.head_cache import HeadCache
from .acceptor import Acceptor
from .config import ServingConfig
from .connection import Connection
from .leader import LeaderFollower, Leadership
from .poller import Poller, open_poller
from .problem import error_answer
from .rejections import RejectionLog
from .request import Request
from .stream import Stream, TLSStream, plain_stream
from .tls import ServerTLS

__all__ = ["Reactor"]

_log = logging.getLogger("portal.serving")
_FULL = "there are as many connections as may be"
_SWEEP = 0.5  # seconds between looks at the deadlines of parked connections
_BUSY = 0.1  # seconds since its last call in which a client is taken to be about to make the next


def _processors() -> int:
    """Those this process may use: on a single one, looking for a request would keep its sender from sending it."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Reactor:
    """Watches the connections of some listening sockets.

    Args:
        sockets: listening; closed by `stop_accepting`.
        tls: for new connections, or None.
        serve: takes a connection with its request; whether it has answered and the connection is to be watched on.
        work: runs a callable in a worker; OverloadedError when there is none, or, asked to spare the others
            (its second argument), when somebody waits for one.
        retire: is told of each connection that has been closed here.
        rejections: counts connections that are turned away; told the log now and then.
        shared: whether other processes listen on these sockets too, and take what waits when this one stops.

    Attributes:
        parked: connections that wait, by descriptor. Any thread may read it; workers add to it, by `park`.
        connections: all that are open.
        accepted: connections there were.

    Threads: `park`, `on_hangup`, `forget_hangup`, `stop_accepting` and `end` are for any; the rest is its own.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        config: ServingConfig,
        tls: ServerTLS | None,
        *,
        serve: Callable[[Connection, Request], bool],
        work: Callable[[Callable[[], object], bool], object],
        retire: Callable[[Connection], None],
        rejections: RejectionLog,
        shared: bool = False,
        poller: Poller | None = None,
    ) -> None:
        self.parked: dict[int, Connection] = {}
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._rejections = rejections
        self._config = config
        self._tls = tls
        self._serve = serve
        self._work = work
        self._retire = retire
        self._cache = HeadCache(max_headers=config.max_headers, max_target=config.max_target)
        self._poller = poller or open_poller(busy_poll=config.busy_poll if _processors() > 1 else 0.0)
        self._acceptor = Acceptor(sockets, self._poller, shared=shared)
        self._hangups: dict[int, Callable[[], object]] = {}
        self._told: list[int] = []  # what the watching thread is working through
        self._accepting = True
        self._left = False  # whether it has stopped to listen and looked at all connections since
        self._running = True
        self._next_sweep = monotonic() + _SWEEP
        self.leader: LeaderFollower | None = None

    def start(self) -> None:
        """Begin to watch."""
        self.leader = LeaderFollower(self._watch, self._overtaken, name="portal-listener", limit=self._config.workers)

    @property
    def can_serve_inline(self) -> bool:
        """Whether the watching thread may serve a call itself: another would go on, should it get stuck."""
        return self.leader is not None and self.leader.can_serve_inline

    # for other threads

    def park(self, connection: Connection) -> None:
        """Watch a connection that the caller is done with."""
        if connection.closed:
            return
        connection.note_parked(monotonic())
        if not self._accepting and not (connection.inside_request or connection.draining or connection.upgraded):
            connection.deadline = monotonic() + _BUSY  # it was told that the connection is kept; see `_leave_idle`
        fd = connection.stream.fileno()
        self.parked[fd] = connection
        self._quietly(self._poller.arm, fd)
        if not self._running and self.parked.pop(fd, None) is not None:
            self.close(connection)

    def on_hangup(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Call `callback` once when the client closes its side of a connection that a worker has."""
        fd = connection.stream.fileno()
        self._hangups[fd] = callback
        connection.listened_for_hangup = True
        self._quietly(self._poller.arm_hangup, fd)

    def forget_hangup(self, connection: Connection) -> None:
        """The callback of `on_hangup` is not wanted any more."""
        if self._hangups:
            self._hangups.pop(connection.stream.fileno(), None)

    def close(self, connection: Connection) -> None:
        """Close a connection that the caller has."""
        if not connection.closed:
            self._poller.forget(connection.stream.fileno())
            connection.close()
            self.connections.discard(connection)
            self._retire(connection)

    def stop_accepting(self) -> None:
        """Accept what waits already, then no more; close idle connections and say goodbye to upgraded ones."""
        self._accepting = False
        self._poller.wake()

    @property
    def unfinished(self) -> bool:
        """Whether some client is in the middle of sending a request, is about to, or has not been looked at."""
        now = monotonic()
        return not self._left or any(
            (one.inside_request or (one.deadline > now and not one.shaking))
            and not one.draining
            and one.upgraded is None
            for one in list(self.parked.values())
        )

    def abandon(self) -> None:
        """In a child process after a fork: close this process's copies of all sockets, saying nothing to anybody."""
        self._accepting = self._running = False
        self._poller.close()
        self._acceptor.abandon()
        for connection in self.connections:
            connection.closed = True
            connection.stream.discard()

    def end(self) -> None:
        """End the thread and close what is parked."""
        self._accepting = self._running = False
        self._poller.wake()
        if self.leader is not None:
            self.leader.join()

    # its own thread

    def _watch(self, turn: Leadership) -> None:
        while self._running:
            alone = len(self.parked) == len(self.connections)  # no worker has one
            self._told = self._poller.wait(max(0.0, self._next_sweep - monotonic()), alone)
            for fd in self._told:
                try:
                    self._on_event(fd, turn)
                except Exception:
                    _log.exception("watching a connection failed")
                    self._drop(fd)
                if turn.over:
                    return
            if not self._accepting and not self._left:
                self._leave(turn)
                if turn.over:
                    return
            now = monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + _SWEEP
                self._sweep(now)
        if not self._left:
            self._leave(turn)
            if turn.over:
                return
        for fd in list(self.parked):
            self._drop(fd)
        self._poller.close()

    def _overtaken(self, fd: int) -> None:
        """The thread that serves `fd` is not back in time: the next one must not be told of it."""
        self._quietly(self._poller.disarm, fd)
        if fd in self.parked:  # answered at its deadline just now, in the thread's place
            self._quietly(self._poller.arm, fd)
        # What else the thread was told of is told again to the next one, but a hang-up, which is told once, has to be
        # asked for anew.
        for other in self._told[self._told.index(fd) + 1 :] if fd in self._told else ():
            if other in self._hangups:
                self._quietly(self._poller.arm_hangup, other)
                if other in self.parked:  # its stream has ended just now
                    self._quietly(self._poller.arm, other)

    def _quietly(self, change: Callable[[int], object], fd: int) -> None:
        try:
            change(fd)
        except (OSError, ValueError):
            _log.debug("a connection to be watched was closed already")

    def _on_event(self, fd: int, turn: Leadership) -> None:
        if fd in self._acceptor:
            self._take_all(self._acceptor.accept(fd))
            return
        callback = self._hangups.pop(fd, None)
        if callback is not None:
            callback()
            return
        connection = self.parked.get(fd)
        if connection is not None:
            self._on_readable(fd, connection, turn)

    def _on_readable(self, fd: int, connection: Connection, turn: Leadership) -> None:
        if connection.draining:
            if connection.drain():
                self._drop(fd)
        elif connection.upgraded is not None:
            self._on_upgraded(fd, connection, turn)
        elif connection.shaking:
            self._shake(fd, connection)
        else:
            self._on_request(fd, connection, turn)

    def _on_request(self, fd: int, connection: Connection, turn: Leadership) -> None:
        """Hand a whole request over; part of one costs no worker, however slowly it comes."""
        try:
            request = connection.read_request()
        except ProtocolError as error:
            connection.refuse(error)
            self._drain(fd, connection)
            return
        except OSError:
            self._drop(fd)
            return
        self._go_on(fd, connection, request, turn)

    def _go_on(self, fd: int, connection: Connection, request: Request | None, turn: Leadership) -> None:
        if request is not None:
            del self.parked[fd]
            turn.begin(fd)
            answered = self._try_to_serve(connection, request)
            if not turn.end():
                if answered:
                    self.park(connection)
                return
            if not answered:
                return
            if connection.listened_for_hangup:
                connection.listened_for_hangup = False
                self.park(connection)
                return
            self.parked[fd] = connection
        connection.note_parked(monotonic())

    def _try_to_serve(self, connection: Connection, request: Request) -> bool:
        try:
            return self._serve(connection, request)
        except Exception:
            _log.exception("serving a connection failed")
            self.close(connection)
            return False

    def release_to_worker(self, connection: Connection) -> None:
        """`serve` lets a worker have the connection: nothing is told of it until it is parked."""
        self._quietly(self._poller.disarm, connection.stream.fileno())

    def _shake(self, fd: int, connection: Connection) -> None:
        del self.parked[fd]
        self._poller.disarm(fd)

        def shake() -> None:
            try:
                connection.do_handshake()
            except (OSError, ValueError) as error:
                _log.info("a TLS handshake with %s failed: %s", connection.peer, error)
                self._end_handshake(connection, plain_http=getattr(error, "reason", None) == "HTTP_REQUEST")
            else:
                self.park(connection)

        try:
            self._work(shake, True)
        except OverloadedError:
            shake()  # about a millisecond; half a handshake must not cost anybody else a place in the queue

    def _end_handshake(self, connection: Connection, *, plain_http: bool) -> None:
        """Part with a client without a reset, which could overtake the alert, or the answer, that says why."""
        try:
            connection.downgrade_to_plaintext()
            if plain_http:
                connection.refuse(ProtocolError("https is spoken here, and this is plain http", status=400))
            connection.shut_writing()
        except OSError:
            self.close(connection)
        else:
            self.park(connection)

    def _on_upgraded(self, fd: int, connection: Connection, turn: Leadership) -> None:
        handler = connection.upgraded
        assert handler is not None
        try:
            data = connection.read()
        except OSError:
            self._drop(fd)
            return
        work = None if data is None else handler.received(data)
        if work is not None:
            try:
                self._work(work, False)
            except OverloadedError:
                handler.overloaded(work)
        if connection.upgraded is None:
            self._resume_http(fd, connection, turn)
        elif connection.paused and not connection.closed:
            self._poller.disarm(fd)

    def _resume_http(self, fd: int, connection: Connection, turn: Leadership) -> None:
        try:
            request = connection.take_request()
        except ProtocolError as error:
            connection.refuse(error)
            self._drain(fd, connection)
            return
        except OSError:
            self._drop(fd)
            return
        self._go_on(fd, connection, request, turn)

    def _drain(self, fd: int, connection: Connection) -> None:
        try:
            connection.shut_writing()
        except OSError:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        connection = self.parked.pop(fd, None)
        if connection is not None:
            self.close(connection)

    def _sweep(self, now: float) -> None:
        for fd, connection in self.parked.copy().items():  # in one step, as `list(items())` is not: see `DeadlineWatch`
            if connection.deadline <= now:
                self._give_up(fd, connection)
        self._acceptor.listen_again()
        self._rejections.tell(now)

    def _give_up(self, fd: int, connection: Connection) -> None:
        if connection.upgraded is not None and connection.upgraded.overdue():
            return
        if not connection.draining and not connection.shaking and connection.inside_request:
            connection.send_nowait(error_answer(408, "the request did not arrive in time", now=time()))
        self._drop(fd)

    # accepting

    def _take_all(self, accepted: Iterable[tuple[socket.socket, str]]) -> None:
        for sock, peer in accepted:
            self.accepted += 1
            if len(self.connections) >= self._config.connections:
                self._rejections.note(_FULL)
                sock.close()
            else:
                self._take(sock, peer)

    def _take(self, sock: socket.socket, peer: str) -> None:
        try:
            stream = self._stream(sock)
        except OSError:  # the client has gone meanwhile
            sock.close()
            return
        connection = Connection(stream, peer, self._config, self._cache, self)
        self.connections.add(connection)
        self.parked[sock.fileno()] = connection
        self._poller.add(sock.fileno())

    def _stream(self, sock: socket.socket) -> Stream:
        if sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = self._config
        if self._tls is None:
            return plain_stream(sock, config.linger, config.write_timeout)
        wrap = partial(self._tls.context.wrap_socket, server_side=True, do_handshake_on_connect=False)
        return TLSStream(sock, config.linger, config.write_timeout, wrap)

    def _leave(self, turn: Leadership) -> None:
        """Stop listening: what the kernel has accepted already is taken, so that it gets an answer and no reset.

        Should a request that is served here take its time, the thread that goes on looks at all connections again.
        """
        self._take_all(self._acceptor.close(self._config.backlog))
        for fd, connection in self.parked.copy().items():
            if connection.upgraded is None and not connection.draining and not connection.shaking:
                rested = monotonic() - connection.idle_since
                self._on_request(fd, connection, turn)
                if turn.over:
                    return
                if fd in self.parked and not connection.inside_request and not connection.draining:
                    self._leave_idle(fd, connection, rested)
        for connection in list(self.parked.values()):
            if connection.upgraded is not None:
                connection.tell_stopping()
        self._left = True

    def _leave_idle(self, fd: int, connection: Connection, rested: float) -> None:
        """A busy client's next request may be on its way: it gets its 503 rather than a connection that breaks.

        Broken under a request, the client could not tell whether its call was executed.
        """
        if rested < _BUSY and self._running:
            connection.deadline = monotonic() + _BUSY
        else:
            self._drop(fd)
