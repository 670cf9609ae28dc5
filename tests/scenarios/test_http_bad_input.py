"""Bad input at a real server: each gets the answer that is right for it, and the server goes on."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal import CallContext, HTTPPortal
from portal.http.server.descriptions import Descriptions
from portal.serving import ServingConfig

WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


def anything(value: Any) -> Any:
    return value


def fail() -> None:
    raise ValueError("the password is hunter2")


def countdown(start: int) -> Iterator[int]:
    yield from range(start, 0, -1)


def patient(context: CallContext) -> bool:
    done = threading.Event()
    context.on_cancel(done.set)
    return done.wait(WAIT)


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        for one in (add, anything, fail, countdown, patient):
            portal.apply(one)
        yield portal


class RawResponse:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send_request(
    server: HTTPPortal, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> RawResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    try:
        connection.request(method, path, body, headers or {})
        return RawResponse(connection.getresponse())
    finally:
        connection.close()


DEEP = b'{"value":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
JSON = {"Content-Type": "application/json"}

BODIES: list[tuple[str, bytes, int, str]] = [
    ("add", b"{", 400, "serialization_error"),
    ("add", b"a=1&b=2", 400, "serialization_error"),
    ("add", b"\xff\xfe", 400, "serialization_error"),
    ("add", b'{"a": NaN, "b": 1}', 400, "serialization_error"),
    ("add", b'{"a": Infinity, "b": 1}', 400, "serialization_error"),
    ("add", b'{"a": ' + b"9" * 5000 + b', "b": 1}', 400, "serialization_error"),
    ("add", b'{"a": 1e999, "b": 1}', 422, "validation_error"),
    ("add", b"[1, 2]", 422, "validation_error"),
    ("add", b"null", 422, "validation_error"),
    ("add", b"", 422, "validation_error"),
    ("add", b'{"a": "1", "b": 2}', 422, "validation_error"),
    ("add", b'{"a": 1}', 422, "validation_error"),
    ("add", b'{"a": 1, "b": 2, "c": 3}', 422, "validation_error"),
    ("anything", b'{"value": "\\ud800"}', 422, "validation_error"),
    ("anything", b'{"value":' + b"[" * 65 + b"]" * 65 + b"}", 422, "validation_error"),
    ("anything", b'{"value":"' + b"x" * 1024 * 1024 + b'"}', 413, "protocol_error"),
    ("anything", b'{"value":"' + b"x" * 10 * 1024 * 1024 + b'"}', 413, "protocol_error"),
    ("fail", b"{}", 500, "function_error"),
    ("nobody", b"{}", 404, "registry_error"),
    ("add@2", b"{}", 404, "registry_error"),
    ("add/00000000", b"{}", 404, "registry_error"),
]


@pytest.mark.parametrize(("name", "body", "status", "code"), BODIES)
def test_malformed_bodies_are_rejected(server: HTTPPortal, name: str, body: bytes, status: int, code: str) -> None:
    response = send_request(server, "POST", f"/api/{name}", body, JSON)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["code"] == code
    assert response.json["status"] == status
    assert send_request(server, "POST", "/api/add", b'{"a":1,"b":2}', JSON).json == 3.0


def test_ten_thousand_levels_of_json_are_rejected(server: HTTPPortal) -> None:
    response = send_request(server, "POST", "/api/anything", DEEP, JSON)
    assert response.status in (400, 422)
    assert response.json["code"] in ("serialization_error", "validation_error")


def test_sixty_four_levels_of_json_are_accepted(server: HTTPPortal) -> None:
    body = b'{"value":' + b"[" * 62 + b"]" * 62 + b"}"
    assert send_request(server, "POST", "/api/anything", body, JSON).status == 200
    many = json.dumps({"value": [[] for _ in range(1000)]}).encode()
    assert len(send_request(server, "POST", "/api/anything", many, JSON).json) == 1000


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/api/add", {}, 405),
        ("DELETE", "/api/add", {}, 405),
        ("GET", "/api/nobody", {}, 404),
        ("GET", "/elsewhere", {}, 404),
        ("POST", "/api", {}, 404),
        ("POST", "/api/add", {"Content-Type": "text/plain"}, 415),
        ("POST", "/api/add", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/api/add", {"X-Portal-Timeout": "soon"}, 400),
        ("POST", "/api/countdown", {"Accept": "image/png", **JSON}, 406),
        ("GET", "/api/add?version=newest", {}, 404),
        ("GET", "/api/add?version=" + "9" * 5000, {}, 404),
        ("GET", "/api/add?version=>=" + "9" * 5000, {}, 404),
        ("POST", "/api/add@" + "9" * 5000, {}, 404),
        ("POST", "/api/add?version=1" + ".0" * 4000, {}, 404),
    ],
)
def test_wrong_methods_paths_and_headers_are_rejected(
    server: HTTPPortal, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = b'{"start": 1}' if method == "POST" else None
    response = send_request(server, method, path, body, headers)
    assert response.status == status
    if status == 405:
        assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_an_exception_of_a_function_is_not_sent_to_the_client(server: HTTPPortal) -> None:
    response = send_request(server, "POST", "/api/fail", b"{}", JSON)
    assert b"hunter2" not in response.body
    assert b"Traceback" not in response.body
    assert response.json["request_id"] == response.headers["x-request-id"]


def test_debug_sends_the_exception_and_the_traceback() -> None:
    with HTTPPortal(debug=True) as portal:
        portal.apply(fail)
        response = send_request(portal, "POST", "/api/fail", b"{}", JSON)
        assert "hunter2" in response.json["detail"]
        assert response.json["exception"] == "ValueError"
        assert "Traceback" in response.json["stack"]


def test_a_response_is_sent_at_the_deadline_while_the_function_runs(server: HTTPPortal) -> None:
    response = send_request(server, "POST", "/api/patient", b"{}", JSON | {"X-Portal-Timeout": "20"})
    assert response.status == 504
    assert response.json["code"] == "timeout"
    assert send_request(server, "POST", "/api/patient", b"{}", JSON | {"X-Portal-Timeout": "0"}).status == 504


def test_get_head_options(server: HTTPPortal) -> None:
    schema = send_request(server, "GET", "/api/add").json
    assert schema["name"] == "add"
    assert schema["input"]["required"] == ["a", "b"]
    head = send_request(server, "HEAD", "/api/add")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["content-length"] == str(len(send_request(server, "GET", "/api/add").body))
    assert int(head.headers["content-length"]) > 0
    assert send_request(server, "OPTIONS", "/api/add").status == 204
    listed = send_request(server, "GET", "/api").json
    assert {row["name"] for row in listed["functions"]} >= {"add", "fail"}


def test_the_request_id_is_kept_or_replaced(server: HTTPPortal) -> None:
    body = b'{"a":1,"b":2}'
    assert (
        send_request(server, "POST", "/api/add", body, JSON | {"X-Request-ID": "mine"}).headers["x-request-id"]
        == "mine"
    )
    given = "two words"
    assert (
        send_request(server, "POST", "/api/add", body, JSON | {"X-Request-ID": given}).headers["x-request-id"] != given
    )


def test_streams_as_lines_and_as_events(server: HTTPPortal) -> None:
    lines = send_request(server, "POST", "/api/countdown", b'{"start": 3}', JSON)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert lines.body == b"3\n2\n1\n"
    events = send_request(server, "POST", "/api/countdown", b'{"start": 1}', JSON | {"Accept": "text/event-stream"})
    assert events.body == b"data: 1\n\nevent: complete\ndata: null\n\n"


def broken(n: int) -> Iterator[int]:
    yield n
    raise ValueError("the password is hunter2")


def test_a_stream_of_lines_that_breaks_is_cut_after_a_problem() -> None:
    with HTTPPortal() as portal:
        portal.apply(broken)
        connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT)
        connection.request("POST", "/api/broken", b'{"n": 7}', JSON)
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
        first, second, rest = caught.value.partial.split(b"\n")
        assert first == b"7"
        assert json.loads(second)["problem"]["code"] == "function_error"
        assert b"hunter2" not in second
        assert rest == b""
        connection.close()


def test_an_error_inside_portal_is_an_internal_error(server: HTTPPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(Descriptions, "respond", fail)
    response = send_request(server, "GET", "/api")
    assert response.status == 500
    assert response.json["code"] == "portal_error"
    assert b"secret" not in response.body


BOTH = b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"


def send(server: HTTPPortal, data: bytes) -> bytes:
    """What a raw socket gets for `data` until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while piece := sock.recv(65536):
            received += piece
        return received


