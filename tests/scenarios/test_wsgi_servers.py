"""A portal under real WSGI servers: wsgiref, Werkzeug, Waitress and gunicorn."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any
from wsgiref.validate import validator

import pytest

from portal import CallTimeout, Consumer, FunctionError, RegistryError, ValidationError
from tests.support.wsgi_servers import (
    FUNCTIONS,
    WAIT,
    ask,
    make_portal,
    under_gunicorn,
    under_waitress,
    under_werkzeug,
    under_wsgiref,
)


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
    http_portal, app = make_portal()
    # werkzeug's own environ does not pass the validator
    with http_portal, under(app if request.param == "werkzeug" else validator(app)) as port:
        yield f"127.0.0.1:{port}"


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
    http_portal, app = make_portal()
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
    found, fields, text = ask(server, method, path, body, **headers)
    assert found == status
    assert fields["content-type"] == "application/problem+json"
    problem = json.loads(text)
    assert problem["code"] == code
    assert problem["request_id"] == fields["x-request-id"]
    assert b"inside" not in text


def test_a_large_body_is_rejected(server: str, request: pytest.FixtureRequest) -> None:
    try:
        status, fields, _ = ask(server, "POST", "/api/length", {"text": "x" * 1_100_000})
    except ConnectionError:
        # wsgiref closes at once, and the body it has not read resets the connection, at times during the response
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
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"null")
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
        pytest.skip("wsgiref passes chunks on undecoded, so the response is 411")
    with contextlib.closing(http.client.HTTPConnection(server, timeout=WAIT)) as connection:
        pieces = iter([b'{"a": 1', b', "b": 2}'])
        connection.request("POST", "/api/add", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (200, b"3.0")


def test_a_chunked_body_that_is_too_large(server: str, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["server"] != "gunicorn":
        pytest.skip("the others do not promise a response to a body that is still being sent")
    with contextlib.closing(http.client.HTTPConnection(server, timeout=WAIT)) as connection:
        pieces = iter([b'{"text": "', b"x" * 1_100_000, b'"}'])
        connection.request("POST", "/api/length", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        with connection.getresponse() as response:
            assert response.status == 413
