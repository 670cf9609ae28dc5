"""The HTTP portal as a WSGI application, under real servers and inside real frameworks."""

from __future__ import annotations

import contextlib
import http.client
import io
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
from time import monotonic
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import portal
from portal import (
    BearerAuth,
    CallTimeout,
    ConfigError,
    Consumer,
    FunctionError,
    HTTPPortal,
    RegistryError,
    Service,
    ValidationError,
    function,
)
from portal.http.server.mount import mount
from portal.http.server.wsgi import WSGIApp
from portal.serving import Request, Response

ROOT = pathlib.Path(portal.__file__).parent.parent
WAIT = 20.0
FUNCTIONS = """
import threading
from collections.abc import Iterator
from portal import Function, HTTPPortal, function
from portal.http.server.wsgi import WSGIApp

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
application = getattr(http, "wsgi", None) or WSGIApp(http._app)
"""


def made() -> tuple[HTTPPortal, WSGIApp]:
    names: dict[str, Any] = {"__name__": "wsgi_functions"}
    exec(compile(FUNCTIONS, "wsgi_functions", "exec", dont_inherit=True), names)
    return names["http"], names["application"]


# servers


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
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, ThreadingServer, QuietHandler)
    with threaded(lambda: server.serve_forever(0.02), server.shutdown):
        yield server.server_port
    server.server_close()


@contextlib.contextmanager
def under_werkzeug(app: Any) -> Iterator[int]:
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
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *more)))}


@contextlib.contextmanager
def under_gunicorn(directory: pathlib.Path, target: str, *options: str) -> Iterator[int]:
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