def test_pipelined_requests_get_their_responses_in_order(server: HTTPPortal) -> None:
    one = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    responses = send(server, one + b'{"a":1,"b":1}' + one + b'{"a":2,"b":2}')
    assert responses.count(b"HTTP/1.1 200 OK") == 2
    assert responses.index(b"2.0") < responses.index(b"4.0")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", b"505"),
        (b"POST /api/add HTTP/1.1\r\nHost: localhost\r\n" + BOTH + b"0\r\n\r\n", b"400"),
        (b"GET /api HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"4"),
        (b"GET /api HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 40_000, b"431"),
    ],
)
def test_broken_requests(server: HTTPPortal, data: bytes, status: bytes) -> None:
    assert send(server, data).startswith(b"HTTP/1.1 " + status)


def test_chunked_and_expect_continue(server: HTTPPortal) -> None:
    head = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunked = head + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n8\r\n1,"b":2}\r\n0\r\n\r\n'
    assert send(server, chunked).endswith(b"3.0")
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
        sock.sendall(head + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b'{"a":1,"b":2}')
        assert sock.recv(1000).endswith(b"3.0")


def test_http_1_0(server: HTTPPortal) -> None:
    response = send(server, b'POST /api/countdown HTTP/1.0\r\nContent-Length: 11\r\n\r\n{"start":2}')
    assert response.endswith(b"\r\n\r\n2\n1\n")


