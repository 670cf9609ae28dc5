"""What a server that lies can do to its client: a portal error, and a connection that is not used again."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal import Consumer, HTTPPortal
from portal.errors import OverloadedError, PortalError, ProtocolError, RateLimitError, error_table
from portal.http.client.connection import HTTPConnection
from portal.http.client.pool import ConnectionLimits, ConnectionPool
from portal.http.client.response import ConnectionResponse
from portal.http11.fields import _cached_field_line
from portal.network.problem import _error_of_problem, error_of

OK = b"HTTP/1.1 200 OK\r\n"


def receive(data: bytes) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection was kept, of what a server sends before it closes its side."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(data)
    pool = ConnectionPool("server.invalid", 1, ConnectionLimits())
    connection = HTTPConnection(ours, pool)
    try:
        response = ConnectionResponse(connection, None)
        body = response.read_buffered()
        if body is None:
            body = b"".join(response.iter_body())
        return response.status, body, bool(pool._idle)
    finally:
        pool.close()
        connection.close()


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        OK + b"Content-Length: 9999999999999999999\r\n\r\n",
        OK + b"Content-Length: \xb2\r\n\r\nab",
        OK + b"Content-Length: 3, 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"A: b\nContent-Length: 3\r\n\r\nabc",
        OK + b"A: b\rc\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"A: \x00\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"A b: c\r\nContent-Length: 3\r\n\r\nabc",
        OK + b" A: b\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\n\r\nabcd",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    ],
    ids=range(14),
)
def test_ambiguous_responses_are_rejected(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        receive(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"A: b\r\n Content-Length: 9\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length:\r\n 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nA: b\r\n\t \r\n\r\nabc",
    ],
)
def test_versions_and_folded_lines_that_a_client_must_read(data: bytes) -> None:
    assert receive(data) == (200, b"abc", True)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_a_body_has_none_whatever_its_headers_say(status: bytes) -> None:
    line = b"HTTP/1.1 " + status + b"\r\n"
    assert receive(line + b"Content-Length: 3\r\n\r\n")[1:] == (b"", True)
    assert receive(line + b"Content-Length: 3\r\n\r\nabc")[1:] == (b"", False)


def test_long_header_lines_are_not_cached() -> None:
    before = _cached_field_line.cache_info().currsize
    for number in range(20):
        long = b"X-%d: " % number + b"a" * 10_000
        assert receive(OK + long + b"\r\nContent-Length: 3\r\n\r\nabc")[1:] == (b"abc", True)
    assert _cached_field_line.cache_info().currsize <= before + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("\xb2", None),
        ("-1", None),
        ("9" * 400, None),
        ("", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("31 Dec 1999", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", b""), ("application/problem+json", b'{"code": "overloaded", "status": 503, "detail": "busy"}')],
)
def test_retry_after(value: str, seconds: float | None, kind: str, body: bytes) -> None:
    error = error_of(503, kind, body, {"retry-after": value})
    assert isinstance(error, OverloadedError)
    assert error.retry_after == seconds


def test_retry_after_as_a_date() -> None:
    soon = formatdate(time() + 30, usegmt=True)
    error = error_of(503, "text/html", b"", {"retry-after": soon})
    assert isinstance(error, OverloadedError)
    assert 20 < (error.retry_after or 0) <= 30


def test_retry_after_of_the_problem_precedes_the_header() -> None:
    body = b'{"code": "rate_limited", "status": 429, "detail": "x", "retry_after": 2.5}'
    error = error_of(429, "application/problem+json", body, {"retry-after": "3"})
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 2.5


_MEMBERS = ("code", "detail", "status", "request_id", "retryable", "exception", "delivery", "hint", "errors",
            "retry_after", "position", "reason", "name", "kind", "timeout", "stage", "line", "column",
            "js_stack", "path", "expected", "attempts", "advice", "stack", "scheme", "address", "message")  # fmt: skip
_ODD: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**4000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_CODES = st.sampled_from(sorted({row[1] for row in error_table()} | {"odd"}))
_PROBLEMS = st.dictionaries(st.sampled_from(_MEMBERS), _ODD, max_size=6)


@given(st.sampled_from([200, 400, 401, 404, 422, 429, 500, 503, 504]), _CODES | st.none(), _PROBLEMS)
@example(503, "overloaded", {"retry_after": "x"})
@example(503, "overloaded", {"retry_after": float("inf")})
@example(503, "rate_limited", {"retry_after": -1, "status": 200})
@example(502, "consumer_error", {"attempts": [1]})
def test_a_problem_of_any_shape_becomes_an_error_that_can_be_serialised(status: int, code: Any, members: Any) -> None:
    problem = members if code is None else members | {"code": code}
    error = PortalError.from_dict(problem)
    for one in (error, _error_of_problem(dict(problem, code=str(problem.get("code"))), status, None)):
        assert isinstance(one, PortalError)
        assert 400 <= one.status <= 599
        str(one)
        seconds = getattr(one, "retry_after", None)
        assert seconds is None or 0 <= seconds < 1e10


def test_an_error_that_is_not_json_data_gets_a_response() -> None:
    def endless() -> None:
        raise RateLimitError("wait", retry_after=float("inf"))

    def odd() -> None:
        raise RateLimitError("\ud800", retry_after=2)

    with HTTPPortal() as portal, Consumer() as consumer:
        for target in (endless, odd):
            with pytest.raises(PortalError) as caught:
                consumer.call_at(portal.apply(target), {})
            assert caught.value.status == 429


_SERVICE: dict[str, Any] = {"name": "s", "version": "1", "state": "running", "functions": []}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"name": "f", "version": "9" * 5000},
        {"name": "f", "version": "1", "input": {"type": 5}},
        {"name": "f", "timeout": -1},
        {"name": "f", "timeout": 1e999},
        {"name": ["f"]},
        {"name": "f", "tags": [1]},
        {"name": "f", "input": {"properties": 3}},
        {"name": "f", "input": {"$ref": "http://192.0.2.1/"}},
        {"name": "f", "input": {"required": "a"}},
        _SERVICE | {"functions": [1]},
        _SERVICE | {"functions": [{}]},
        _SERVICE | {"functions": [{"address": 5}]},
        _SERVICE | {"functions": [{"address": "nowhere"}]},
        {"version": "1", "state": "running", "functions": []},
        {"name": 5, "state": "running", "functions": []},
    ],
    ids=range(16),
)
def test_a_schema_of_any_shape_is_a_portal_error(document: Any) -> None:
    body = json.dumps(document).encode()

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/api/f"
    try:
        with HTTPPortal(listen=False) as portal:
            with pytest.raises(PortalError):
                portal.resolve_service(address)
            with suppress(PortalError):  # it may be good enough for that
                portal.resolve_function(address)(a=1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
