"""ConnectionTable: the open connections of a listener, and which of them wait for their client."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from ..._internal.closing import run_all
from ..._internal.counter import Counter
from ..._internal.log import get_logger
from ...errors import ProtocolError
from ..bounds.budget import ByteBudget, Places
from ..bounds.input import InputBudgets
from ..bounds.shares import heaviest
from ..io.poller import Poller
from ..messages.stored_body import BodyStore
from .connection import INPUT_REFUSED, Connection
from .open_connections import OpenConnections
from .timeouts import FOLLOW_UP_SECONDS

__all__ = ["ConnectionTable"]

_log = get_logger("portal.serving")
_CLOSED = (None, errno.EBADF, errno.ENOENT)  # of changes at the poller; None of a ValueError


class ConnectionTable:
    """The open connections of a listener.

    A connection is either parked, and the reactor watches it, or it belongs to the thread that serves its request. In
    both cases the reactor sends the output that waits for the client.

    Args:
        poller: tells the reactor which sockets are ready.
        open_connections: counts the connections.
        output_budget: counts the output that waits for clients.
        streams: counts the streams that are being sent.
        inputs: counts what is kept of requests.
        bodies: keeps large bodies on disk; None keeps them in memory.

    Attributes:
        parked: connections that wait for their client, by descriptor.
        writing: connections whose output waits for the client, by descriptor.
        handshaking: connections whose TLS handshake is not complete, in the order in which they were accepted.
        output_aborted: counts connections that were aborted for their output.
        open: all open connections.

    Threads: any thread may call `park`, `close`, `resume`, `release_to_worker`, `on_hangup`, `on_reset`,
        `forget_reset`, `forget_hangup`, `watch_output`, `reduce_output`, `abort_output`, `connections_of`,
        `stop_keeping`, `end`, `has_unfinished`, `has_upgraded` and `abandon`, and may read the attributes. The thread
        that watches the leader calls `hand_over`. Only the thread that leads the reactor's loop calls the other
        methods.
    """

    def __init__(
        self,
        poller: Poller,
        open_connections: OpenConnections,
        output_budget: ByteBudget,
        streams: Places,
        inputs: InputBudgets,
        bodies: BodyStore | None = None,
    ) -> None:
        self.inputs = inputs
        self.bodies = bodies
        self.output_budget = output_budget
        self.streams = streams
        self.parked: dict[int, Connection] = {}
        self.writing: dict[int, Connection] = {}
        self.handshaking: dict[Connection, None] = {}
        self.output_aborted = Counter()
        self.open = open_connections
        self._reducing = threading.Lock()  # held while connections are chosen and aborted
        self._poller = poller
        self._hangups: dict[int, tuple[Connection, Callable[[], object]]] = {}
        self._resets: dict[int, tuple[Connection, Callable[[], object]]] = {}
        self._keeping = True
        self._ended = False

    # any thread

    def park(self, connection: Connection) -> None:
        """Watch a connection that the calling thread has finished with. If that fails, it is closed."""
        try:
            with connection.output.lock:
                if connection.closed:
                    return
                fd = connection.stream.fileno()
                if self.handshaking and not connection.handshaking:
                    self.handshaking.pop(connection, None)
                self._note_parked(connection)
                self.parked[fd] = connection
                self._arm(fd, connection)
        except BaseException:
            self.close(connection)
            raise
        if self._ended and self.parked.pop(fd, None) is not None:
            self.close(connection)

    def close(self, connection: Connection) -> None:
        """Close a connection that belongs to the calling thread."""
        # With the lock held, no other thread can register its descriptor, which the next connection may get.
        with connection.output.lock:
            if connection.closed:
                return
            fd = connection.stream.fileno()
            try:
                _try_all(
                    connection.output.close,
                    lambda: self._unregister(fd, connection),
                    lambda: self._poller.forget(fd),
                    connection.close_socket,
                )
            finally:
                _try_all(lambda: self._forget(connection))
        _try_all(connection.notify_lost)

    def _unregister(self, fd: int, connection: Connection) -> None:
        self.writing.pop(fd, None)
        self._hangups.pop(fd, None)
        self._resets.pop(fd, None)
        if self.parked.get(fd) is connection:
            self.parked.pop(fd, None)

    def _forget(self, connection: Connection) -> None:
        """Stop counting a closed connection."""
        self.handshaking.pop(connection, None)
        self.open.leave(connection)

    def connections_of(self, client: str | None) -> int:
        """Return how many connections a client has."""
        return self.open.connections_of(client)

    def release_to_worker(self, connection: Connection) -> None:
        """Report no events of a connection until it is parked again."""
        self._ignoring_closed(self._poller.disarm, connection.stream.fileno())

    def resume(self, connection: Connection) -> None:
        """Read a parked connection again that was paused. One that is being served is read when it is parked."""
        with connection.output.lock:
            connection.armed_otherwise = True
            fd = connection.stream.fileno()
            if self.parked.get(fd) is connection:
                self._arm(fd, connection)

    def on_hangup(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client closes its side of a connection that is being served."""
        with connection.output.lock:
            if not connection.closed:
                fd = connection.stream.fileno()
                self._hangups[fd] = connection, callback
                self._arm(fd, connection)

    def on_reset(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Call `callback` once if a connection that is being served is broken, where the poller reports that."""
        with connection.output.lock:
            if not connection.closed:
                self._resets[connection.stream.fileno()] = connection, callback

    def forget_reset(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Drop the callback of `on_reset`. One of a later request stays."""
        with connection.output.lock:  # so that the descriptor is still the one of this connection
            if not connection.closed:
                fd = connection.stream.fileno()
                if self._resets.get(fd) == (connection, callback):
                    del self._resets[fd]

    def forget_hangup(self, connection: Connection) -> None:
        """Drop the callback of `on_hangup`."""
        if self._hangups:
            self._hangups.pop(connection.stream.fileno(), None)

    def watch_output(self, connection: Connection, pending: bool) -> None:
        """Send what waits for the client of a connection, until `pending` is False. Its output's lock is held."""
        if connection.closed:
            return
        fd = connection.stream.fileno()
        connection.armed_otherwise = True
        if pending:
            self.writing[fd] = connection
        else:
            self.writing.pop(fd, None)
            if self.parked.get(fd) is connection:
                self._note_parked(connection)
        self._arm(fd, connection)

    def reduce_output(self, connection: Connection) -> None:
        """Abort the connections with the most output until the rest is within its budget.

        A connection that alone has output is kept, as its response exists already.

        Raises: ConnectionAbortedError if `connection` is aborted.
        """
        with self._reducing:
            while self.output_budget.is_exceeded and len(self.writing) > 1:
                victim = heaviest((one, one.client or one, one.output.held) for one in self.writing.copy().values())
                if victim is None:
                    return
                self.abort_output(victim)
                if victim is connection:
                    raise ConnectionAbortedError("too much output waits for clients")

    def stop_keeping(self) -> None:
        """Close connections soon after their response from now on."""
        self._keeping = False

    def end(self) -> None:
        """Close every connection that is parked from now on."""
        self._keeping = False
        self._ended = True

    def has_upgraded(self) -> bool:
        """Return whether a connection speaks another protocol than HTTP, which has not said goodbye yet."""
        return any(one.channel is not None and not one.draining for one in self.open.snapshot())

    def has_unfinished(self) -> bool:
        """Return whether a client is sending a request, or may be about to."""
        now = monotonic()
        return any(one.is_unfinished(now) for one in self.parked.copy().values())

    def abandon(self) -> None:
        """Close this process's copies of the sockets in the child of a fork, without a word to the clients."""
        self.end()
        for connection in list(self.open):  # no other thread runs, and one may have held the lock at the fork
            connection.discard()

    def _arm(self, fd: int, connection: Connection) -> None:
        """Have the poller report what the connection waits for now. The lock of its output is held."""
        if connection.closed:
            return
        pending = connection.output.pending > 0
        if self.parked.get(fd) is connection:
            if not pending:
                change = self._poller.disarm if connection.paused else self._poller.arm
                self._ignoring_closed(change, fd)
            elif connection.channel is None or connection.paused:
                # Nothing is read before the client has taken its response.
                self._ignoring_closed(self._poller.arm_output, fd)
            else:
                self._ignoring_closed(self._poller.arm, fd, True)
        elif fd in self._hangups:
            self._ignoring_closed(self._poller.arm_hangup, fd, pending)
        else:
            self._ignoring_closed(self._poller.arm_output if pending else self._poller.disarm, fd)

    def _note_parked(self, connection: Connection) -> None:
        """Set the deadline of a connection that is parked now."""
        now = monotonic()
        connection.note_parked(now)
        if not self._keeping and connection.awaits_request:
            connection.set_deadline(now + FOLLOW_UP_SECONDS)

    def abort_output(self, connection: Connection) -> None:
        """Break a connection for its output. The reactor, or the thread that serves it, then closes it."""
        self.output_aborted.add()
        connection.cut()

    # the thread that leads the reactor's loop

    def send_output(self, fd: int, connection: Connection) -> bool:
        """Send what the client of a connection takes now. Return False if the client is gone."""
        alive = connection.output.flush()
        with connection.output.lock:
            if connection.output.pending and fd in self._hangups:
                self._arm(fd, connection)  # it was reported once only
        return alive

    def add(self, connection: Connection) -> None:
        """Watch a new connection. If that fails, it is closed."""
        fd = connection.stream.fileno()
        self.open.enter(connection)
        try:
            if connection.handshaking:
                self.handshaking[connection] = None
            self.parked[fd] = connection
            self._poller.add(fd)
        except BaseException:
            self.parked.pop(fd, None)
            self.close(connection)
            raise

    def take_hangup(self, fd: int) -> Callable[[], object] | None:
        """Return the callback for a client that has closed its side, and drop it.

        The event may have been another one: that there is room for output which the serving thread has sent since. The
        poller reports a connection once only, so it is armed again then.
        """
        entry = self._hangups.get(fd)
        if entry is None:
            return None
        connection, callback = entry
        with connection.output.lock:
            if self._hangups.get(fd) is not entry:
                return None  # its stream has ended meanwhile
            if not connection.stream.is_hung_up():
                self._arm(fd, connection)
                return None
            self._hangups.pop(fd, None)
        return callback

    def take_reset(self, fd: int) -> Callable[[], object] | None:
        """Return the callback for a connection that is broken, and drop it."""
        entry = self._resets.get(fd)
        if entry is None:
            return None
        connection, callback = entry
        with connection.output.lock:
            if self._resets.get(fd) is not entry or not connection.stream.is_broken():
                return None
            del self._resets[fd]
        return callback

    def drop(self, fd: int) -> None:
        """Close the connection that is parked under a descriptor, if there is one."""
        connection = self.parked.pop(fd, None)
        if connection is not None:
            self.close(connection)

    def reject(self, fd: int, connection: Connection, error: ProtocolError) -> None:
        """Send the response to a request that cannot be read, to a connection that is parked under a descriptor."""
        try:
            connection.reject(error)
            connection.shut_writing()
        except OSError:
            self.drop(fd)

    def reject_refused(self) -> None:
        """Reject the requests of parked connections that must give way to other input."""
        for refused in self.inputs.take_refused():
            fd = refused.stream.fileno()
            other = self.parked.get(fd)
            if other is None or other is not refused or other.draining:
                continue
            if other.channel is not None:
                other.channel.handler.refused()
            else:
                self.reject(fd, other, ProtocolError(INPUT_REFUSED, status=503))

    def drop_all(self) -> None:
        """Close all parked connections. Other protocols than HTTP may say why first."""
        for fd, connection in self.parked.copy().items():
            if connection.channel is not None and not connection.draining:
                connection.channel.handler.ending()
            self.drop(fd)

    def keep_for_follow_up(self, connection: Connection) -> None:
        """Keep an idle connection for the moment in which the client's next request may already be on its way.

        The client gets a 503 then; see `FOLLOW_UP_SECONDS`.
        """
        connection.set_deadline(monotonic() + FOLLOW_UP_SECONDS)

    def is_resting(self, connection: Connection) -> bool:
        """Return whether the last response is too old for a next request to be on its way."""
        return self._ended or monotonic() - connection.idle_since >= FOLLOW_UP_SECONDS

    # the thread that watches the leader

    def hand_over(self, fd: int, reported: Iterable[int]) -> None:
        """Prepare for the next leader while the step that serves `fd` is stuck.

        The poller reports readable sockets again to the next leader. It reports a hang-up only once, so those that the
        stuck leader has not handled are armed anew.

        Args:
            reported: descriptors that the poller has reported to the stuck leader and that it has not handled.
        """
        steps = [partial(self._ignoring_closed, self._poller.disarm, fd)]
        steps.append(partial(self._arm_again, fd))  # the responder at the deadline may have parked it just now
        for other in reported:
            if other in self._hangups or other in self._resets:
                change = self._poller.arm_hangup if other in self._hangups else self._poller.disarm
                steps.append(partial(self._ignoring_closed, change, other))
                steps.append(partial(self._arm_again, other))  # its stream may have ended just now
        run_all(*steps)

    def _arm_again(self, fd: int) -> None:
        connection = self.parked.get(fd) or self.writing.get(fd)
        if connection is not None:
            with connection.output.lock:
                self._arm(fd, connection)

    def _ignoring_closed(self, change: Callable[..., object], fd: int, *more: bool) -> None:
        try:
            change(fd, *more)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in _CLOSED:
                raise  # for example without memory: nothing would report the connection
            _log.debug("a connection to be watched was closed already")


def _try_all(*steps: Callable[[], object]) -> None:
    """Call each of the steps, and log what the last failed one has raised."""
    try:
        run_all(*steps)
    except Exception:  # for example of an upgraded protocol that is told
        _log.exception("closing a connection failed")