def test_a_connection_with_a_slow_head_is_closed() -> None:
    with (
        HTTPPortal(config=ServingConfig(head_timeout=0.05)) as portal,
        socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock,
    ):
        sock.sendall(b"POST /api/add HT")
        assert sock.recv(1000).startswith(b"HTTP/1.1 408")
        assert sock.recv(1000) == b""


def test_a_full_pool_responds_with_503() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold() -> bool:
        entered.set()
        return gate.wait(WAIT)

    with HTTPPortal(config=ServingConfig(workers=1, queue=0)) as portal:
        portal.apply(hold)
        results: list[RawResponse] = []
        first = threading.Thread(target=lambda: results.append(send_request(portal, "POST", "/api/hold", b"{}", JSON)))
        first.start()
        assert entered.wait(WAIT)
        rejected = send_request(portal, "POST", "/api/hold", b"{}", JSON)
        assert rejected.status == 503
        assert rejected.headers["retry-after"] == "1"
        gate.set()
        first.join(WAIT)
        assert results[0].json is True
        assert portal.stats()["listener"]["rejected"] == 1


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("text/event-stream;q=0, application/x-ndjson", 200, "application/x-ndjson"),
        ("text/event-stream;q=0.5, application/x-ndjson", 200, "application/x-ndjson"),
        ("text/event-stream, application/x-ndjson;q=0.5", 200, "text/event-stream"),
        ("Text/Event-Stream", 200, "text/event-stream"),
        ("text/event-stream, */*", 200, "text/event-stream"),
        ("text/*", 200, "text/event-stream"),
        ("text/*, */*;q=0.1", 200, "text/event-stream"),
        ("TEXT/*;q=0.5", 200, "text/event-stream"),
        ("text/*, application/x-ndjson", 200, "application/x-ndjson"),
        ("text/*;q=0.5, application/*", 200, "application/x-ndjson"),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", 200, "application/x-ndjson"),
        ("text/event-stream;q=0, text/*", 406, "application/problem+json"),
        ("text/*;q=0", 406, "application/problem+json"),
        ("text/html", 406, "application/problem+json"),
        ("application/x-ndjson;q=0, */*", 406, "application/problem+json"),
        ("text/event-stream-of-another-kind", 406, "application/problem+json"),
    ],
)
def test_a_stream_has_the_media_type_that_the_client_accepts(
    server: HTTPPortal, accept: str, status: int, kind: str
) -> None:
    got = send_request(server, "POST", "/api/countdown", b'{"start": 1}', JSON | {"Accept": accept})
    assert (got.status, got.headers["content-type"]) == (status, kind)


def huge() -> Any:
    return 10**5000  # more digits than Python writes


def test_a_result_that_cannot_be_sent_is_reported_as_executed() -> None:
    with HTTPPortal() as portal:
        portal.apply(huge)
        plain = send_request(portal, "POST", "/api/huge", b"{}", JSON).json
        call = b'{"jsonrpc": "2.0", "id": 1, "method": "huge"}'
        by_rpc = send_request(portal, "POST", "/api/rpc", call, JSON).json["error"]["data"]
    assert (plain["code"], plain["delivery"]) == ("serialization_error", "executed")
    assert (by_rpc["code"], by_rpc["delivery"]) == ("serialization_error", "executed")
