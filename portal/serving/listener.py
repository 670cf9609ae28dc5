"""Listener: one address, many apps by path prefix; connections that wait cost no thread.

A Watcher has every connection until a request of it is whole. Calls that usually take next to no time are served by the
watcher's own thread, the others by a bounded pool of workers. A worker lingers briefly on the connection it has just
served, unless others wait for a worker, and gives it back to the watcher.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic, time
from typing import Any, ClassVar

from ..context import new_request_id
from ..errors import ConfigError, OverloadedError, ProtocolError
from ..executor import WorkerPool
from .answer import error_answer, problem
from .config import ServingConfig
from .connection import Connection
from .exchange import Exchange
from .request import App, Request, Response
from .sockets import open_socket, remove_socket_file
from .tls import ServerTLS
from .watcher import Watcher

__all__ = ["Listener"]

_log = logging.getLogger("portal.serving")
_BUSY = "every worker is busy"
_STOPPING = "the server is stopping"
_QUICK = 250e-6  # seconds; a call that takes less is served by the thread that has read it
_PATHS = 4096  # of which the usual time is remembered
_ARRIVE = 1.0  # seconds that a request which has begun to arrive may take to be answered 503 while the listener stops
_LOOK = 0.05  # seconds between looks at requests that are still arriving while the listener stops


class Listener:
    """One listening address, many apps by path prefix.

    Args:
        host: a name or an address to listen on, or "unix:" and the path of a Unix socket.
        port: 0 takes a free one, which `port` then tells.
        config: limits, waits and TLS.

    Attributes:
        supervised: whether all listeners of this process wait for the sockets of a supervisor: `start` does nothing
            before `adopt`.

    Threads: any may mount, start and stop. Fork: the parent goes on; a child has nothing of it open and may start it.
    """

    supervised: ClassVar[bool] = False

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, config: ServingConfig | None = None) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ConfigError(f"port is {port!r}", path="port", allowed="0 to 65535")
        if not isinstance(host, str) or host == "unix:":
            raise ConfigError(f"host is {host!r}", path="host", allowed='a name, an address, or "unix:/path"')
        self.host = host
        self.port = port
        self.config = config or ServingConfig()
        self._apps: tuple[tuple[str, App], ...] = ()
        self._adopted: list[socket.socket] = []
        self._active: set[Connection] = set()
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # guards starting, stopping and mounting
        self._idle = threading.Condition()  # told, while stopping, of each connection that is served no more
        self._running = False
        self._stopping = False
        self._watcher: Watcher | None = None
        self._tls: ServerTLS | None = None
        self._paces: dict[tuple[str, str], float] = {}  # seconds that a call usually takes, by method and path
        self._counting = threading.Lock()  # guards the totals of closed connections
        self._closed_totals = [0, 0, 0]  # requests, bytes in, bytes out

    # what it serves

    def mount(self, prefix: str, app: App, *, shared: bool = False) -> None:
        """Serve `app` under a path prefix ("/api"); the longest prefix that fits a path gets it.

        Args:
            shared: several apps would serve it, and the first does.
        Raises: ConfigError for a prefix that is taken.
        """
        with self._lock:
            if any(known == prefix for known, _ in self._apps):
                if shared:
                    return
                raise ConfigError(f"{prefix} is taken on this listener", path="prefix", allowed="a prefix of its own")
            self._apps = tuple(sorted([*self._apps, (prefix, app)], key=lambda row: -len(row[0])))

    def unmount(self, app: App) -> int:
        """Serve this app no more; how many apps are left."""
        with self._lock:
            self._apps = tuple(row for row in self._apps if row[1] is not app)
            return len(self._apps)

    def _app_for(self, path: str) -> App | None:
        for prefix, app in self._apps:
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/" or prefix[-1:] == "/"):
                return app
        return None

    # life

    @property
    def running(self) -> bool:
        """Whether it serves, if only to finish what has begun."""
        return self._running

    @property
    def ready(self) -> bool:
        """Whether new calls are welcome; False from the moment on that it is told to stop."""
        return self._running and not self._stopping

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.config.tls is not None

    def adopt(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on these listening sockets, handed over by a supervisor, instead of opening one. Before `start`.

        They are the listener's from then on, and it closes them.
        """
        with self._lock:
            if self._running:
                raise ConfigError("the listener serves already", path="sockets", allowed="adopt before start")
            self._adopted = list(sockets)

    def start(self) -> None:
        """Bind and serve; nothing happens if it serves already.

        Raises: TransportError when the address is in use or not of this machine; ConfigError for bad certificates.
        """
        with self._lock:
            if self._running or (self.supervised and not self._adopted):
                return
            config = self.config
            self._tls = None if config.tls is None else ServerTLS(config.tls)
            sockets = self._adopted or [open_socket(self.host, self.port, config.backlog, config.socket_mode)]
            name = sockets[0].getsockname()
            if isinstance(name, tuple):
                self.port = int(name[1])
                self.host = str(name[0]) if self._adopted else self.host
            self._pool = WorkerPool(config.workers, config.queue, name="portal-serve")
            self._refused = 0
            self._active.clear()
            self._stopping = False
            self._running = True
            self._watcher = Watcher(sockets, config, self._tls, serve=self._take, work=self._submit, retire=self._count)
            self._watcher.start()
            _running.add(self)

    def reload_certificates(self) -> None:
        """Read the certificate files again; connections that are open keep what they have. ConfigError if unfit."""
        if self._tls is not None:
            self._tls.reload()

    def stop(self, grace: float | None = None) -> None:
        """Accept no more, close idle connections, let running calls finish for `grace` seconds, then cut them.

        `ready` is False at once; a request that still comes on an open connection is answered 503. May be called
        twice and from any thread but a worker.
        """
        with self._lock:
            if not self._running:
                return
            watcher = self._watcher
            assert watcher is not None
            self._stopping = True
            watcher.stop_accepting()
            if not self._adopted:
                remove_socket_file(self.host)
            self._wait_until_idle(self.config.grace if grace is None else grace)
            self._running = False
            for connection in list(self._active):
                connection.abort()
            watcher.end()
            self._pool.shutdown(wait=True, cancel_futures=True, timeout=0.5)
            self._adopted = []
            _running.discard(self)

    def _wait_until_idle(self, grace: float) -> None:
        watcher = self._watcher
        assert watcher is not None
        now = monotonic()
        end, arrive = now + grace, now + min(grace, _ARRIVE)
        with self._idle:
            while (left := end - now) > 0:
                if not (self._active or self._pool.waiting or (watcher.unfinished and now < arrive)):
                    return
                self._idle.wait(min(left, _LOOK))
                now = monotonic()

    def abandon(self) -> None:
        """In a child process after a fork: close the copies of the parent's sockets, and touch nothing else."""
        watcher = self._watcher
        if watcher is not None:
            watcher.abandon()
        self._adopted = []
        self._active = set()
        self._reset()

    def stats(self) -> dict[str, Any]:
        """Counters of connections, requests, bytes and workers; reads without slowing what is served.

        Members: running, ready, accepted, refused, connections, parked, active, requests, bytes_in, bytes_out, and
        those of the worker pool.
        """
        watcher = self._watcher
        if watcher is None:
            return {"running": False, "ready": False}
        totals = list(self._closed_totals)
        for connection in list(watcher.connections):
            for index, value in enumerate((connection.requests, connection.bytes_in, connection.bytes_out)):
                totals[index] += value
        return {
            "running": self._running,
            "ready": self.ready,
            "accepted": watcher.accepted,
            "refused": watcher.refused + self._refused,
            "connections": len(watcher.connections),
            "parked": len(watcher.parked),
            "active": len(self._active),
            "requests": totals[0],
            "bytes_in": totals[1],
            "bytes_out": totals[2],
            **self._pool.stats(),
        }

    def _count(self, connection: Connection) -> None:
        with self._counting:
            self._closed_totals[0] += connection.requests
            self._closed_totals[1] += connection.bytes_in
            self._closed_totals[2] += connection.bytes_out

    # the watcher's thread

    def _take(self, connection: Connection, request: Request) -> bool:
        """Serve a request: here, where that takes no time to speak of, else in a worker.

        Whether it is answered and the connection is to be watched on.
        """
        assert self._watcher is not None
        if self._stopping:
            self._turn_away(connection, _STOPPING)
            return False
        self._active.add(connection)
        if self._usual(request) < _QUICK and self._watcher.willing:
            return self._guarded(self._serve_here, connection, request)
        self._watcher.give_away(connection)
        self._hand_over(connection, request)
        return False

    def _serve_here(self, connection: Connection, request: Request) -> bool:
        if not self._answer(connection, request):
            return False
        following = connection.take_request()
        if following is None:
            self._forget(connection)
            return True
        assert self._watcher is not None
        self._watcher.give_away(connection)
        self._hand_over(connection, following)
        return False

    def _hand_over(self, connection: Connection, request: Request) -> None:
        try:
            self._pool.submit(self._guarded, self._serve, connection, request)
        except OverloadedError:
            self._turn_away(connection, _BUSY)

    def _submit(self, work: Callable[[], object], sparing: bool) -> None:
        if sparing and self._pool.waiting:
            raise OverloadedError(_BUSY)
        self._pool.submit(_logged, work)

    def _turn_away(self, connection: Connection, reason: str) -> None:
        self._refused += 1
        connection.try_send(error_answer(503, reason, now=time(), retry_after=1))
        self._finish(connection)

    # the workers

    def _guarded(self, serve: Callable[[Connection, Request], bool], connection: Connection, request: Request) -> bool:
        try:
            return serve(connection, request)
        except ProtocolError as error:
            connection.refuse(error)
            self._finish(connection)
        except OSError:
            self._close(connection)
        except Exception:
            _log.exception("serving a connection failed")
            self._close(connection)
        return False

    def _serve(self, connection: Connection, request: Request) -> bool:
        """Serve a connection until it pauses."""
        while self._answer(connection, request):
            following = connection.take_request()
            if self._pool.waiting or self._usual(request) < _QUICK:
                # Others wait for a worker, or the watcher does this faster.
                self._give_back(connection, following)
                break
            following = following or connection.next_request()
            if following is None:
                self._give_back(connection, None)
                break
            request = following
        return False

    def _answer(self, connection: Connection, request: Request) -> bool:
        """Answer one request; whether the connection is still this worker's and speaks HTTP."""
        exchange = Exchange(connection, request.head, keep_alive=not self._stopping)
        began = monotonic()
        response = self._ask(request, partial(self._answer_early, connection, exchange))
        if response.status < 400:  # paths that lead nowhere are no reason to remember anything
            self._note_pace(request, 1.0 if response.body.__class__ is not bytes else monotonic() - began)
        if not exchange.claim():
            return False  # the watcher of deadlines has answered and passed the connection on
        if self._stopping:
            exchange.keep_alive = False
        exchange.send(response)
        if response.upgrade is not None:
            self._upgrade(connection, response)
            return False
        if exchange.keep_alive:
            return True
        self._finish(connection)
        return False

    def _usual(self, request: Request) -> float:
        return self._paces.get((request.method, request.path), 1.0)

    def _note_pace(self, request: Request, seconds: float) -> None:
        """Remember how long such calls take, the late ones weighing more."""
        key = (request.method, request.path)
        before = self._paces.get(key)
        if before is None and len(self._paces) >= _PATHS:
            self._paces.clear()
        self._paces[key] = seconds if before is None else before + (seconds - before) / 8

    def _ask(self, request: Request, early: Any) -> Response:
        app = self._app_for(request.path)
        if app is not None:
            return app.answer(request, early)
        if request.path == "*":  # OPTIONS of the server as a whole (RFC 9110 section 9.3.7)
            return Response(204, [("Allow", "GET, HEAD, OPTIONS, POST")])
        request_id = new_request_id()
        body = problem(404, f"nothing is served at {request.path[:200]}", request_id)
        return Response(404, [("Content-Type", "application/problem+json"), ("X-Request-ID", request_id)], body)

    def _answer_early(self, connection: Connection, exchange: Exchange, response: Response) -> bool:
        if not exchange.claim():
            return False
        assert isinstance(response.body, bytes)
        if connection.try_send(exchange.encode(response, response.body)) and exchange.keep_alive:
            self._go_on(connection)
        else:
            self._close(connection)
        return True

    def _go_on(self, connection: Connection) -> None:
        """After an early answer: the client's next request may have been read already, and no event tells of it."""
        assert self._watcher is not None
        try:
            following = connection.take_request()
        except ProtocolError as error:
            connection.refuse(error)
            self._finish(connection)
        except OSError:
            self._close(connection)
        else:
            if following is not None:
                self._watcher.give_away(connection)
            self._give_back(connection, following)

    def _upgrade(self, connection: Connection, response: Response) -> None:
        assert response.upgrade is not None
        assert self._watcher is not None
        rest = connection.upgrade(response.upgrade)
        self._forget(connection)
        work = connection.upgraded.received(rest) if rest and connection.upgraded is not None else None
        self._watcher.park(connection)
        if work is not None:
            work()

    # leaving a worker

    def _give_back(self, connection: Connection, request: Request | None) -> None:
        """Let the watcher have the connection, or the end of the queue if its next request is there already."""
        assert self._watcher is not None
        if self._stopping:
            self._finish(connection)
        elif request is not None:
            # Without a pause: it goes behind those that wait already.
            self._hand_over(connection, request)
        else:
            self._forget(connection)
            self._watcher.park(connection)

    def _finish(self, connection: Connection) -> None:
        """Close after the answer: the client's unread bytes would otherwise reset the connection under it."""
        assert self._watcher is not None
        try:
            connection.shut_writing()
        except OSError:
            self._close(connection)
            return
        self._forget(connection)
        self._watcher.park(connection)

    def _close(self, connection: Connection) -> None:
        assert self._watcher is not None
        self._watcher.close(connection)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._active.discard(connection)
        if self._stopping:
            with self._idle:
                self._idle.notify_all()


def _logged(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        _log.exception("work for a connection failed")


_running: weakref.WeakSet[Listener] = weakref.WeakSet()


def _abandon_all() -> None:
    for listener in list(_running):
        listener.abandon()
    _running.clear()


# A child would keep the parent's port and connections open for as long as it lives.
os.register_at_fork(after_in_child=_abandon_all)
