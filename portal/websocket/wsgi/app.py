"""WebSocketWSGI: a WebSocket portal as a WSGI application, which holds a thread of its server for each connection.

    app.wsgi_app = mount(app.wsgi_app, portal.wsgi)              # Flask
    application = mount(get_wsgi_application(), portal.wsgi)     # Django

It runs on gunicorn's gthread worker, on werkzeug and Flask's development server, and on wsgiref with threads, as
Django's runserver. Servers that give no access to sockets, such as waitress, get 501.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from time import time
from typing import TYPE_CHECKING, Protocol

from ..._internal.closing import close_and_log
from ..._internal.executor import WorkerPool
from ...context import new_request_id
from ...errors import ProtocolError
from ...http11.response_head import encode_head, status_line
from ...network.problem_response import problem_response
from ...serving import Request, Response, Run, ServingConfig
from ...serving.loop.leader import Leadership
from ...serving.loop.upgraded_work import UpgradedWork
from .environ import request_of, socket_of
from .socket_channel import SocketChannel, SocketChannels

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["WebSocketWSGI"]


class App(Protocol):
    """Responds to handshakes, such as a WebSocketApp."""

    def handle(self, request: Request) -> Response:
        """Return the response to a request."""


class _Leader:
    """Each connection has the thread that reads it, which may do its short work."""

    can_serve_inline = True


class WebSocketWSGI:
    """A WSGI application that accepts WebSocket connections.

    Args:
        app: responds to the handshakes.
        base_path: the path of the portal, for `mount`.
        config: limits of workers, input and output, as of a listener.
        prepare: called before each handshake, to start the services of the portal.

    Threads: any. Fork: the workers start in the child that uses them.
    """

    def __init__(
        self,
        app: App,
        *,
        base_path: str,
        config: ServingConfig,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self.base_path = base_path
        self._app = app
        self._config = config
        self._prepare = prepare

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a handshake, and serve the connection if it is accepted."""
        try:
            self._prepare()
            request = request_of(environ)
            response = self._app.handle(request)
            if response.upgrade is None:
                return _reject(response, start_response)
            sock, mode = socket_of(environ)
        except ProtocolError as error:
            return _reject(problem_response(error, new_request_id()), start_response)
        head = encode_head(101, response.headers, keep_alive=True, now=time())
        SocketChannel(sock, request.peer, self._channels).serve(response.upgrade, head)
        raise _end(mode)

    @cached_property
    def _channels(self) -> SocketChannels:
        config = self._config
        return SocketChannels(
            max_output=config.max_output,
            max_input=config.max_input,
            max_unknown_input=config.max_unknown_input,
            write_timeout=config.write_timeout,
            min_write_rate=config.min_write_rate,
            run=self._runner,
            run_in_worker=self._work.run_in_worker,
        )

    @cached_property
    def _pool(self) -> WorkerPool:
        config = self._config
        return WorkerPool(config.workers, config.queue, name="portal-wsgi", limits=config.key_limits())

    @cached_property
    def _work(self) -> UpgradedWork:
        return UpgradedWork(_Leader(), self._pool, max_wait=self._config.max_wait)

    def _runner(self) -> Run:
        return self._work.runner(Leadership(threading.Lock()))

    def close(self) -> None:
        """End the workers."""
        if "_pool" in vars(self):
            self._pool.shutdown(wait=False, cancel_futures=True)


def _reject(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    body = response.body
    if not isinstance(body, bytes):
        body, source = b"".join(body), body
        close_and_log(source, "the body of a response")
    hop_by_hop = ("connection", "upgrade")  # of the outer server (PEP 3333)
    headers = [(name, value) for name, value in response.headers if name.lower() not in hop_by_hop]
    start_response(status_line(response.status), [*headers, ("Content-Length", str(len(body)))])
    return [body]


def _end(mode: str) -> Exception:
    """Return what lets the server forget the connection without a response."""
    return StopIteration() if mode == "gunicorn" else ConnectionAbortedError("the WebSocket connection has ended")
