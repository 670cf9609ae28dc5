"""RequestScheduler: requests in, answers out: here, where that takes no time to speak of, else by a worker.

A worker lingers briefly on the connection it has just served, unless others wait for a worker, and gives it back to the
reactor.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import monotonic, time
from typing import Any

from .._internal.executor import WorkerPool
from ..context import new_request_id
from ..errors import OverloadedError, ProtocolError
from .connection import Connection
from .connection_table import ConnectionTable
from .exchange import Exchange
from .latency import LatencyTracker
from .leader import LeaderFollower
from .rejections import RejectionLog, error_response, problem
from .request import App, Request, Response

__all__ = ["RequestScheduler"]

_log = logging.getLogger("portal.serving")
_BUSY = "every worker is busy"
_STOPPING = "the server is stopping"
_LONGEST_PATH = 256  # characters; a client may spell one path in many ways
_ARRIVE = 1.0  # seconds that a request which has begun to arrive may take to be answered 503 while the listener stops
_LOOK = 0.05  # seconds between looks at requests that are still arriving while the listener stops


class RequestScheduler:
    """Serves the requests that the reactor has read.

    Args:
        table: the connections.
        leader: tells whether the thread that reads may serve a request itself.
        pool: workers for calls that take their time.
        app_for: returns the app that serves a path, or None.
        prefixes: returns the path prefixes that are served, for the message of a 404.
        rejections: counts requests that are rejected here.
        serves_to_the_end: whether requests that arrive while it stops are served, each as the last of its connection.
            That is right where another process takes over. Otherwise they are rejected with 503.

    Attributes:
        active: connections that are being served.
        stopping: whether each request is the last of its connection.

    Threads: `take` is for the thread that leads the reactor's loop. Any thread may call the other methods.
    """

    def __init__(
        self,
        table: ConnectionTable,
        leader: LeaderFollower,
        pool: WorkerPool,
        app_for: Callable[[str], App | None],
        prefixes: Callable[[], Iterable[str]],
        rejections: RejectionLog,
        *,
        serves_to_the_end: bool = False,
    ) -> None:
        self.active: set[Connection] = set()
        self.stopping = False
        self._table = table
        self._leader = leader
        self._pool = pool
        self._app_for = app_for
        self._prefixes = prefixes
        self._rejections = rejections
        self._serves_to_the_end = serves_to_the_end
        self._latencies = LatencyTracker()  # by method and path
        self._idle = threading.Condition()  # notified, while it stops, of each connection that is no longer served

    def stop(self) -> None:
        """Let each request be the last of its connection from now on."""
        self.stopping = True

    def wait_until_idle(self, grace: float, has_unfinished: Callable[[], bool]) -> None:
        """Wait until no request is served and none waits, for at most `grace` seconds. Call `stop` before.

        Args:
            has_unfinished: tells whether a request is still arriving; it is waited for briefly.
        """
        now = monotonic()
        end, arrive = now + grace, now + min(grace, _ARRIVE)
        with self._idle:
            while (left := end - now) > 0:
                if not (self.active or self._pool.waiting or (has_unfinished() and now < arrive)):
                    return
                self._idle.wait(min(left, _LOOK))
                now = monotonic()

    def abort_active(self) -> None:
        """Break the connections that are being served."""
        for connection in list(self.active):
            connection.abort()

    # the reactor's thread

    def take(self, connection: Connection, request: Request) -> bool:
        """Serve a request: here, where that takes no time to speak of, else in a worker.

        Whether it is answered and the connection is to be watched on.
        """
        if self.stopping and not self._serves_to_the_end:
            self._reject(connection, _STOPPING)
            return False
        self.active.add(connection)
        if self._latencies.is_quick((request.method, request.path)) and self._leader.can_serve_inline:
            return self._guarded(self._serve_here, connection, request)
        self._table.release_to_worker(connection)
        self._hand_over(connection, request)
        return False

    def _serve_here(self, connection: Connection, request: Request) -> bool:
        if not self._answer(connection, request, here=True):
            return False
        following = connection.take_request()
        if following is None:
            self._forget(connection)
            return True
        self._table.release_to_worker(connection)
        self._hand_over(connection, following)
        return False

    def _hand_over(self, connection: Connection, request: Request) -> None:
        try:
            self._pool.submit(self._guarded, self._serve, connection, request)
        except OverloadedError:
            self._reject(connection, _BUSY)

    def submit(self, work: Callable[[], object], sparing: bool) -> None:
        """Run work for a connection in a worker.

        Args:
            sparing: whether requests that wait for a worker go first.
        Raises: OverloadedError if there is no worker for it.
        """
        if sparing and self._pool.waiting:
            raise OverloadedError(_BUSY)
        self._pool.submit(_logged, work)

    def _reject(self, connection: Connection, reason: str) -> None:
        self._rejections.note(reason)
        connection.send_nowait(error_response(503, reason, now=time(), retry_after=1))
        self._finish(connection)

    # the workers

    def _guarded(self, serve: Callable[[Connection, Request], bool], connection: Connection, request: Request) -> bool:
        try:
            return serve(connection, request)
        except ProtocolError as error:
            connection.reject(error)
            self._finish(connection)
        except OSError:
            self._close(connection)
        except BaseException:  # it would end this thread alone, or nobody would hear of it: the connection ends instead
            _log.exception("serving a connection failed")
            self._close(connection)
        return False

    def _serve(self, connection: Connection, request: Request) -> bool:
        """Serve a connection until it pauses."""
        while self._answer(connection, request, here=False):
            following = connection.take_request()
            if self._pool.waiting or self._latencies.is_quick((request.method, request.path)):
                # Others wait for a worker, or the reactor does this faster.
                self._give_back(connection, following)
                break
            following = following or connection.next_request()
            if following is None:
                self._give_back(connection, None)
                break
            request = following
        return False

    def _answer(self, connection: Connection, request: Request, *, here: bool) -> bool:
        """Answer one request; whether the connection is still this thread's and speaks HTTP.

        Args:
            here: whether this is the watching thread.
        """
        exchange = Exchange(connection, request.head, keep_alive=not self.stopping)
        began = monotonic()
        response = self._ask(request, partial(self._answer_early, connection, exchange))
        self._note_pace(request, response, monotonic() - began, here)
        if not exchange.claim():
            return False  # the reactor of deadlines has answered and passed the connection on
        if self.stopping:
            exchange.keep_alive = False
        exchange.send(response)
        if response.upgrade is not None:
            self._upgrade(connection, response)
            return False
        if exchange.keep_alive:
            return True
        self._finish(connection)
        return False

    def _note_pace(self, request: Request, response: Response, seconds: float, here: bool) -> None:
        key = (request.method, request.path)
        if response.body.__class__ is not bytes:
            seconds = inf  # a stream is never quick
        if here:
            self._latencies.served_here(key, seconds)
        elif response.status < 400 and len(request.path) <= _LONGEST_PATH:
            # Not of what is refused at once: that says nothing of the others.
            self._latencies.served_by_worker(key, seconds)

    def _ask(self, request: Request, early: Any) -> Response:
        app = self._app_for(request.path)
        if app is not None:
            return app.answer(request, early)
        if request.path == "*":  # OPTIONS of the server as a whole (RFC 9110 section 9.3.7)
            return Response(204, [("Allow", "GET, HEAD, OPTIONS, POST")])
        request_id = new_request_id()
        detail = f"nothing is served at {request.path[:200]}; there is {', '.join(sorted(self._prefixes())[:5])}"
        body = problem(404, detail, request_id)
        return Response(404, [("Content-Type", "application/problem+json"), ("X-Request-ID", request_id)], body)

    def _answer_early(self, connection: Connection, exchange: Exchange, response: Response) -> bool:
        if not exchange.claim():
            exchange.cut(response.last)
            return False
        assert isinstance(response.body, bytes)
        if connection.send_nowait(exchange.encode(response, response.body)) and exchange.keep_alive:
            self._go_on(connection)
        else:
            self._close(connection)
        return True

    def _go_on(self, connection: Connection) -> None:
        """After an early answer: the client's next request may have been read already, and no event tells of it."""
        try:
            following = connection.take_request()
        except ProtocolError as error:
            connection.reject(error)
            self._finish(connection)
        except OSError:
            self._close(connection)
        else:
            if following is not None:
                self._table.release_to_worker(connection)
            self._give_back(connection, following)

    def _upgrade(self, connection: Connection, response: Response) -> None:
        assert response.upgrade is not None
        rest = connection.upgrade(response.upgrade)
        work = connection.upgraded.received(rest) if rest and connection.upgraded is not None else None
        self._table.park(connection)
        if self.stopping:  # the reactor may have looked at the others already
            connection.tell_stopping()
        self._forget(connection)
        if work is not None:
            work()

    # leaving a worker

    def _give_back(self, connection: Connection, request: Request | None) -> None:
        """Let the reactor have the connection, or the end of the queue if its next request is there already."""
        if request is not None and self.stopping and not self._serves_to_the_end:
            self._reject(connection, _STOPPING)
        elif request is not None:
            # Without a pause: it goes behind those that wait already.
            self._hand_over(connection, request)
        else:
            self._forget(connection)
            self._table.park(connection)

    def _finish(self, connection: Connection) -> None:
        """Close after the answer: the client's unread bytes would otherwise reset the connection under it."""
        try:
            connection.shut_writing()
        except OSError:
            self._close(connection)
            return
        self._forget(connection)
        self._table.park(connection)

    def _close(self, connection: Connection) -> None:
        self._table.close(connection)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self.active.discard(connection)
        if self.stopping:
            with self._idle:
                self._idle.notify_all()


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except BaseException:  # as above
        _log.exception("work for a connection failed")