@pytest.fixture(scope="module", params=["wsgiref", "werkzeug", "waitress", "gunicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a server of the whole portal."""
    if request.param == "gunicorn":
        directory = tmp_path_factory.mktemp("served")
        (directory / "wsgi_functions.py").write_text(FUNCTIONS)
        with under_gunicorn(directory, "wsgi_functions", "--worker-class", "gthread", "--threads", "4") as port:
            yield f"127.0.0.1:{port}"
        return
    under = {"wsgiref": under_wsgiref, "werkzeug": under_werkzeug, "waitress": under_waitress}[request.param]
    http_portal, app = made()
    # werkzeug's own environ does not pass the validator
    with http_portal, under(app if request.param == "werkzeug" else validator(app)) as port:
        yield f"127.0.0.1:{port}"


def ask(host: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, timeout=WAIT)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        if body is not None and not isinstance(body, bytes):
            body, fields = json.dumps(body).encode(), {"Content-Type": "application/json"} | fields
        # A server may answer a body that is too large, and close, before it has read all of it.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method, path, body, fields)
        with connection.getresponse() as answer:
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_a_consumer_gets_results_streams_and_errors(server: str) -> None:
    with Consumer() as consumer:
        at = f"http://{server}/api"
        assert consumer.call_at(f"{at}/add", {"a": 1, "b": 2}) == 3.0
        assert consumer.call_at(f"{at}/größe", {"a": 1, "b": 2}) == 3.0
        assert consumer.call_at(f"{at}/length", {"text": "é" * 100_000}) == 100_000
        assert consumer.call_at(f"{at}/nothing") is None
        assert list(consumer.stream_at(f"{at}/count", {"to": 3})) == [0, 1, 2]
        with pytest.raises(ValidationError):
            consumer.call_at(f"{at}/add", {"a": "1", "b": 2})
        with pytest.raises(FunctionError):
            consumer.call_at(f"{at}/fails")
        with pytest.raises(RegistryError):
            consumer.call_at(f"{at}/unknown")


def slow_reader(port: int) -> socket.socket:
    """Return the connection of a client that has asked for 12 MB, and reads no more than the first bytes."""
    sock = socket.socket()
    try:
        sock.settimeout(WAIT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(port)))
        sock.sendall(b"POST /api/blob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert sock.recv(9) == b"HTTP/1.1 "
    except BaseException:
        sock.close()
        raise
    return sock


def test_a_slow_reader_takes_one_thread_of_a_gthread_worker(tmp_path: pathlib.Path) -> None:
    """It is gunicorn that writes: its thread is busy until the client has read the response."""
    (tmp_path / "wsgi_functions.py").write_text(FUNCTIONS)
    options = ("--workers", "1", "--worker-class", "gthread", "--threads", "4")
    with under_gunicorn(tmp_path, "wsgi_functions", *options) as port, contextlib.ExitStack() as slow:
        readers = [slow.enter_context(slow_reader(port)) for _ in range(3)]
        for _ in range(5):
            assert ask(f"127.0.0.1:{port}", "POST", "/api/add", {"a": 1, "b": 2})[2] == b"3.0"
        readers.append(slow.enter_context(slow_reader(port)))
        done = threading.Event()
        found: list[bytes] = []

        def call() -> None:
            found.append(ask(f"127.0.0.1:{port}", "POST", "/api/add", {"a": 1, "b": 2})[2])
            done.set()

        waiting = threading.Thread(target=call, daemon=True)
        waiting.start()
        assert not done.wait(0.5)  # the fourth one has taken the last thread
        readers[0].close()
        assert done.wait(WAIT)
        assert found == [b"3.0"]


def test_a_slow_reader_takes_no_thread_of_waitress() -> None:
    """It keeps the response, and its main thread writes it."""
    http_portal, app = made()
    in_memory = 1 << 30  # it closes no temporary file when it is stopped
    with http_portal, under_waitress(app, outbuf_overflow=in_memory) as port, contextlib.ExitStack() as slow:
        for _ in range(6):  # there are four threads
            slow.enter_context(slow_reader(port))
        for _ in range(5):
            assert ask(f"127.0.0.1:{port}", "POST", "/api/add", {"a": 1, "b": 2})[2] == b"3.0"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", "/api/add", {"a": "x", "b": 2}, {}, 422, "validation_error"),
        ("POST", "/api/unknown", {}, {}, 404, "registry_error"),
        ("GET", "/elsewhere", None, {}, 404, "registry_error"),
        ("GET", "/apix/add", None, {}, 404, "registry_error"),
        ("POST", "/api/fails", {}, {}, 500, "function_error"),
        ("PUT", "/api/add", {}, {}, 405, "protocol_error"),
        ("POST", "/api/add", b"{", {"Content_Type": "application/json"}, 400, "serialization_error"),
        ("POST", "/api/add", b"a=1", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "protocol_error"),
        ("POST", "/api/add", {"a": 1, "b": 2}, {"X_Portal_Timeout": "soon"}, 400, "protocol_error"),
        ("POST", "/api/count", {"to": 1}, {"Accept": "text/html"}, 406, "protocol_error"),
    ],
)
def test_a_rejected_request_gets_a_problem_document(
    server: str, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    answered, fields, text = ask(server, method, path, body, **headers)
    assert answered == status
    assert fields["content-type"] == "application/problem+json"
    problem = json.loads(text)
    assert problem["code"] == code
    assert problem["request_id"] == fields["x-request-id"]
    assert b"inside" not in text


def test_a_large_body_is_rejected(server: str, request: pytest.FixtureRequest) -> None:
    try:
        status, fields, _ = ask(server, "POST", "/api/length", {"text": "x" * 1_100_000})
    except ConnectionError:
        # wsgiref closes at once, and the body it has not read resets the connection, at times under the answer
        assert request.node.callspec.params["server"] == "wsgiref"
    else:
        assert (status, fields["content-type"]) == (413, "application/problem+json")


def test_responses_have_the_request_id(server: str) -> None:
    _, fields, _ = ask(server, "POST", "/api/add", {"a": 1, "b": 2}, X_Request_ID="mine-1")
    assert fields["x-request-id"] == "mine-1"
    _, replaced, _ = ask(server, "POST", "/api/add", {"a": 1, "b": 2}, X_Request_ID="mine-1,proxy-1")
    assert "mine-1" not in replaced["x-request-id"]
    assert "transfer-encoding" not in fields
    assert fields["content-length"] == "3"


def test_the_response_comes_at_the_deadline_while_the_function_runs(server: str) -> None:
    begun = monotonic()
    status, _, body = ask(server, "POST", "/api/slow", {"seconds": 5}, X_Portal_Timeout="100")
    assert (status, json.loads(body)["code"]) == (504, "timeout")
    assert monotonic() - begun < 4
    status, _, body = ask(server, "POST", "/api/slow", {"seconds": 0.01}, X_Portal_Timeout="10000")
    assert (status, body) == (200, b'"done"')


def test_a_consumer_gets_its_timeout(server: str) -> None:
    with Consumer() as consumer, pytest.raises(CallTimeout):
        consumer.call_at(f"http://{server}/api/slow", {"seconds": 5}, timeout=0.3)


def test_head_and_options(server: str) -> None:
    full = ask(server, "GET", "/api/add")
    status, fields, body = ask(server, "HEAD", "/api/add")
    assert (status, body) == (200, b"")
    assert fields["content-length"] == str(len(full[2])) == full[1]["content-length"]
    status, fields, body = ask(server, "OPTIONS", "/api/add")
    assert (status, body) == (204, b"")
    assert "POST" in fields["allow"]


def test_a_body_without_a_type(server: str) -> None:
    connection = http.client.HTTPConnection(server, timeout=WAIT)
    connection.putrequest("POST", "/api/nothing")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{}")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"null")
    connection.close()


def test_versions_by_query(server: str) -> None:
    assert ask(server, "GET", "/api/add?version=7")[0] == 404
    status, _, body = ask(server, "GET", "/api/add?version=%3E%3D0")
    assert (status, json.loads(body)["name"]) == (200, "add")


def test_a_stream_is_sent_as_lines_or_events(server: str) -> None:
    status, fields, body = ask(server, "POST", "/api/count", {"to": 3}, Accept="application/x-ndjson")
    assert (status, fields["content-type"], body) == (200, "application/x-ndjson", b"0\n1\n2\n")
    status, fields, body = ask(server, "POST", "/api/count", {"to": 1}, Accept="text/event-stream")
    assert (status, fields["content-type"]) == (200, "text/event-stream")
    assert body == b"data: 0\n\nevent: complete\ndata: null\n\n"


def test_a_failed_stream_ends_with_its_error(server: str) -> None:
    _, _, body = ask(server, "POST", "/api/breaks", {}, Accept="text/event-stream")
    assert body.startswith(b"data: 1\n\nevent: error\n")
    assert b"inside" not in body


def test_a_chunked_body(server: str, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["server"] == "wsgiref":
        pytest.skip("wsgiref hands chunks on undecoded: 411, as the table below has it")
    with contextlib.closing(http.client.HTTPConnection(server, timeout=WAIT)) as connection:
        pieces = iter([b'{"a": 1', b', "b": 2}'])
        connection.request("POST", "/api/add", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        with connection.getresponse() as answer:
            assert (answer.status, answer.read()) == (200, b"3.0")


def test_a_chunked_body_that_is_too_large(server: str, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["server"] != "gunicorn":
        pytest.skip("the others keep no promise of an answer to what is still being sent")
    with contextlib.closing(http.client.HTTPConnection(server, timeout=WAIT)) as connection:
        pieces = iter([b'{"text": "', b"x" * 1_100_000, b'"}'])
        connection.request("POST", "/api/length", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        with connection.getresponse() as answer:
            assert answer.status == 413


# the application by itself


def environ(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"PATH_INFO": "/api/add", "REMOTE_ADDR": "192.0.2.1"} | changes
    setup_testing_defaults(values)
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("host", ["", "a%zz", "x:99999", "(a)", "x,y", "shop.example"])
def test_a_listing_accepts_any_host(host: str) -> None:
    """As with the listener. The addresses have the client's Host if it is a valid one."""
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        status, body = answer_of(portal.wsgi, environ(PATH_INFO="/api", HTTP_HOST=host))
    address = json.loads(body)["functions"][0]["address"]
    assert status == "200 OK"
    assert address.startswith("http://shop.example/api/" if host == "shop.example" else "http://")


def len_of(text: str) -> int:
    return len(text)


def answer_of(app: Any, given: dict[str, Any]) -> tuple[str, bytes]:
    told: list[str] = []
    body = b"".join(app(given, lambda status, headers: told.append(status)))
    return told[0], body


class Kept:
    """An app that records its requests and returns the same response to each."""

    def __init__(self, response: Response | None = None) -> None:
        self.requests: list[Any] = []
        self.response = response or Response(200, [("Content-Type", "text/plain")], b"kept")

    def handle(self, request: Request) -> Response:
        assert request.share() is None
        self.requests.append(request)
        return self.response


def reply(app: Any, **changes: Any) -> tuple[int, list[tuple[str, str]], list[bytes]]:
    told: list[Any] = []
    pieces = app(environ(**changes), lambda status, headers: told.extend((status, headers)))
    try:
        data = list(pieces)
    finally:
        getattr(pieces, "close", lambda: None)()
    return int(told[0].split()[0]), told[1], data


@pytest.mark.parametrize(
    ("base", "script", "info", "raw", "path", "seen"),
    [
        ("/api", "", "/api/add/1", None, "/api/add/1", "/api"),
        ("/api", "", "/api", None, "/api", "/api"),
        ("/api", "/api", "/add", None, "/api/add", "/api"),
        ("/api", "/api", "", None, "/api", "/api"),
        ("/api", "/api", "/api/x", None, "/api/api/x", "/api"),  # a service named as the base path
        ("/api", "/site/api", "/add", None, "/api/add", "/site/api"),
        ("/api", "/site", "/api/add", None, "/api/add", "/site/api"),
        ("/api", "/rpc", "/add", None, "/api/add", "/rpc"),
        ("/api", "/rpc", "", None, "/api", "/rpc"),
        ("", "", "/add", None, "/add", ""),
        ("", "", "", None, "/", ""),
        ("", "/rpc", "/add", None, "/add", "/rpc"),
        ("/api", "", "/api/a b/\xc3\xa9?#", None, "/api/a%20b/%C3%A9%3F%23", "/api"),
        ("/api", "", "/api/a/b", "/api/a%2Fb?q=%2F", "/api/a%2Fb", "/api"),
        ("/api", "/\xc3\xa9", "/api/a/b", "/%C3%A9/api/a%2Fb", "/api/a%2Fb", "/%C3%A9/api"),
        ("/api", "", "/api/a/b", "http://x:1/api/a%2Fb", "/api/a%2Fb", "/api"),
        ("/api", "", "/api/a", "/other%2Fb", "/api/a", "/api"),  # the outer application has rewritten the path
    ],
)
def test_the_path_is_found_in_what_the_server_passes(
    base: str, script: str, info: str, raw: str | None, path: str, seen: str
) -> None:
    for name in ("RAW_URI", "REQUEST_URI"):
        app = Kept()
        status, _, _ = reply(
            WSGIApp(app, base_path=base), SCRIPT_NAME=script, PATH_INFO=info, HTTP_HOST="shop:81", **{name: raw}
        )
        assert status == 200
        assert app.requests[0].path == path
        assert app.requests[0].base == f"http://shop:81{seen}"


@pytest.mark.parametrize(
    ("script", "info", "raw"),
    [
        ("", "/api/add", "/api/%61dd"),
        ("", "/api/add", "/%61pi/add"),
        ("/api", "/add", "/%61pi/add"),  # the prefix that `mount` has taken
        ("/api", "/add", "http://shop/api/%61dd?a=b"),
        ("/site", "/api/add", "/%73ite/api/add"),
        ("", "/api/add@1", "/api/add%401"),
        ("", "/api/add%", "/api/add%"),
        ("", "/api/add@>=1", "/api/add@>=1"),
        ("", "/api/add@>=1", "/api/add@%3e=1"),
        ("", "/api/add/", None),
        ("", "/api//add", None),
        ("/api", "//add", None),
        ("", "/api/add", "//api/add"),  # as waitress removes the first slash
        ("", "/api/add", "/api//add"),
        ("", "/api/add", "/api/x/../add"),  # as uWSGI resolves dot segments
        ("", "/api/add", "/api/./add"),
        ("", "/api/add", "/api/%2e/add"),
    ],
)
def test_another_spelling_of_a_path_is_not_served(script: str, info: str, raw: str | None) -> None:
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        for name in ("RAW_URI", "REQUEST_URI"):
            changes = {
                "SCRIPT_NAME": script,
                "PATH_INFO": info.replace("add", "len_of"),
                "CONTENT_TYPE": "application/json",
            }
            if raw is not None:
                changes[name] = raw.replace("%61dd", "%6cen_of").replace("add", "len_of")
            assert reply(portal.wsgi, REQUEST_METHOD="GET", **changes)[0] == 404
            changes.pop(name, None)
            changes["PATH_INFO"] = "/len_of" if script == "/api" else "/api/len_of"
            assert reply(portal.wsgi, REQUEST_METHOD="GET", **changes)[0] == 200


@pytest.mark.parametrize("raw", ["/api/len_of#x", "/api/len_of?a#x", "http://shop/api/len_of#"])
def test_a_fragment_is_rejected(raw: str) -> None:
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        assert reply(portal.wsgi, PATH_INFO="/api/len_of", RAW_URI=raw)[0] == 400
        assert reply(portal.wsgi, PATH_INFO="/api/len_of", QUERY_STRING="a#x")[0] == 400


@pytest.mark.parametrize("auth", [None, BearerAuth({"t0ken": "ann"})])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/len_of", "/api/shop"])
def test_no_shared_cache_keeps_what_repeats_the_host(auth: Any, path: str) -> None:
    """The addresses of a listing have the client's Host. A cache whose key lacks it would give them to everybody."""
    with HTTPPortal(listen=False, auth=auth) as portal:
        portal.apply(len_of)
        portal.apply_service(Service("shop", [len_of]))
        for method in ("GET", "HEAD"):
            changes = {"HTTP_HOST": "evil.example", "HTTP_AUTHORIZATION": "Bearer t0ken", "REQUEST_METHOD": method}
            status, headers, _ = reply(portal.wsgi, PATH_INFO=path, **changes)
            assert status == 200
            assert [value for name, value in headers if name == "Cache-Control"] == ["private, no-store"]
        if path != "/api/len_of":
            assert b"evil.example" in b"".join(
                reply(portal.wsgi, PATH_INFO=path, **changes | {"REQUEST_METHOD": "GET"})[2]
            )


@pytest.mark.parametrize("info", ["", "/", "/other", "/apix", "*", "/ap"])
def test_nothing_is_served_outside_of_the_base_path(info: str) -> None:
    app = Kept()
    status, headers, data = reply(WSGIApp(app), PATH_INFO=info, REQUEST_METHOD="OPTIONS")
    assert (status, app.requests) == (404, [])
    assert dict(headers)["X-Request-ID"] == json.loads(data[0])["request_id"]


def test_the_request_that_the_app_gets() -> None:
    app = Kept()
    body = io.BytesIO(b"abcdef")
    reply(
        WSGIApp(app),
        REQUEST_METHOD="POST", QUERY_STRING="a=%20", CONTENT_TYPE="application/json", CONTENT_LENGTH="3",
        HTTP_X_ONE="1, 2", HTTP_CONTENT_TYPE="text/html", HTTP_CONTENT_LENGTH="9", SERVER_PROTOCOL="HTTP/1.1",
        **{"wsgi.input": body, "wsgi.url_scheme": "https"},
    )  # fmt: skip
    request = app.requests[0]
    assert (request.method, request.path, request.query, request.body) == ("POST", "/api/add", "a=%20", b"abc")
    assert (request.peer, request.secure, request.connection) == ("192.0.2.1", True, None)
    assert request.headers == {
        "host": "127.0.0.1", "x-one": "1, 2", "content-type": "application/json", "content-length": "3"
    }  # fmt: skip
    assert body.read() == b"def"


@pytest.mark.parametrize(
    ("changes", "host"),
    [
        ({"SERVER_NAME": "shop", "SERVER_PORT": "80"}, "shop"),
        ({"SERVER_NAME": "shop", "SERVER_PORT": "443", "wsgi.url_scheme": "https"}, "shop"),
        ({"SERVER_NAME": "shop", "SERVER_PORT": "8080"}, "shop:8080"),
        ({"SERVER_NAME": "::1", "SERVER_PORT": "81"}, "[::1]:81"),
    ],
)
def test_without_a_host_header_the_server_name_is_used(changes: dict[str, str], host: str) -> None:
    app = WSGIApp(kept := Kept())
    values = environ(**changes)
    del values["HTTP_HOST"]
    list(app(values, lambda status, headers: None))  # type: ignore[arg-type, misc, return-value]
    assert kept.requests[0].headers["host"] == host
    assert not kept.requests[0].secure or "https" in kept.requests[0].base


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (400, {"REQUEST_METHOD": "G ET"}),
        (400, {"REQUEST_METHOD": ""}),
        (400, {"REQUEST_METHOD": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"}),
        (400, {"QUERY_STRING": "a b"}),
        (400, {"QUERY_STRING": "a\r\nX: y"}),
        (400, {"QUERY_STRING": "\u20ac"}),
        (400, {"PATH_INFO": "/api/\u20ac"}),
        (400, {"PATH_INFO": "api/add", "SCRIPT_NAME": ""}),
        (400, {"HTTP_X_ONE": "a\r\nX-Portal-Timeout: 1"}),
        (400, {"HTTP_X_ONE": "a\nb"}),
        (400, {"HTTP_X_ONE": "a\r"}),
        (400, {"HTTP_X_ONE": "a\0"}),
        (400, {"HTTP_X_ONE": "\u20ac"}),
        (400, {"HTTP_X ONE": "a"}),
        (400, {"HTTP_HOST": "a b"}),
        (400, {"CONTENT_LENGTH": "x"}),
        (400, {"CONTENT_LENGTH": "-1"}),
        (400, {"CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": "chunked", "SERVER_PROTOCOL": "HTTP/1.1"}),
        (400, {"CONTENT_LENGTH": "5", "REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(b"abc")}),
        (400, {"HTTP_TRANSFER_ENCODING": "chunked"}),  # in HTTP/1.0
        (411, {"HTTP_TRANSFER_ENCODING": "chunked", "SERVER_PROTOCOL": "HTTP/1.1"}),
        (413, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "17"}),
        (414, {"PATH_INFO": "/api/" + "a" * 9000}),
        (417, {"HTTP_EXPECT": "more", "SERVER_PROTOCOL": "HTTP/1.1"}),
        (501, {"HTTP_TRANSFER_ENCODING": "gzip", "SERVER_PROTOCOL": "HTTP/1.1"}),
        (501, {"REQUEST_METHOD": "CONNECT", "PATH_INFO": "shop:80"}),
    ],
)
def test_invalid_requests_of_the_outer_server_are_rejected(status: int, changes: dict[str, Any]) -> None:
    app = Kept()
    answered, headers, data = reply(WSGIApp(app, max_body=16), **changes)
    assert (answered, app.requests) == (status, [])
    assert json.loads(data[0])["status"] == status
    assert dict(headers)["Content-Type"] == "application/problem+json"


class Source:
    """A wsgi.input that returns one byte at a time, or fails."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self.data = data
        self.error = error
        self.asked = 0

    def read(self, size: int) -> bytes:
        if self.error is not None:
            raise self.error
        self.asked += size
        first, self.data = self.data[:1], self.data[1:]
        return first


def body_of(source: Source, **changes: Any) -> Any:
    app = Kept()
    status, _, _ = reply(WSGIApp(app, max_body=4), **{"REQUEST_METHOD": "POST", "wsgi.input": source} | changes)
    return app.requests[0].body if app.requests else status


class SlowSource(Source):
    """A wsgi.input that takes longer than 2 ms."""

    def read(self, size: int) -> bytes:
        end = monotonic() + 0.002
        while monotonic() < end:
            pass
        return super().read(size)


@pytest.mark.parametrize(
    ("path", "body", "timeout"),
    [
        ("/api/mark", b"{}", "1"),
        ("/api/brief", b"{}", None),
        ("/api/items", b"{}", "1"),
        ("/api/rpc", b'[{"jsonrpc":"2.0","id":1,"method":"brief"},{"jsonrpc":"2.0","id":2,"method":"brief"}]', None),
        ("/api/rpc", b'[{"jsonrpc":"2.0","id":1,"method":"mark"},{"jsonrpc":"2.0","id":2,"method":"mark"}]', "1"),
    ],
)
def test_a_deadline_counts_from_the_moment_at_which_the_application_is_called(
    path: str, body: bytes, timeout: str | None
) -> None:
    ran: list[str] = []

    def items() -> Iterator[int]:
        ran.append("items")
        yield 1

    given = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "wsgi.input": SlowSource(body)}
    given |= {"HTTP_X_PORTAL_TIMEOUT": timeout, "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"}
    with HTTPPortal(listen=False) as portal:
        portal.apply(function(name="mark")(lambda: ran.append("mark")))
        portal.apply(function(name="brief", timeout=0.001)(lambda: ran.append("brief")))
        portal.apply(items)
        _, _, pieces = reply(portal.wsgi, **given)
        found = json.loads(b"".join(pieces))
        assert portal.stats()["expired"] == (2 if path == "/api/rpc" else 1)
    if path == "/api/rpc":
        assert [(row["error"]["code"], row["error"]["data"]["delivery"]) for row in found] == [(-32004, "not_sent")] * 2
    else:
        assert (found["status"], found["delivery"]) == (504, "not_sent")
    assert ran == []


@pytest.mark.parametrize("kind", ["call", "batch", "stream", "own timeout"])
def test_abandoned_calls_leave_threads_for_other_functions_and_clients(kind: str) -> None:
    gate = threading.Event()

    def items() -> Iterator[bool]:
        yield gate.wait(120)

    def post(path: str, value: Any, peer: str, timeout: str | None = "100") -> tuple[int, dict[str, str], Any]:
        body = json.dumps(value).encode()
        given = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "REMOTE_ADDR": peer, "wsgi.input": io.BytesIO(body)}
        given |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"}
        status, headers, pieces = reply(portal.wsgi, **given, HTTP_X_PORTAL_TIMEOUT=timeout)
        return status, {name.lower(): text for name, text in headers}, json.loads(b"".join(pieces))

    def start_stream() -> None:
        with pytest.raises(ConnectionAbortedError):
            post("/api/items", {}, "192.0.2.1")

    path, timeout = {"stream": "/api/items", "own timeout": "/api/brief"}.get(kind, "/api/hold"), "100"
    message = {"jsonrpc": "2.0", "id": 1, "method": "hold"}

    with HTTPPortal(listen=False) as portal:
        portal.apply(function(name="hold")(lambda: gate.wait(120)))
        portal.apply(function(name="brief", timeout=0.1)(lambda: gate.wait(120)))
        portal.apply(function(name="mark")(lambda: "mark"))
        portal.apply(items)
        try:
            if kind == "batch":
                rows = [row for number in range(5) for row in post("/api/rpc", [message] * 8, "192.0.2.1", "100")[2]]
                assert {row["error"]["code"] for row in rows} == {-32004}  # the first holds a thread, the others expire
                for _ in range(40):
                    post("/api/rpc", [message], "192.0.2.1")
            elif kind == "stream":
                for _ in range(40):
                    start_stream()
            else:
                found = [post(path, {}, "192.0.2.1", None if kind == "own timeout" else timeout) for _ in range(40)]
                statuses = [status for status, _, _ in found]
                # 24 hold a thread. On a busy machine, others pass their deadline before they have one.
                assert statuses == sorted(statuses, reverse=True)
                assert statuses.count(504) >= 24
                assert statuses[-1] == 503
                assert found[-1][1]["retry-after"] == "1"
            assert post("/api/mark", {}, "192.0.2.1", "20000")[::2] == (200, "mark")
            assert post("/api/mark", {}, "192.0.2.2", "20000")[::2] == (200, "mark")
            if kind != "stream":
                assert post(path, {}, "192.0.2.2")[2]["code"] == "overloaded"
            assert portal.stats()["limited"] > 0
        finally:
            gate.set()


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input_terminated": True}
FRAMED = {"SERVER_PROTOCOL": "HTTP/2", "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}


@pytest.mark.parametrize(
    ("source", "changes", "body"),
    [
        (Source(b"abcd"), {"CONTENT_LENGTH": "3"}, b"abc"),
        (Source(b"abcd"), {"CONTENT_LENGTH": "0"}, b""),
        (Source(b"abcd"), {"CONTENT_LENGTH": "", "REQUEST_METHOD": "GET"}, b""),
        (Source(b"ab"), {"CONTENT_LENGTH": "3"}, 400),
        (Source(b"abcd"), CHUNKED, b"abcd"),
        (Source(b"abcdefg"), CHUNKED, 413),
        (Source(b"", OSError("a bad chunk")), CHUNKED, 400),
        (Source(b"", ValueError("closed")), CHUNKED, 400),
        (Source(b"abcd"), FRAMED, b"abcd"),
        (Source(b"abcd"), FRAMED | {"wsgi.input_terminated": False, "CONTENT_TYPE": ""}, b""),
        (Source(b"abcd"), FRAMED | {"REQUEST_METHOD": "GET"}, b""),
    ],
)
def test_the_body_is_read_as_its_framing_says(source: Source, changes: dict[str, Any], body: Any) -> None:
    assert body_of(source, **changes) == body


def test_the_default_content_type_of_wsgiref_is_ignored() -> None:
    app = Kept()
    for software in ("WSGIServer/0.2", "WSGIServer", "WSGIServer CPython/3.15.2", "WSGIServer2", "other"):
        reply(WSGIApp(app), CONTENT_TYPE="text/plain", SERVER_SOFTWARE=software)
    kinds = [request.headers.get("content-type") for request in app.requests]
    assert kinds == [None, None, None, "text/plain", "text/plain"]


class Pieces:
    """A stream that records whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)

    def close(self) -> None:
        self.closed += 1


def test_streams_are_passed_on_piece_by_piece_and_closed() -> None:
    body = Pieces(b"a", b"", b"b")
    app = WSGIApp(Kept(Response(200, [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")], body)))
    status, headers, data = reply(app)
    assert (status, headers, data, body.closed) == (200, [("Content-Type", "text/plain")], [b"a", b"b"], 1)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_streams_of_bodiless_responses_are_closed_unread(method: str, status: int) -> None:
    body = Pieces(b"a")
    assert reply(WSGIApp(Kept(Response(status, [], body))), REQUEST_METHOD=method) == (status, [], [])
    assert (body.closed, next(body)) == (1, b"a")


@pytest.mark.parametrize("header", [("A b", "c"), ("A", "b\r\nc: d"), ("A", "b\0")])
def test_headers_with_line_breaks_are_rejected(header: tuple[str, str]) -> None:
    body = Pieces(b"a")
    status, headers, data = reply(WSGIApp(Kept(Response(200, [header], body))))
    assert (status, body.closed, json.loads(data[0])["status"]) == (500, 1, 500)
    assert header[0] not in dict(headers)


def test_headers_of_the_response() -> None:
    given = [("Connection", "close"), ("Date", "now"), ("X-One", "é€"), ("X-One", "2"), ("content-length", "99")]
    status, headers, data = reply(WSGIApp(Kept(Response(499, given, b"abc"))))
    assert (status, data) == (499, [b"abc"])
    assert headers == [("X-One", "é?"), ("X-One", "2"), ("Content-Length", "3")]


@pytest.mark.parametrize("settings", [{"base_path": "api"}, {"base_path": "/"}, {"max_body": 0}, {"max_body": True}])
def test_a_wrong_setting_is_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        WSGIApp(Kept(), **settings)


# inside frameworks


@pytest.fixture
def published() -> Iterator[WSGIApp]:
    http_portal, app = made()
    with http_portal:
        yield app


def flask_app() -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask("outer")
    app.add_url_rule("/hello", view_func=lambda: "hello", endpoint="hello")
    return app


def by_mount(portal_app: WSGIApp) -> Any:
    app = flask_app()
    app.wsgi_app = mount(app.wsgi_app, portal_app)
    return app


def by_dispatcher(portal_app: WSGIApp) -> Any:
    middleware = pytest.importorskip("werkzeug.middleware.dispatcher")
    app = flask_app()
    app.wsgi_app = middleware.DispatcherMiddleware(app.wsgi_app, {"/api": portal_app})
    return app


def by_route(portal_app: WSGIApp) -> Any:
    app = flask_app()
    app.add_url_rule(
        "/api/<path:below>", view_func=lambda below: portal_app, endpoint="api", methods=["GET", "HEAD", "POST"]
    )
    return app


@pytest.mark.parametrize("way", [by_mount, by_dispatcher, by_route])
def test_inside_flask(way: Callable[[WSGIApp], Any], published: WSGIApp) -> None:
    with under_werkzeug(way(published)) as port, Consumer() as consumer:
        assert ask(f"127.0.0.1:{port}", "GET", "/hello")[2] == b"hello"
        at = f"http://127.0.0.1:{port}/api"
        assert consumer.call_at(f"{at}/add", {"a": 1, "b": 2}) == 3.0
        assert consumer.call_at(f"{at}/größe", {"a": 1, "b": 2}) == 3.0
        assert list(consumer.stream_at(f"{at}/count", {"to": 3})) == [0, 1, 2]
        with pytest.raises(ValidationError):
            consumer.call_at(f"{at}/add", {"a": 1})
        assert ask(f"127.0.0.1:{port}", "POST", "/api/unknown", {})[0] == 404


DJANGO = {
    "project/__init__.py": "",
    "project/settings.py": """
SECRET_KEY = "only for a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
USE_TZ = True
""",
    "project/urls.py": """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("hello", lambda request: HttpResponse("hello"))]
""",
    "project/wsgi.py": """
import os
from django.core.wsgi import get_wsgi_application
from portal.http.server.mount import mount
from wsgi_functions import application as portal_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = mount(get_wsgi_application(), portal_application)
""",
    "wsgi_functions.py": FUNCTIONS,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Django project's directory."""
    pytest.importorskip("django")
    directory = tmp_path_factory.mktemp("django")
    (directory / "project").mkdir()
    for name, text in DJANGO.items():
        (directory / name).write_text(text)
    return directory


def check_django(host: str) -> None:
    assert ask(host, "GET", "/hello")[2] == b"hello"
    with Consumer() as consumer:
        assert consumer.call_at(f"http://{host}/api/add", {"a": 1, "b": 2}) == 3.0
        assert list(consumer.stream_at(f"http://{host}/api/count", {"to": 3})) == [0, 1, 2]
        assert consumer.call_at(f"http://{host}/api/nothing") is None
        with pytest.raises(RegistryError):
            consumer.call_at(f"http://{host}/api/unknown")


def test_inside_django_under_gunicorn(project: pathlib.Path) -> None:
    with under_gunicorn(project, "project.wsgi", "--worker-class", "gthread", "--threads", "4") as port:
        check_django(f"127.0.0.1:{port}")


def test_inside_django_under_runserver(project: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"],
        env=environment(project) | {"DJANGO_SETTINGS_MODULE": "project.settings"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=project,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Quit the server" in line:
                break
        check_django(wait_for(port))
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


def wait_for(port: int) -> str:
    """Return host and port as soon as a server listens there."""
    end = monotonic() + WAIT
    while monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), WAIT):
            return f"127.0.0.1:{port}"
        threading.Event().wait(0.05)
    raise AssertionError("nothing listens")


def test_services_and_listings(published: WSGIApp) -> None:
    status, _, data = reply(published, PATH_INFO="/api")
    assert status == 200
    assert {row["name"] for row in json.loads(data[0])["functions"]} >= {"add", "count", "größe"}


# documents


@pytest.mark.parametrize(
    ("script", "info", "seen"),
    [
        ("", "/openapi.json", "/api"),  # a WSGI server has nothing but the portal
        ("", "/api/openapi.json", "/api"),
        ("/api", "/openapi.json", "/api"),
        ("/rpc", "/openapi.json", "/rpc"),
        ("/site/api", "/openapi.json", "/site/api"),
    ],
)
def test_documents_have_the_paths_that_the_client_sees(script: str, info: str, seen: str) -> None:
    served, application = made()
    with served:
        for _ in range(2):
            status, _, data = reply(application, SCRIPT_NAME=script, PATH_INFO=info)
            assert status == 200
            assert {f"{seen}/add", f"{seen}/rpc"} <= json.loads(data[0])["paths"].keys()
        status, _, data = reply(application, SCRIPT_NAME=script, PATH_INFO=info.replace("openapi", "openrpc"))
        assert json.loads(data[0])["servers"][0]["url"] == f"{seen}/rpc"


def test_documents_can_be_switched_off() -> None:
    with HTTPPortal(listen=False, documents=False) as http:
        for path in ("/openapi.json", "/api/openapi.json", "/docs", "/api/docs/"):
            assert reply(http.wsgi, PATH_INFO=path)[0] == 404


def test_the_number_of_cached_documents_is_bounded() -> None:
    with HTTPPortal(listen=False) as http:
        for number in range(40):
            assert reply(http.wsgi, SCRIPT_NAME=f"/{number}", PATH_INFO="/openapi.json")[0] == 200
        assert len(http._app._documents._made) <= 16
