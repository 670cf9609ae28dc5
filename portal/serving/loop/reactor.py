"""Reactor: watches every connection that is not being served.

    accepted -> parked -> (readable: read) -> request complete? -> served -> parked -> ... -> closed

It accepts, reads until a request is complete, enforces deadlines and drains, and never waits for a client. One thread
at a time runs its loop. If serving a request holds that thread up, another one continues the loop (`leader.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from ..._internal.background import LoopGuard
from ..._internal.closing import run_all
from ..._internal.counter import Counter
from ..._internal.log import get_logger
from ...errors import ProtocolError
from ..connections.connection import Connection
from ..connections.table import ConnectionTable
from ..io.poller import Poller
from ..messages.rejections import RejectionLog
from ..messages.request_reader import Received
from .acceptor import Acceptor
from .event_order import MANY, EventOrder
from .handshake import HeadAuthentication, TLSHandshakes
from .leader import LeaderFollower, Leadership
from .scheduler import RequestScheduler
from .upgraded_work import UpgradedWork
from .upkeep import Upkeep

__all__ = ["Reactor"]

_log = get_logger("portal.serving")
_STALLED = 5.0  # seconds by which that may be late before the loop counts as failing


class Reactor:
    """Watches the connections of a listener.

    Args:
        poller: reports which sockets are ready.
        table: the connections.
        acceptor: accepts new connections.
        scheduler: serves complete requests.
        work: has the work of upgraded connections done.
        leader: runs the loop.
        rejections: writes its log line from time to time.
        app_for: returns the app that serves a path, or None.

    Threads: any may call `start`, `stop_accepting`, `has_unfinished`, `end`, `abort_start`, `abandon`, and `_end`
        after a step, and may read the properties. The thread that watches the leader calls `_on_stuck`. Only the
        thread that leads runs the other methods. Other threads reach a connection by `ConnectionTable`.
    """

    def __init__(
        self,
        poller: Poller,
        table: ConnectionTable,
        acceptor: Acceptor,
        scheduler: RequestScheduler,
        work: UpgradedWork,
        leader: LeaderFollower,
        rejections: RejectionLog,
        app_for: Callable[[str], object],
    ) -> None:
        self._poller = poller
        self._table = table
        self._acceptor = acceptor
        self._scheduler, self._work, self._leader = scheduler, work, leader
        self._rejections = rejections
        self._handshakes = TLSHandshakes(table, scheduler.submit)
        self._authentication = HeadAuthentication(table, scheduler.submit, app_for, rejections)
        self._reported: list[int] = []  # what the leading thread is working through
        self._accepting = True
        self._has_left = False  # whether it has stopped listening and has looked at all connections since
        self._upgraded: Connection | None = None  # which the leading thread reads from now
        self._running = True
        self._guard = LoopGuard("the reactor")
        self._failed_events = Counter()
        self._upkeep = Upkeep(table, acceptor, scheduler.queue, work, rejections, self._end_failed)

    # any thread

    def start(self) -> None:
        """Begin to watch."""
        self._leader.start(self._run, self._on_stuck)

    def stop_accepting(self) -> None:
        """Accept what waits already, then nothing more. Close idle connections and tell upgraded ones."""
        self._accepting = False
        self._table.stop_keeping()
        self._poller.wake()

    def has_unfinished(self) -> bool:
        """Return whether a client is sending a request or may be about to, or has not been looked at."""
        return not self._has_left or self._table.has_unfinished()

    @property
    def failures(self) -> int:
        """The number of failed steps of the loop and of the thread that watches it."""
        return self._guard.failures + self._upkeep.guard.failures + self._leader.failures + self._failed_events.value

    @property
    def failing(self) -> bool:
        """Whether connections are not watched: no thread runs the loop, its steps fail, or one does not end."""
        late = monotonic() - self._upkeep.due >= _STALLED
        return late or self._leader.failing or self._guard.failing or self._upkeep.guard.failing

    def end(self) -> None:
        """End the loop and close what is parked."""
        self._accepting = False
        self._table.end()
        self._running = False
        self._poller.wake()
        self._leader.join()

    def abort_start(self) -> None:
        """Close what `start` would use, after a start that has failed."""
        self._accepting = self._running = False
        self._poller.close()

    def abandon(self) -> None:
        """Close this process's copies of all sockets in the child of a fork, without a word to the clients."""
        self._accepting = self._running = False
        self._poller.close()
        self._acceptor.abandon()
        self._table.abandon()

    # the loop

    def _run(self, turn: Leadership) -> None:
        table, guard, upkeep, requests = self._table, self._guard, self._upkeep, self._scheduler.queue
        order = EventOrder(table.parked, partial(self._handle, turn))
        while self._running:
            try:
                alone = len(table.parked) == len(table.open)  # no worker has one
                due = 0.0 if order.waiting or upkeep.unfinished else min(upkeep.due, requests.look_at)
                self._reported = reported = self._poller.wait(max(0.0, due - monotonic()), alone)
                # The sweep below uses this moment, so that what has arrived by a deadline is read before it is checked.
                now = monotonic()
                if order.waiting or len(reported) > MANY:
                    reported = order.established(reported)
                    self._reported = [*reported, *order.waiting]
                for fd in reported:
                    try:
                        self._on_event(fd, turn)
                    except BaseException as error:
                        self._fail(fd, error, turn)
                    if turn.over:
                        return
                if order.waiting and not order.handle_some():
                    return
                if not self._accepting and not self._has_left:
                    self._leave(turn)
                    if turn.over:
                        return
                if now >= requests.look_at:
                    requests.look(now)
                if now >= upkeep.due:
                    upkeep.begin(order.oldest(now))
                if upkeep.unfinished:
                    upkeep.go_on()
                if guard.in_a_row:
                    guard.clear()
            except BaseException as error:
                guard.note(error)
                if turn.over:
                    return
        if not self._has_left:
            self._leave(turn)
            if turn.over:
                return
        upkeep.finish()
        table.drop_all()
        self._poller.close()

    def _handle(self, turn: Leadership, fd: int) -> bool:
        """Handle an event, and return whether this thread still leads."""
        try:
            self._on_event(fd, turn)
        except BaseException as error:
            self._fail(fd, error, turn)
        return not turn.over

    def _fail(self, fd: int, error: BaseException, turn: Leadership) -> None:
        self._failed_events.add()
        _log.error("watching a connection failed", exc_info=error)
        if not turn.over:  # else the next leader watches it
            self._end_failed(fd)

    def _end_failed(self, fd: int) -> None:
        """End what an event has failed for, so that the poller does not report it again at once."""
        connection = self._table.writing.get(fd)
        if fd in self._acceptor:
            self._acceptor.pause(fd)
        elif fd in self._table.parked:
            self._table.drop(fd)
        elif connection is not None:
            self._table.abort_output(connection)

    def _on_stuck(self, fd: int) -> None:
        """Prepare for the next leader: the thread that serves `fd` is not back in time."""
        reported, upgraded, self._upgraded = self._reported, self._upgraded, None
        rest = reported[reported.index(fd) + 1 :] if fd in reported else ()
        stuck = self._scheduler if upgraded is None else self._work
        steps = [stuck.note_stuck, lambda: self._table.hand_over(fd, rest)]
        if upgraded is not None:
            # One message takes its time. Others of the same connection go on, as they may overtake it.
            steps += [lambda: self._table.park(upgraded), lambda: self._work.go_on_reading(upgraded)]
        run_all(*steps)

    def _on_event(self, fd: int, turn: Leadership) -> None:
        connection = self._table.parked.get(fd)
        if connection is None:
            self._on_other_event(fd)
        elif self._table.writing and fd in self._table.writing:
            self._on_writable(fd, connection, turn)
        elif connection.draining or connection.handshaking or connection.channel is not None or connection.storing:
            self._on_special_state(fd, connection, turn)
        else:
            received = self._receive(fd, connection, connection.read_request)
            if received is not None:
                self._serve(fd, connection, received, turn)

    def _on_other_event(self, fd: int) -> None:
        """Handle an event of a listening socket, or of a connection that is not parked."""
        if fd in self._acceptor:
            self._acceptor.accept(fd)
            return
        connection = self._table.writing.get(fd)
        if connection is not None:
            self._table.send_output(fd, connection)
            if connection.channel is not None:
                connection.channel.notify_writable()
            if not connection.stream.is_hung_up():
                return
        callback = self._table.take_hangup(fd) or self._table.take_reset(fd)
        if callback is not None:
            callback()

    def _on_writable(self, fd: int, connection: Connection, turn: Leadership) -> None:
        """Handle an event of a parked connection whose output waits for the client."""
        if not self._table.send_output(fd, connection):
            self._table.drop(fd)
        elif connection.channel is not None:
            connection.channel.notify_writable()
            self._on_special_state(fd, connection, turn)
        elif not connection.output.pending and not connection.draining:
            # The next request may have been read already, and no event reports it.
            received = self._receive(fd, connection, connection.take_request)
            if received is not None:
                self._serve(fd, connection, received, turn)

    def _on_special_state(self, fd: int, connection: Connection, turn: Leadership) -> None:
        """Handle an event of a connection that is ending, in its TLS handshake, upgraded, or sends a large body."""
        if connection.draining:
            if connection.drain():
                self._table.drop(fd)
        elif connection.handshaking:
            del self._table.parked[fd]
            self._handshakes.advance(connection)
        elif connection.storing:
            self._on_partial_body(fd, connection)
        else:
            self._on_upgraded(fd, connection, turn)

    def _receive(self, fd: int, connection: Connection, take: Callable[[bool], Received | None]) -> Received | None:
        """Return a complete request. Part of one takes no worker, however slowly it arrives."""
        try:
            received = take(False)
        except ProtocolError as error:
            self._table.reject(fd, connection, error)
            return None
        except OSError:
            self._table.drop(fd)
            return None
        if received is None:
            connection.note_parked(monotonic())
            if connection.input.receiving or connection.expects_invitation:
                self._on_partial_body(fd, connection)
        return received

    def _on_partial_body(self, fd: int, connection: Connection) -> None:
        """Have the caller authenticated, reject requests that must give way, and have a worker read a large body."""
        taken = self._authentication.begin(fd, connection)
        self._table.reject_refused()
        if connection.storing and not (taken or connection.draining) and self._table.parked.get(fd) is connection:
            del self._table.parked[fd]
            self._scheduler.receive(connection)

    def _serve(self, fd: int, connection: Connection, received: Received, turn: Leadership) -> None:
        del self._table.parked[fd]
        try:
            turn.begin(fd)
            keeps = self._scheduler.take(connection, received)
        except BaseException:
            _log.exception("serving a connection failed")
            self._table.close(connection)
            keeps = False
        leads = self._end(turn)
        if not keeps:
            return
        if leads and not connection.armed_otherwise:
            # The poller still watches the socket, so parking takes no system call.
            self._table.parked[fd] = connection
            connection.note_parked(monotonic())
        else:
            self._table.park(connection)

    def _on_upgraded(self, fd: int, connection: Connection, turn: Leadership) -> None:
        channel = connection.channel
        assert channel is not None
        try:
            data = connection.read()
        except OSError:
            self._table.drop(fd)
            return
        if data is None:
            return
        channel.put(data)  # while this thread certainly leads, so that the bytes keep their order
        del self._table.parked[fd]
        self._upgraded = connection
        failed = False
        try:
            turn.begin(fd)
            channel.handler.received(self._work.runner(turn))
        except OSError:
            failed = True
        except BaseException:
            _log.exception("reading from a connection failed")
            failed = True
        if not self._end(turn):  # the next leader watches the connection already
            if failed:
                connection.abort()
            return
        self._upgraded = None
        if failed:
            self._table.close(connection)
        elif not connection.closed:
            self._watch_again(fd, connection, turn)

    def _end(self, turn: Leadership) -> bool:
        """Mark the end of a step and return whether this thread still leads."""
        try:
            return turn.end()
        except BaseException as error:
            self._guard.note(error)
            return False  # the watching thread finds the step stuck and lets another thread lead

    def _watch_again(self, fd: int, connection: Connection, turn: Leadership) -> None:
        """Watch a connection that is upgraded, or was before the bytes that have just been read."""
        if connection.paused or connection.armed_otherwise or connection.channel is None:
            self._table.park(connection)
        else:
            self._table.parked[fd] = connection
        if connection.channel is None:  # the handler has given the connection back to HTTP
            if (received := self._receive(fd, connection, connection.take_request)) is not None:
                self._serve(fd, connection, received, turn)
        elif connection.input.receiving:
            self._table.reject_refused()

    # stopping

    def _leave(self, turn: Leadership) -> None:
        """Stop listening. A connection that the kernel has accepted already gets a response instead of a reset.

        If a request that is served here takes its time, the next leader looks at all connections again.
        """
        self._acceptor.close()
        for fd, connection in self._table.parked.copy().items():
            try:
                self._leave_one(fd, connection, turn)
            except BaseException as error:
                self._fail(fd, error, turn)
            if turn.over:
                return
        self._has_left = True

    def _leave_one(self, fd: int, connection: Connection, turn: Leadership) -> None:
        """Look at a parked connection for the last time before it is closed or kept for what its client has sent."""
        if connection.channel is not None and not connection.draining:
            connection.channel.notify_stopping()
            return
        if fd in self._table.writing or connection.draining or connection.handshaking:
            return
        resting = self._table.is_resting(connection)
        if (received := self._receive(fd, connection, connection.read_request)) is not None:
            self._serve(fd, connection, received, turn)
            if turn.over:
                return
        if fd not in self._table.parked or not connection.awaits_request:
            return
        if resting:
            self._table.drop(fd)
        else:
            self._table.keep_for_follow_up(connection)
