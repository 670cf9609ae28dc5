"""Listener: accepts connections, parks idle ones in a selector, lets workers serve those that are ready.

    accept -> parked -> (readable) -> worker: read, answer, linger -> parked -> ... -> closed

The selector thread accepts, reads until a request is whole, times out and drains; it never runs an app. A worker has a
connection to itself until it parks it again. Listening socket and reason phrases come from stdlib http.server.
"""

from __future__ import annotations

import errno
import http.server
import logging
import selectors
import socket
import socketserver
import threading
from collections import deque
from time import monotonic, time
from typing import Any

from ..errors import ConfigError, OverloadedError, ProtocolError, TransportError
from ..executor import WorkerPool
from .answer import error_answer, problem
from .config import ServingConfig
from .connection import Connection, Exchange
from .head import HeadCache
from .request import App, Request, Response

__all__ = ["Listener"]

_log = logging.getLogger("portal.serving")
_SWEEP = 0.5  # seconds between looks at the deadlines of parked connections
_BUSY = "every worker is busy"


class _Socket(http.server.HTTPServer):
    """The listening socket of http.server, without its one-request-at-a-time loop."""

    def __init__(self, host: str, port: int, backlog: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.request_queue_size = backlog
        super().__init__((host, port), http.server.BaseHTTPRequestHandler)
        self.socket.setblocking(False)

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks DNS for the host's full name, which can take seconds and is not needed here.
        socketserver.TCPServer.server_bind(self)


class Listener:
    """One listening address, many apps by path prefix.

    Args:
        host, port: where to listen; port 0 takes a free one, which `port` then tells.
        config: limits and waits.

    Threads: any may mount, start and stop.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, config: ServingConfig | None = None) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            raise ConfigError(f"port is {port!r}", path="port", allowed="0 to 65535")
        self.host = host
        self.port = port
        self.config = config or ServingConfig()
        self._apps: tuple[tuple[str, App], ...] = ()
        self._lock = threading.Lock()  # guards starting, stopping and mounting
        self._running = False
        self._server: _Socket | None = None

    # what it serves

    def mount(self, prefix: str, app: App) -> None:
        """Serve `app` under a path prefix ("/api"); the longest prefix that fits a path gets it."""
        with self._lock:
            if any(known == prefix for known, _ in self._apps):
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
        """Whether it accepts connections."""
        return self._running

    def start(self) -> None:
        """Bind and serve; nothing happens if it serves already.

        Raises: TransportError when the address is in use or not of this machine.
        """
        with self._lock:
            if self._running:
                return
            self._server = self._bind()
            self.port = int(self._server.server_address[1])
            self._cache = HeadCache()
            self._pool = WorkerPool(self.config.workers, self.config.queue, name="portal-serve")
            self._selector = selectors.DefaultSelector()
            self._wake_out, self._wake_in = socket.socketpair()
            self._wake_out.setblocking(False)
            self._wake_in.setblocking(False)
            self._returned: deque[Connection] = deque()
            self._parked: dict[int, Connection] = {}
            self._active: set[Connection] = set()
            self._accepted = self._refused = 0
            self._selector.register(self._server.socket, selectors.EVENT_READ, None)
            self._selector.register(self._wake_out, selectors.EVENT_READ, None)
            self._stopped = threading.Event()
            self._running = True
            self._idle = threading.Condition()  # guards _active
            self._thread = threading.Thread(target=self._watch, name="portal-listener", daemon=True)
            self._thread.start()

    def _bind(self) -> _Socket:
        try:
            return _Socket(self.host, self.port, self.config.backlog)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
            raise TransportError(
                f"{self.host}:{self.port} {reason}", may_have_executed=False, retryable=False, cause=error
            ) from error

    def stop(self, grace: float | None = None) -> None:
        """Accept no more, close idle connections, let running calls finish for `grace` seconds, then cut them.

        May be called twice and from any thread but a worker.
        """
        with self._lock:
            if not self._running:
                return
            self._running = False
            self._stopped.set()
            self._wake()
            self._thread.join()
            with self._idle:
                self._idle.wait_for(lambda: not self._active, self.config.grace if grace is None else grace)
                left = list(self._active)
            for connection in left:
                connection.close()
            self._pool.shutdown(wait=True, cancel_futures=True, timeout=0.5)
            self._wake_in.close()
            self._wake_out.close()

    def stats(self) -> dict[str, Any]:
        """Connections accepted, refused, parked and being served, and the workers; reads without a lock."""
        if self._server is None:
            return {"running": False}
        return {
            "running": self._running,
            "accepted": self._accepted,
            "refused": self._refused,
            "parked": len(self._parked),
            "active": len(self._active),
            **self._pool.stats(),
        }

    # the selector thread

    def _watch(self) -> None:
        assert self._server is not None
        next_sweep = monotonic() + _SWEEP
        while self._running:
            for key, _ in self._selector.select(max(0.0, next_sweep - monotonic())):
                if key.fileobj is self._server.socket:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    self._clear_wake()
                else:
                    self._on_readable(key.data)
            while self._returned:
                self._park(self._returned.popleft())
            now = monotonic()
            if now >= next_sweep:
                self._sweep(now)
                next_sweep = now + _SWEEP
        self._end()

    def _accept(self) -> None:
        assert self._server is not None
        for _ in range(64):
            try:
                sock, peer = self._server.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of file descriptors, most likely: the connection stays ready, so trying again at once would spin.
                _log.warning("a connection could not be accepted: %s", error)
                self._stopped.wait(0.05)
                return
            self._accepted += 1
            if len(self._parked) + len(self._active) >= self.config.connections:
                self._refused += 1
                sock.close()
                continue
            connection = Connection(sock, str(peer[0]), self.config, self._cache)
            self._parked[sock.fileno()] = connection
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _on_readable(self, connection: Connection) -> None:
        if connection.draining:
            if connection.drain():
                self._drop(connection)
            return
        request = self._read_parked(connection)
        if request is None:
            return
        self._unpark(connection)
        with self._idle:
            self._active.add(connection)
        try:
            self._pool.submit(self._serve, connection, request)
        except OverloadedError:
            self._refused += 1
            connection.try_send(error_answer(503, _BUSY, now=time(), retry_after=1))
            self._finish(connection)

    def _read_parked(self, connection: Connection) -> Request | None:
        """A whole request, which is a worker's work; part of one costs no worker, however slowly it comes."""
        try:
            request = connection.read_ready()
        except ProtocolError as error:
            connection.refuse(error)
            self._drain(connection)
            return None
        except OSError:
            self._drop(connection)
            return None
        if request is None:
            connection.note_parked(monotonic())
        return request

    def _drain(self, connection: Connection) -> None:
        try:
            connection.shut_writing()
        except OSError:
            self._drop(connection)

    def _park(self, connection: Connection) -> None:
        if connection.closed:
            return
        now = monotonic()
        if not connection.draining:
            connection.note_parked(now)
        try:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        except (ValueError, KeyError, OSError):  # closed by another thread a moment ago
            connection.close()
            return
        self._parked[connection.socket.fileno()] = connection

    def _unpark(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        del self._parked[connection.socket.fileno()]

    def _drop(self, connection: Connection) -> None:
        self._unpark(connection)
        connection.close()

    def _sweep(self, now: float) -> None:
        for connection in [one for one in self._parked.values() if one.deadline <= now]:
            if connection.waits_inside_request and not connection.draining:
                connection.try_send(error_answer(408, "the request did not arrive in time", now=time()))
            self._drop(connection)

    def _end(self) -> None:
        assert self._server is not None
        self._server.server_close()
        for connection in list(self._parked.values()):
            self._drop(connection)
        self._selector.close()

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"\0")
        except BlockingIOError:
            _log.debug("the selector has a wake-up waiting already")

    def _clear_wake(self) -> None:
        try:
            self._wake_out.recv(4096)
        except BlockingIOError:
            _log.debug("the wake-up was taken already")

    # the workers

    def _serve(self, connection: Connection, request: Request) -> None:
        try:
            while self._answer(connection, request):
                following = connection.next_request()
                if following is None:
                    self._give_back(connection)
                    return
                request = following
        except ProtocolError as error:
            connection.refuse(error)
            self._finish(connection)
        except OSError:
            self._close(connection)
        except Exception:
            _log.exception("serving a connection failed")
            self._close(connection)

    def _answer(self, connection: Connection, request: Request) -> bool:
        """Answer one request; whether the connection is still this worker's."""
        exchange = Exchange(connection, request.head, keep_alive=self._running)

        def early(response: Response) -> bool:
            return self._answer_early(connection, exchange, response)

        response = self._ask(request, early)
        if not exchange.claim():
            return False  # the watcher has answered and passed the connection on
        exchange.send(response)
        if exchange.keep_alive and self._running:
            return True
        self._finish(connection)
        return False

    def _ask(self, request: Request, early: Any) -> Response:
        app = self._app_for(request.path)
        if app is None:
            body = problem(404, f"nothing is served at {request.path[:200]}")
            return Response(404, [("Content-Type", "application/problem+json")], body)
        return app.answer(request, early)

    def _answer_early(self, connection: Connection, exchange: Exchange, response: Response) -> bool:
        if not exchange.claim():
            return False
        assert isinstance(response.body, bytes)
        if connection.try_send(exchange.encode(response, response.body)) and exchange.keep_alive:
            self._give_back(connection)
        else:
            self._close(connection)
        return True

    # leaving a worker

    def _give_back(self, connection: Connection) -> None:
        if not self._running:
            self._close(connection)
            return
        self._forget(connection)
        self._returned.append(connection)
        self._wake()

    def _finish(self, connection: Connection) -> None:
        """Close after the answer: the client's unread bytes would otherwise reset the connection under it."""
        try:
            connection.shut_writing()
        except OSError:
            self._close(connection)
            return
        if self._running:
            self._forget(connection)
            self._returned.append(connection)
            self._wake()
        else:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.close()
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._idle:
            self._active.discard(connection)
            if not self._active:
                self._idle.notify_all()


