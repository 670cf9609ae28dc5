"""RequestQueue: the requests that wait for a worker, until one runs them or they are rejected.

Requests that keep a processor busy go through a lane of their own first; see `BusyLane`. Those of a path whose cost is
not known wait for the first one; see `FirstRequests`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from math import inf
from time import monotonic
from typing import Any, NamedTuple

from ..._internal.counter import Counter
from ..._internal.executor import WorkerPool
from ..._internal.job_queue import Keys
from ...errors import OverloadedError
from ...http11.fields import is_timeout
from ...http11.request_head import RequestHead
from ..connections.connection import Connection
from ..messages.app import App
from ..messages.request_reader import Received
from .busy_lane import BusyLane, Pass
from .first_requests import FirstRequest, FirstRequests
from .processor_time import ProcessorTime
from .service_times import TOO_LATE, ServiceTimes
from .thread_clock import ProcessClock, ThreadClock

__all__ = ["EXPIRED", "NO_WORKER", "QueuedRequest", "RequestQueue"]

NO_WORKER = "every worker is busy"
EXPIRED = "the call did not run: its deadline passed while it waited for a worker"
_WAITED = "the request waited for a worker for too long"
_STALLED = "earlier calls of this function or client still run after their deadline"
_COMPUTING = "too many calls that compute are waiting"
#: Seconds from one look at the requests in the lane to the next while others wait for them. The pause grows while the
#: process computes, as each look takes the interpreter's lock.
_LOOK, _LONG_LOOK = 0.001, 0.01
#: Share of the time. While the process computes for more than this, one thread more would only slow the others down. A
#: thread that has not computed then may have waited for the interpreter's lock.
_SATURATED = 0.5
_MAX_PATH = 256  # characters of a path that tell requests apart


class QueuedRequest(NamedTuple):
    """A request that waits for a worker.

    Attributes:
        keys: its function and its client.
        queued: the moment from which it waits.
        client, path: by which its processor time is predicted.
    """

    connection: Connection
    received: Received
    keys: Keys
    queued: float
    client: str
    path: tuple[str, str]

    @property
    def deadline(self) -> float | None:
        """The deadline that the client has set, or None."""
        head, _, arrived = self.received
        timeout = head.headers.get("x-portal-timeout")
        return None if timeout is None or is_timeout(timeout) is None else arrived + int(timeout) / 1000

    def has_expired(self, now: float) -> bool:
        """Return whether the deadline that the client has set has passed."""
        deadline = self.deadline
        return deadline is not None and deadline <= now


_Place = Pass | FirstRequest[QueuedRequest] | None


class RequestQueue:
    """Has a worker run each request that is added, in turn.

    Args:
        pool: the workers.
        lane: for requests that keep a processor busy.
        app_for: returns the app that serves a path, or None.
        serve: serves a request, in a worker. It must not raise.
        reject: sends 503, or 504 for EXPIRED, with the reason.
        end: ends a connection after an error.
        wake: makes the thread that leads the reactor's loop look at `look_at` again.
        max_wait: seconds that a request may wait.
        service_times: predicts how long a request will wait.

    Attributes:
        expired: counts requests whose deadline passed while they waited.
        waited_too_long: counts requests that waited for longer than `max_wait`.
        too_late: counts requests whose turn would have come after their deadline.
        look_at: the moment at which to call `look`.

    Threads: any. `look` and `reject_overdue` are for the thread that leads the reactor's loop.
    """

    def __init__(
        self,
        pool: WorkerPool,
        lane: BusyLane[QueuedRequest],
        app_for: Callable[[str], App | None],
        serve: Callable[[QueuedRequest], None],
        reject: Callable[[Connection, str], None],
        end: Callable[[BaseException, Connection], None],
        wake: Callable[[], None],
        max_wait: float,
        service_times: ServiceTimes,
    ) -> None:
        self.expired, self.waited_too_long, self.too_late = Counter(), Counter(), Counter()
        self._pool = pool
        self._lane = lane
        self._app_for = app_for
        self._serve = serve
        self._reject = reject
        self._end = end
        self._wake = wake
        self._max_wait = max_wait
        self._times = ProcessorTime()
        self._service_times = service_times
        self._lock = threading.Lock()  # guards the lane, the first requests and `look_at`
        self._firsts: FirstRequests[QueuedRequest] = FirstRequests(self._times, pool.queue)
        # Requests that wait for nothing any more, with their places: to run, and to be rejected. None of them is only
        # in a variable, so that an exception between two steps loses none. What it leaves here, the next sweep takes.
        self._ready: deque[tuple[QueuedRequest, Pass | None]] = deque()
        self._due: deque[tuple[Any, ...]] = deque()
        self._process = ProcessClock()
        self._pause = _LOOK  # until the next look at the lane
        self.look_at = inf

    @property
    def waiting(self) -> int:
        """The number of waiting requests. No lock is taken."""
        return self._pool.waiting + len(self._lane) + len(self._firsts) + len(self._ready) + len(self._due)

    def keys_of(self, connection: Connection, head: RequestHead) -> Keys:
        """Return the function and the client that a request counts for."""
        keys = getattr(self._app_for(head.path), "keys", None)
        found: Keys = () if keys is None else keys(head, connection.peer, connection.identity)
        return found

    def computes(self, head: RequestHead, keys: Keys) -> bool:
        """Return whether a request is likely to keep a processor busy."""
        return self._times.is_busy(_client(keys), _path(head)) is True

    def note_times(self, head: RequestHead, keys: Keys, processor: float, seconds: float) -> None:
        """Note the processor time that a worker has needed for a request, and the seconds that it has taken."""
        self._times.note(_client(keys), _path(head), processor)
        if head.method == "POST":  # others do not call the function
            self._service_times.note(keys, seconds)

    def add(self, connection: Connection, received: Received) -> None:
        """Have a request run, or reject it if it may not wait."""
        head = received[0]
        keys = self.keys_of(connection, head)
        request = QueuedRequest(connection, received, keys, monotonic(), _client(keys), _path(head))
        if self._comes_too_late(request):
            self.too_late.add()
            self._reject(connection, TOO_LATE)
            return
        self._go_on(request)
        if self._ready:
            self._start_ready()

    def _go_on(self, request: QueuedRequest) -> None:
        """Have a request run, by what is known of its path."""
        if not self._times.is_busy(request.client, request.path):
            self._submit(request, None)
            return
        place = self._enter(request, True, monotonic())
        if place is not None:
            self._submit(request, place)

    def _enter(self, request: QueuedRequest, busy: bool | None, now: float) -> _Place:
        """Return the place of a request that may run at once. If it waits or is rejected, return None.

        Args:
            busy: True for a request that computes. None if that is unknown; then this thread is about to serve it.
        """
        place: _Place
        try:
            with self._lock:
                if busy:
                    place = self._lane.enter(request.client, request, now)
                else:
                    place = self._firsts.begin(request.path, request, now)
                before, self.look_at = self.look_at, min(self.look_at, self._next_look(now))
                wakes = self.look_at < before  # else the leading thread does not sleep for longer
        except OverloadedError:
            self._reject(request.connection, _COMPUTING if busy else NO_WORKER)
            return None
        if wakes:
            self._wake()
        return place

    def _comes_too_late(self, request: QueuedRequest) -> bool:
        """Return whether the turn of a request is expected after its deadline, so that waiting would be in vain."""
        wait = self._service_times.predicted_wait(request.keys)
        deadline = request.deadline if wait else None
        return deadline is not None and request.queued + wait > deadline

    def _submit(self, request: QueuedRequest, place: _Place) -> None:
        try:
            job = self._pool.submit_with_keys(request.keys, self._run, request, place)
        except OverloadedError as error:
            key = error.context.get("key")
            reason = NO_WORKER if key is None else f"too many calls of this {key} are running or waiting"
            self._give_back(place)
            self._reject(request.connection, reason)
        except BaseException as error:
            self._give_back(place)
            self._end(error, request.connection)
        else:
            job.add_done_callback(partial(self._end_failed, request))

    def _end_failed(self, request: QueuedRequest, job: Future[Any]) -> None:
        """End the connection of a request if an exception has come before the worker could handle it."""
        error = None if job.cancelled() else job.exception()
        if error is not None:
            self._end(error, request.connection)

    def _leave(self, place: _Place) -> None:
        """Give a place back, and let those run for which it was the last obstacle."""
        self._give_back(place)
        self._start_ready()

    def _give_back(self, place: _Place) -> None:
        if place is None:
            return
        with self._lock:
            if isinstance(place, FirstRequest):
                self._ready.extend([(request, None) for request in self._firsts.end(place)])
            else:
                self._ready.extend(self._lane.leave(place, monotonic()))

    def _start_ready(self) -> None:
        """Have the requests run whose turn has come."""
        while self._ready:
            try:
                request, place = self._ready.popleft()
            except IndexError:  # another thread has taken it
                return
            try:
                if place is None:
                    self._go_on(request)
                else:
                    self._submit(request, place)
            except BaseException as error:  # the others go on
                self._end(error, request.connection)

    def look(self, now: float) -> None:
        """Let the requests go on that wait for a first one of which enough is known now, or for one that waits."""
        with self._lock:
            self._ready.extend([(request, None) for request in self._firsts.look(now)])
            saturated = self._process.share(now) > _SATURATED
            self._pause = min(2 * self._pause, _LONG_LOOK) if saturated else _LOOK
            self._ready.extend(self._lane.look(now, lets_in=not saturated))
            self.look_at = self._next_look(now)
        self._start_ready()

    def _next_look(self, now: float) -> float:
        return min(self._firsts.look_at, now + self._pause if len(self._lane) else inf)

    def _run(self, request: QueuedRequest, place: _Place) -> None:
        try:
            now = monotonic()
            if request.queued + self._max_wait <= now:
                self._reject_for(request, now)
                return
            if place is None:  # what is known of its path may have changed while it waited
                busy = self._times.is_busy(request.client, request.path)
                if busy is not False:
                    place = self._enter(request, busy, now)
                    if place is None:
                        return
            if isinstance(place, Pass):
                place.start(now, ThreadClock())
            self._serve(request)
        except BaseException as error:
            self._end(error, request.connection)
        finally:
            self._leave(place)

    def reject_overdue(self, now: float) -> Iterator[None]:
        """Reject the requests that wait past their deadline, for longer than `max_wait`, or for abandoned calls.

        Yields: after each of them. If the iterator is not exhausted, the next one goes on.
        """
        if self.waiting:
            self._due.extend(self._pool.take_back(lambda run, args: run == self._run and self._is_due(args[0], now)))
        if len(self._lane) or len(self._firsts) or self._lane.running:
            with self._lock:
                self._due.extend([(one, None) for one in self._firsts.take_back(lambda one: self._is_due(one, now))])
                self._due.extend([(one, None) for one in self._lane.take_back(lambda one: self._is_due(one, now))])
                self._ready.extend(self._lane.pass_long(now))
        self._start_ready()
        while self._due:
            request, place = self._due.popleft()
            try:
                self._reject_for(request, now)
            except BaseException as error:  # the others are rejected, too
                self._end(error, request.connection)
            self._leave(place)
            yield

    def _is_due(self, request: QueuedRequest, now: float) -> bool:
        return request.queued + self._max_wait <= now or request.has_expired(now) or self._pool.is_stalled(request.keys)

    def _reject_for(self, request: QueuedRequest, now: float) -> None:
        if request.has_expired(now):
            self.expired.add()
            self._reject(request.connection, EXPIRED)
        elif request.queued + self._max_wait <= now:
            self.waited_too_long.add()
            self._reject(request.connection, _WAITED)
        else:
            self._reject(request.connection, _STALLED)

    def stats(self) -> dict[str, Any]:
        """Return the counters of the queue and the lane. No lock is taken."""
        return {
            "expired": self.expired.value,
            "waited_too_long": self.waited_too_long.value,
            "too_late": self.too_late.value,
            "computing": self._lane.running,
            "computing_waiting": len(self._lane),
            "computing_rejected": self._lane.rejected,
        }


def _client(keys: Keys) -> str:
    return next((value for kind, value in keys if kind == "client"), "")


def _path(head: RequestHead) -> tuple[str, str]:
    return head.method, head.path[:_MAX_PATH]
