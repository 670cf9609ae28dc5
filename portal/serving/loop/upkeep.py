"""Upkeep: the work that the reactor does twice a second, whether or not a socket is ready.

It does the work in slices, between which it handles what is ready. To reject many requests takes long while other
threads compute, because the reactor waits for the interpreter's lock after each system call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic, time

from ..._internal.background import LoopGuard, restart_lost_loops
from ..._internal.log import get_logger
from ..connections.connection import Connection
from ..connections.table import ConnectionTable
from ..messages.rejections import RejectionLog, error_response
from .acceptor import Acceptor
from .request_queue import RequestQueue
from .upgraded_work import UpgradedWork

__all__ = ["Upkeep"]

_log = get_logger("portal.serving")
_SLICE = 0.001  # seconds
_SWEEP = 0.5  # seconds from one time to the next
_Step = Callable[[float], Iterable[None] | None]  # gives way after each item of what it returns


class Upkeep:
    """Ends overdue connections, waiting requests and slow readers, and starts again what could not start before.

    Args:
        end_failed: ends what is watched under a descriptor, after an error.
        clock: seconds, as `time.monotonic`.

    Attributes:
        guard: counts the times when a step has failed.
        unfinished: whether `go_on` has work to do.
        due: the moment at which to call `begin`.

    Threads: the one that leads the reactor's loop.
    """

    def __init__(
        self,
        table: ConnectionTable,
        acceptor: Acceptor,
        requests: RequestQueue,
        work: UpgradedWork,
        rejections: RejectionLog,
        end_failed: Callable[[int], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.guard = LoopGuard("the upkeep of the reactor", pause=_no_pause)
        self._table = table
        self._end_failed = end_failed
        self._clock = clock
        self.unfinished = False
        self.due = clock() + _SWEEP
        self._rest: Iterator[None] = iter(())
        self._steps: tuple[_Step, ...] = (
            self._end_overdue,
            requests.reject_overdue,
            work.reject_overdue,
            self._end_slow_readers,
            lambda now: acceptor.listen_again(),
            lambda now: restart_lost_loops(),
            rejections.flush,
        )

    def begin(self, now: float) -> None:
        """Begin to take the steps, unless earlier ones are not finished."""
        self.due = self._clock() + _SWEEP
        if not self.unfinished:
            self._rest = self._take_steps(now)
            self.unfinished = True

    def go_on(self) -> None:
        """Take the steps for a short time."""
        end = self._clock() + _SLICE
        for _ in self._rest:
            if self._clock() >= end:
                return
        self.unfinished = False

    def finish(self) -> None:
        """Take the rest of the steps."""
        for _ in self._rest:
            pass
        self.unfinished = False

    def _take_steps(self, now: float) -> Iterator[None]:
        """Take each step, also after one has failed."""
        failed = False
        for step in self._steps:
            try:
                for _ in step(now) or ():
                    yield
            except GeneratorExit:
                raise
            except BaseException as error:
                failed = True
                self.guard.note(error)
        if not failed:
            self.guard.clear()

    def _end_overdue(self, now: float) -> Iterator[None]:
        # `copy` is one step of the interpreter, as `list(items())` is not: see `DeadlineWatch`.
        for fd, connection in self._table.parked.copy().items():
            if connection.deadline <= now and self._table.parked.get(fd) is connection:
                try:
                    self._give_up(fd, connection)
                except BaseException:
                    _log.exception("ending an overdue connection failed")
                    self._end_failed(fd)
                yield

    def _give_up(self, fd: int, connection: Connection) -> None:
        if connection.channel is not None and not connection.draining and connection.channel.handler.overdue():
            return
        if not connection.draining and not connection.handshaking and connection.inside_request:
            connection.send_nowait(error_response(408, "the request did not arrive in time", now=time()))
        self._table.drop(fd)

    def _end_slow_readers(self, now: float) -> Iterator[None]:
        for connection in self._table.writing.copy().values():
            complaint = connection.output.complaint()
            if complaint is not None:
                _log.info("a connection is aborted: peer %s: %s", connection.peer, complaint)
                self._table.abort_output(connection)
            yield


def _no_pause(seconds: float) -> None:
    """Do not pause: the next time is half a second later."""
