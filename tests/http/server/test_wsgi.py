"""The HTTP portal as a WSGI application, called without a server."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from portal import BearerAuth, ConfigError, HTTPPortal, Service, function
from portal.http.server.wsgi import WSGIApp
from portal.serving import Response
from tests.support.wsgi_calls import RecordingApp, environ, reply


def len_of(text: str) -> int:
    return len(text)


@pytest.mark.parametrize("host", ["", "a%zz", "x:99999", "(a)", "x,y", "shop.example"])
def test_a_listing_accepts_any_host(host: str) -> None:
    """As with the listener. The addresses have the client's Host if it is a valid one."""
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        status, _, data = reply(portal.wsgi, PATH_INFO="/api", HTTP_HOST=host)
    address = json.loads(data[0])["functions"][0]["address"]
    assert status == 200
    assert address.startswith("http://shop.example/api/" if host == "shop.example" else "http://")


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


def test_a_listing_has_every_function() -> None:
    with HTTPPortal(listen=False) as portal:
        for name in ("count", "größe"):
            portal.apply(function(name=name)(len_of))
        status, _, data = reply(portal.wsgi, PATH_INFO="/api")
    assert status == 200
    assert {row["name"] for row in json.loads(data[0])["functions"]} == {"count", "größe"}


def test_the_request_that_the_app_gets() -> None:
    app = RecordingApp()
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
    app = WSGIApp(kept := RecordingApp())
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
    app = RecordingApp()
    found, headers, data = reply(WSGIApp(app, max_body=16), **changes)
    assert (found, app.requests) == (status, [])
    assert json.loads(data[0])["status"] == status
    assert dict(headers)["Content-Type"] == "application/problem+json"


def test_the_default_content_type_of_wsgiref_is_ignored() -> None:
    app = RecordingApp()
    for software in ("WSGIServer/0.2", "WSGIServer", "WSGIServer CPython/3.15.2", "WSGIServer2", "other"):
        reply(WSGIApp(app), CONTENT_TYPE="text/plain", SERVER_SOFTWARE=software)
    kinds = [request.headers.get("content-type") for request in app.requests]
    assert kinds == [None, None, None, "text/plain", "text/plain"]


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


def body_of(source: Source, **changes: Any) -> Any:
    app = RecordingApp()
    status, _, _ = reply(WSGIApp(app, max_body=4), **{"REQUEST_METHOD": "POST", "wsgi.input": source} | changes)
    return app.requests[0].body if app.requests else status


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
    app = WSGIApp(RecordingApp(Response(200, [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")], body)))
    status, headers, data = reply(app)
    assert (status, headers, data, body.closed) == (200, [("Content-Type", "text/plain")], [b"a", b"b"], 1)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_streams_of_bodiless_responses_are_closed_unread(method: str, status: int) -> None:
    body = Pieces(b"a")
    assert reply(WSGIApp(RecordingApp(Response(status, [], body))), REQUEST_METHOD=method) == (status, [], [])
    assert (body.closed, next(body)) == (1, b"a")


@pytest.mark.parametrize("header", [("A b", "c"), ("A", "b\r\nc: d"), ("A", "b\0")])
def test_headers_with_line_breaks_are_rejected(header: tuple[str, str]) -> None:
    body = Pieces(b"a")
    status, headers, data = reply(WSGIApp(RecordingApp(Response(200, [header], body))))
    assert (status, body.closed, json.loads(data[0])["status"]) == (500, 1, 500)
    assert header[0] not in dict(headers)


def test_headers_of_the_response() -> None:
    given = [("Connection", "close"), ("Date", "now"), ("X-One", "é€"), ("X-One", "2"), ("content-length", "99")]
    status, headers, data = reply(WSGIApp(RecordingApp(Response(499, given, b"abc"))))
    assert (status, data) == (499, [b"abc"])
    assert headers == [("X-One", "é?"), ("X-One", "2"), ("Content-Length", "3")]


@pytest.mark.parametrize("settings", [{"base_path": "api"}, {"base_path": "/"}, {"max_body": 0}, {"max_body": True}])
def test_a_wrong_setting_is_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        WSGIApp(RecordingApp(), **settings)
