"""UpgradedWork: has the work of upgraded connections done, by the reading thread if that is quick, else by a worker."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Protocol

from ..._internal.executor import WorkerPool
from ..._internal.job_queue import Keys
from ..._internal.log import get_logger
from ...errors import OverloadedError
from ..connections.connection import Connection
from ..messages.held_keys import HeldKeys
from ..messages.upgraded import Run, Work
from .latency import STUCK, LatencyTracker
from .leader import Leadership
from .service_times import TOO_LATE, ServiceTimes

__all__ = ["UpgradedWork"]

_log = get_logger("portal.serving")
_WAITED = "the call waited for a worker for too long"
_STOPPING = "the server is stopping"
_STALLED = "earlier calls of this function or client still run after their deadline"
_MAX_RETRY_AFTER = 60.0  # seconds
_FAILED = "the call cannot be begun"
_MAX_INLINE = 0.005  # seconds for which the reading thread works for one connection, as others wait


class Leads(Protocol):
    """The part of LeaderFollower that UpgradedWork uses."""

    @property
    def can_serve_inline(self) -> bool:
        """Whether the thread that reads may do work that may get stuck."""


class UpgradedWork:
    """Has the work of upgraded connections done.

    Args:
        leader: tells whether the thread that reads may do work itself.
        pool: workers for work that takes its time.
        max_wait: seconds that work may wait for a worker.
        service_times: predicts how long work will wait; those of the pool alone when None.

    Threads: the thread that leads the reactor's loop calls `runner` and `reject_overdue`, and the thread that watches
        the leader calls `note_stuck`. Any thread may call the other methods.
    """

    def __init__(
        self, leader: Leads, pool: WorkerPool, service_times: ServiceTimes | None = None, *, max_wait: float
    ) -> None:
        self._leader = leader
        self._pool = pool
        self._max_wait = max_wait
        self._service_times = service_times or ServiceTimes(pool)
        self._latencies = LatencyTracker()  # by kind of work
        self._inline: Hashable = None  # the kind of what the leading thread does now

    def runner(self, turn: Leadership) -> Run:
        """Return what has work done for the bytes that the leading thread has just read."""
        return partial(self._run, turn, monotonic() + _MAX_INLINE)

    def _run(self, turn: Leadership, end: float, kind: Hashable, keys: Keys, work: Work) -> None:
        started = monotonic()
        if started >= end or turn.over or not (self._latencies.is_quick(kind) and self._leader.can_serve_inline):
            self.run_in_worker(kind, keys, work)
            return
        turn.begin(turn.token)  # each call may take as long as a step
        self._inline = kind
        work(None)
        if not turn.over:
            self._inline = None
            self._latencies.served_inline(kind, monotonic() - started)

    def note_stuck(self) -> None:
        """Have workers do work of the kind in which the leading thread is stuck."""
        kind, self._inline = self._inline, None
        if kind is not None:
            self._latencies.served_inline(kind, STUCK)

    def run_in_worker(self, kind: Hashable, keys: Keys, work: Work) -> None:
        """Have work done by a worker.

        Raises: OverloadedError if there is none for it, or is expected to be free only after the deadline of the work,
            or if the server is stopping.
        """
        wait = self._service_times.predicted_wait(keys)
        if wait:
            deadline = getattr(work, "deadline", None)
            if deadline is not None and monotonic() + wait > deadline:
                raise OverloadedError(TOO_LATE, retry_after=min(wait, _MAX_RETRY_AFTER))
        try:
            job = self._pool.submit_with_keys(keys, self._work, kind, keys, work, monotonic())
        except RuntimeError as error:  # a message has arrived as the listener was about to close its connection
            raise OverloadedError(_STOPPING, retry_after=1.0) from error
        job.add_done_callback(partial(self._end_failed, work))

    def _end_failed(self, work: Work, job: Future[Any]) -> None:
        """Reject work that a worker could not begin."""
        if not job.cancelled() and job.exception() is not None:
            self._reject(work, OverloadedError(_FAILED, retry_after=1.0))

    def _work(self, kind: Hashable, keys: Keys, work: Work, queued: float) -> None:
        try:
            held, started = HeldKeys(self._pool, keys), monotonic()
        except BaseException:
            _log.exception("work for a connection cannot be begun")
            self._reject(work, OverloadedError(_FAILED, retry_after=1.0))
            return
        try:
            if queued + self._max_wait <= started:
                work.reject(OverloadedError(_WAITED, retry_after=1.0))
            else:
                counts, seconds = work(held), monotonic() - started
                self._service_times.note(keys, seconds)
                if counts:
                    self._latencies.served_by_worker(kind, seconds)
        except BaseException:  # raised further it would end the worker, or nobody would see it
            _log.exception("work for a connection failed")
        finally:
            held.release()

    def go_on_reading(self, connection: Connection) -> None:
        """Have a worker go on with what has been read from a connection. If there is none, reject its work."""
        try:
            job = self._pool.submit(self._read, connection, self.run_in_worker)
            job.add_done_callback(partial(_abort_failed, connection))
        except OverloadedError as error:
            self._read(connection, partial(_raise, error))
        except RuntimeError:  # the pool is shut down
            self._read(connection, partial(_raise, OverloadedError(_STOPPING, retry_after=1.0)))

    def _read(self, connection: Connection, run: Run) -> None:
        channel = connection.channel
        try:
            if channel is not None:
                channel.handler.received(run)
        except BaseException:
            _log.exception("reading from a connection failed")
            connection.abort()

    def reject_overdue(self, now: float) -> Iterator[None]:
        """Reject the work that waits for too long, or for abandoned calls.

        Yields: after each piece of work. Exhaust the iterator, as those that are left wait for nothing any more.
        """
        if not self._pool.waiting:
            return
        for _, _, work, queued in self._pool.take_back(partial(self._is_due, now)):
            waited = queued + self._max_wait <= now
            self._reject(work, OverloadedError(_WAITED if waited else _STALLED, retry_after=1.0))
            yield

    def _reject(self, work: Work, error: OverloadedError) -> None:
        try:
            work.reject(error)
        except BaseException:  # other work goes on
            _log.exception("rejecting work for a connection failed")

    def _is_due(self, now: float, run: Callable[..., object], args: tuple[Any, ...]) -> bool:
        if run != self._work:
            return False
        _, keys, _, queued = args
        return bool(queued + self._max_wait <= now) or self._pool.is_stalled(keys)


def _abort_failed(connection: Connection, job: Future[Any]) -> None:
    """Give up a connection of which a worker could not begin to read."""
    if not job.cancelled() and job.exception() is not None:
        connection.abort()


def _raise(error: OverloadedError, kind: Hashable, keys: Keys, work: Work) -> None:
    try:
        raise error
    finally:
        del error  # else the exception and this frame refer to each other
