"""Real WSGI servers for tests, and a portal to serve. Those of packages that are not installed skip the test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import socket
import socketserver
import subprocess
import sys
import threading
import wsgiref.simple_server
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import portal
from portal import HTTPPortal
from portal.http.server.wsgi import WSGIApp

__all__ = [
    "FUNCTIONS",
    "WAIT",
    "ask",
    "environment",
    "make_portal",
    "under_gunicorn",
    "under_waitress",
    "under_werkzeug",
    "under_wsgiref",
]

ROOT = pathlib.Path(portal.__file__).parent.parent
WAIT = 20.0  # seconds
#: A module with a portal, which servers of other processes import.
FUNCTIONS = """
import threading
from collections.abc import Iterator
from portal import HTTPPortal, function

def add(a: float, b: float) -> float:
    return a + b

def length(text: str) -> int:
    return len(text)

def nothing() -> None:
    return None

def blob() -> str:
    return "x" * 12_000_000  # more than the kernel takes at once

def fails() -> int:
    raise RuntimeError("inside")

def slow(seconds: float) -> str:
    threading.Event().wait(seconds)
    return "done"

def count(to: int) -> Iterator[int]:
    yield from range(to)

def breaks() -> Iterator[int]:
    yield 1
    raise RuntimeError("inside")

http = HTTPPortal()
for one in (add, length, nothing, blob, fails, slow, count, breaks, function(name="größe")(add)):
    http.apply(one)
application = http.wsgi
"""


def make_portal() -> tuple[HTTPPortal, WSGIApp]:
    """Return the portal of FUNCTIONS, and its WSGI application."""
    names: dict[str, Any] = {"__name__": "wsgi_functions"}
    exec(compile(FUNCTIONS, "wsgi_functions", "exec", dont_inherit=True), names)
    return names["http"], names["application"]


@contextlib.contextmanager
def threaded(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(WAIT)


class QuietHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """A test prints no log."""


class ThreadingServer(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


@contextlib.contextmanager
def under_wsgiref(app: Any) -> Iterator[int]:
    """Serve an application, and return the port."""
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, ThreadingServer, QuietHandler)
    with threaded(lambda: server.serve_forever(0.02), server.shutdown):
        yield server.server_port
    server.server_close()


@contextlib.contextmanager
def under_werkzeug(app: Any) -> Iterator[int]:
    """Serve an application, and return the port."""
    serving = pytest.importorskip("werkzeug.serving")

    class Quiet(serving.WSGIRequestHandler):  # type: ignore[misc, name-defined]
        def log(self, *arguments: object) -> None:
            """A test prints no log."""

    server = serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    with threaded(lambda: server.serve_forever(0.02), server.shutdown):
        yield server.server_port
    server.server_close()


@contextlib.contextmanager
def under_waitress(app: Any, **options: int) -> Iterator[int]:
    """Serve an application with 4 threads, and return the port."""
    waitress = pytest.importorskip("waitress")
    channels: dict[Any, Any] = {}
    options |= {"port": 0, "threads": 4}
    server = waitress.create_server(app, host="127.0.0.1", map=channels, asyncore_loop_timeout=0.02, **options)

    def stop() -> None:
        server.stopping = True
        server.pull_trigger()

    def serve() -> None:
        while not getattr(server, "stopping", False):
            server.asyncore.loop(timeout=0.02, map=channels, count=1)

    with threaded(serve, stop):
        yield server.effective_port
    server.task_dispatcher.shutdown()
    server.asyncore.close_all(channels, ignore_all=True)


def environment(*more: pathlib.Path) -> dict[str, str]:
    """Return the environment of a process that imports `portal` and modules in these directories."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *more)))}


@contextlib.contextmanager
def under_gunicorn(directory: pathlib.Path, target: str, *options: str) -> Iterator[int]:
    """Serve an application of a module in a directory with 2 worker processes, and return the port."""
    pytest.importorskip("gunicorn")
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listening.getsockname()[1]
    arguments = ["--bind", f"fd://{listening.fileno()}", "--workers", "2", "--graceful-timeout", "2", *options]
    with (directory / "gunicorn.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--chdir", str(directory), *arguments, target],
            stdout=log, stderr=log, env=environment(directory), pass_fds=[listening.fileno()],
        )  # fmt: skip
        listening.close()  # the arbiter and its workers alone hold it now
        try:
            yield port
        finally:
            process.terminate()
            process.wait(WAIT)


def ask(host: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request, and return the status, the headers with lower-case names, and the body."""
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        if body is not None and not isinstance(body, bytes):
            body, fields = json.dumps(body).encode(), {"Content-Type": "application/json"} | fields
        # A server may respond to a body that is too large, and close, before it has read all of it.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method, path, body, fields)
        with connection.getresponse() as response:
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()
