"""RequestScheduler: has requests served, by the thread that reads them if that is quick, otherwise by a worker.

A worker lingers briefly on the connection that it has just served, unless others wait for a worker. Then it gives the
connection back to the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import monotonic, thread_time, time

from ..._internal.conditions import Condition
from ..._internal.executor import WorkerPool
from ..._internal.job_queue import Keys
from ..._internal.log import get_logger
from ...context import new_request_id
from ...errors import OverloadedError, ProtocolError
from ...http11.request_head import RequestHead
from ...http11.response_head import PROBLEM
from ..connections.connection import Connection
from ..connections.exchange import Exchange
from ..connections.table import ConnectionTable
from ..messages.app import App
from ..messages.held_keys import HeldKeys
from ..messages.rejections import RejectionLog, expired_response, overloaded_response, problem
from ..messages.request import Request, Response
from ..messages.request_reader import Received
from ..messages.upgraded import Run
from .busy_lane import BusyLane
from .latency import STUCK, LatencyTracker
from .leader import LeaderFollower
from .request_queue import EXPIRED, NO_WORKER, QueuedRequest, RequestQueue
from .service_times import ServiceTimes

__all__ = ["RequestScheduler"]

_log = get_logger("portal.serving")
_STOPPING = "the server is stopping"
_MAX_PATH = 256  # characters; a client may spell one path in many ways
_ARRIVE = 1.0  # seconds that a request may take to arrive completely, and get its 503, while the listener stops
_PIECES = 64  # of a body on disk that a worker reads before others have their turn
_LOOK = 0.05  # seconds between looks at requests that are still arriving while the listener stops


class RequestScheduler:
    """Serves the requests that the reactor has read.

    Args:
        table: the connections.
        leader: tells whether the thread that reads may serve a request itself.
        pool: workers for calls that take their time.
        lane: for requests that keep a processor busy.
        app_for: returns the app that serves a path, or None.
        prefixes: returns the path prefixes that are served, for the message of a 404.
        rejections: counts requests that are rejected here.
        run_in_worker: has work of an upgraded connection done by a worker.
        wake: ends the present wait of the thread that leads the reactor's loop.
        service_times: predicts how long a request will wait for a worker.
        max_wait: seconds that a request may wait for a worker.
        serves_to_the_end: whether requests that arrive while it stops are served, each as the last of its connection.
            That is right where another process takes over. Otherwise they are rejected with 503.
        is_prompt: returns whether requests for a path always take next to no time, so that they wait for no worker.

    Attributes:
        active: connections that are being served.
        stopping: whether each request is the last of its connection.
        queue: the requests that wait for a worker.

    Threads: `take` is for the thread that leads the reactor's loop. Any thread may call the other
        methods.
    """

    def __init__(
        self,
        table: ConnectionTable,
        leader: LeaderFollower,
        pool: WorkerPool,
        lane: BusyLane[QueuedRequest],
        app_for: Callable[[str], App | None],
        prefixes: Callable[[], Iterable[str]],
        rejections: RejectionLog,
        run_in_worker: Run,
        wake: Callable[[], None],
        service_times: ServiceTimes,
        *,
        max_wait: float = 30.0,
        serves_to_the_end: bool = False,
        is_prompt: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self.active: set[Connection] = set()
        self.stopping = False
        self._table = table
        self._leader = leader
        self._pool = pool
        self._app_for = app_for
        self._prefixes = prefixes
        self._rejections = rejections
        self._run_in_worker = run_in_worker
        self._serves_to_the_end = serves_to_the_end
        self._is_prompt = is_prompt
        self.queue = RequestQueue(
            pool, lane, app_for, self._serve, self._reject, self._end_after, wake, max_wait, service_times
        )
        self._latencies = LatencyTracker()  # by method and path
        self._inline = ("", "")  # method and path of the latest request of the leading thread
        self._release = self._continue_after_early_response
        self._idle = Condition()  # notified, while it stops, of each connection that is no longer served

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
                serving = self.active or self._table.writing or self.queue.waiting or self._table.has_upgraded()
                if not (serving or (has_unfinished() and now < arrive)):
                    return
                self._idle.wait(min(left, _LOOK))
                now = monotonic()

    def abort_active(self) -> None:
        """Break the connections that are being served."""
        for connection in self.active.copy():
            connection.abort()

    # the thread that leads the reactor's loop

    def take(self, connection: Connection, received: Received) -> bool:
        """Serve a request: in this thread if it usually takes next to no time, otherwise in a worker.

        Returns: whether the response is sent and the connection is to be watched again by the caller.
        """
        self.active.add(connection)
        if self.stopping and not self._serves_to_the_end:
            self._reject(connection, _STOPPING)
            return False
        head = received[0]
        self._inline = key = (head.method, head.path)
        try:
            is_quick = self._latencies.is_quick(key) or self._is_prompt(head.path)
            if not (is_quick and self._leader.can_serve_inline):
                self._hand_over(connection, received)
                return False
            if not self._respond(connection, received, None):
                return False
            following = connection.take_request()
            if following is None:
                self._forget(connection)
                return True
            self._hand_over(connection, following)
        except BaseException as error:
            self._end_after(error, connection)
        return False

    def note_stuck(self) -> None:
        """Have workers serve the calls that are like the one in which the leading thread is stuck.

        Those are counted, and the stuck one is not. The thread that watches the leader calls this.
        """
        self._latencies.served_inline(self._inline, STUCK)

    def _hand_over(self, connection: Connection, received: Received) -> None:
        self._table.release_to_worker(connection)
        self.queue.add(connection, received)

    def submit(self, work: Callable[[], object], sparing: bool, keys: Keys = ()) -> None:
        """Run work for a connection in a worker.

        Args:
            sparing: whether requests that wait for a worker go first.
            keys: what the work counts for.
        Raises: OverloadedError if there is no worker for it.
        """
        if sparing and self._pool.crowded:
            raise OverloadedError(NO_WORKER)
        self._pool.submit_with_keys(keys, _logging_errors, work)

    def receive(self, connection: Connection) -> None:
        """Have a worker read from a connection whose body is kept on disk, as a write to disk may take its time.

        The connection is not parked. If there is no worker, this thread reads one piece.
        """
        self.active.add(connection)
        try:
            self._table.release_to_worker(connection)
            self.submit(partial(self._receive, connection, _PIECES), True)
        except OverloadedError:
            self._receive(connection, 1)
        except BaseException as error:
            self._end_after(error, connection)

    def _receive(self, connection: Connection, pieces: int) -> None:
        try:
            received = None
            for _ in range(pieces):
                before = connection.bytes_in
                received = connection.read_request()
                if received is not None or connection.bytes_in == before:
                    break
            self._give_back(connection, received)
        except BaseException as error:
            self._end_after(error, connection)

    def _reject(self, connection: Connection, reason: str) -> None:
        try:
            self._rejections.note(reason)
            response = expired_response if reason is EXPIRED else overloaded_response
            connection.send_nowait(response(reason, now=time()))
            self._finish(connection)
        except BaseException as error:
            self._end_after(error, connection)

    # the workers

    def _serve(self, request: QueuedRequest) -> None:
        """Serve a connection, from a request that was queued, until it pauses."""
        try:
            self._serve_on(*request[:3])
        except BaseException as error:
            self._end_after(error, request.connection)

    def _serve_on(self, connection: Connection, received: Received, keys: Keys) -> None:
        """Serve the requests of a connection. One with other keys, or that computes, goes through the queue."""
        while True:
            held, began, head = HeldKeys(self._pool, keys), thread_time(), received[0]
            started = monotonic()
            try:
                continues = self._respond(connection, received, held)
            finally:
                held.release()
                self.queue.note_times(head, keys, thread_time() - began, monotonic() - started)
            if not continues:
                return
            following = connection.take_request()
            quick = self._latencies.is_quick((head.method, head.path))
            if not (self.queue.waiting or quick or self.queue.computes(head, keys)):
                following = following or connection.next_request()
                if following is not None and self._may_follow(connection, head, following[0], keys):
                    received = following
                    continue
            # Others wait for a worker, the reactor does this faster, the client pauses, or it is not its turn.
            self._give_back(connection, following)
            return

    def _may_follow(self, connection: Connection, head: RequestHead, following: RequestHead, keys: Keys) -> bool:
        if following is head:
            return True
        return self.queue.keys_of(connection, following) == keys and not self.queue.computes(following, keys)

    def _respond(self, connection: Connection, received: Received, held: HeldKeys | None) -> bool:
        """Respond to one request.

        Args:
            held: counts the request for further keys; None in the thread that leads the reactor's loop.
        Returns: whether the connection still belongs to this thread and speaks HTTP.
        """
        head, body, arrived = received
        release = self._release if held is None else partial(self._abandon, held)
        exchange = Exchange(connection, head, not self.stopping, release)
        request = Request(head, body, connection, connection.peer, exchange, arrived, held)
        started = monotonic()
        app = self._app_for(head.path)
        response = app.handle(request) if app is not None else self._no_app(request)
        self._note_latency(request, response, monotonic() - started, held is None)
        if not exchange.claim():
            exchange.check_released()
            return False  # the responder at the deadline has sent a response and passed the connection on
        if self.stopping:
            exchange.close_after_response()
        exchange.send(response, None if held is None else held.client)
        if response.upgrade is not None:
            self._upgrade(connection, response)
            return False
        if exchange.keep_alive:
            return True
        self._finish(connection)
        return False

    def _note_latency(self, request: Request, response: Response, seconds: float, inline: bool) -> None:
        key = (request.method, request.path)
        if response.body.__class__ is not bytes:
            seconds = inf  # a stream is never quick
        if inline:
            self._latencies.served_inline(key, seconds)
        elif response.status < 400 and len(request.path) <= _MAX_PATH:
            # A rejection at once says nothing of the other requests.
            self._latencies.served_by_worker(key, seconds)

    def _no_app(self, request: Request) -> Response:
        if request.path == "*":  # OPTIONS of the server as a whole (RFC 9110 section 9.3.7)
            return Response(204, [("Allow", "GET, HEAD, OPTIONS, POST")])
        request_id = new_request_id()
        detail = f"nothing is served at {request.path[:200]}; served paths: {', '.join(sorted(self._prefixes())[:5])}"
        body = problem(404, detail, request_id)
        return Response(404, [("Content-Type", PROBLEM), ("X-Request-ID", request_id)], body)

    def _abandon(self, held: HeldKeys, connection: Connection, keeps: bool) -> None:
        try:
            held.abandon()
        finally:
            self._continue_after_early_response(connection, keeps)

    def _continue_after_early_response(self, connection: Connection, keeps: bool) -> None:
        """Watch the connection again, in the place of the thread that the function still holds.

        The client's next request may have been read already, and no event reports it.
        """
        try:
            if not keeps:
                self._close(connection)
                return
            following = connection.take_request()
            if following is not None:
                self._table.release_to_worker(connection)
            self._give_back(connection, following)
        except BaseException as error:
            self._end_after(error, connection)

    def _end_after(self, error: BaseException, connection: Connection) -> None:
        """End a connection after an error."""
        if isinstance(error, ProtocolError):
            try:
                connection.reject(error)
                self._finish(connection)
            except BaseException as failure:
                self._close_after(failure, connection)
        else:
            self._close_after(error, connection)

    def _close_after(self, error: BaseException, connection: Connection) -> None:
        if not isinstance(error, OSError):  # raised further it would end this thread, or nobody would see it
            _log.error("serving a connection failed", exc_info=error)
        self._close(connection)

    def _upgrade(self, connection: Connection, response: Response) -> None:
        assert response.upgrade is not None
        rest = connection.upgrade(response.upgrade, self._run_in_worker)
        channel = connection.channel
        if rest and channel is not None:
            channel.put(rest)
            channel.handler.received(self._run_in_worker)
        self._table.park(connection)
        if channel is not None and self.stopping:  # the reactor may have looked at the others already
            channel.notify_stopping()
        self._forget(connection)

    # leaving a worker

    def _give_back(self, connection: Connection, received: Received | None) -> None:
        """Give the connection back to the reactor, or to the end of the queue if its next request has been read."""
        if received is not None and self.stopping and not self._serves_to_the_end:
            self._reject(connection, _STOPPING)
        elif received is not None:
            self.queue.add(connection, received)  # behind the requests that wait already
        else:
            self._forget(connection)
            self._table.park(connection)

    def _finish(self, connection: Connection) -> None:
        """Close after the response. Drain first: unread bytes of the client would reset the connection."""
        try:
            connection.shut_writing()
        except OSError:
            self._close(connection)
            return
        self._forget(connection)
        self._table.park(connection)

    def _close(self, connection: Connection) -> None:
        try:
            self._table.close(connection)
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self.active.discard(connection)
        if self.stopping:
            with self._idle:
                self._idle.notify_all()


def _logging_errors(work: Callable[[], object]) -> None:
    try:
        work()
    except BaseException:  # raised further it would end the worker, or nobody would see it
        _log.exception("work for a connection failed")
