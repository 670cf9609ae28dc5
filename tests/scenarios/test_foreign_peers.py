"""Clients, proxies and servers of other makers, as they are in practice."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from portal import Consumer, HTTPPortal, ProtocolError, RegistryError, SerializationError, function
from portal.http import Compression
from portal.serving import Listener, Request, Response

WAIT = 10.0


def answer() -> int:
    return 42


@function(cacheable=True)
def price() -> float:
    return 1.5


def words(start: int = 0) -> Iterator[str]:
    yield from ("a", "b")[start:]


@pytest.fixture(scope="module", params=[(), (Compression(minimum_size=10),)], ids=["plain", "compression"])
def portal(request: pytest.FixtureRequest) -> Iterator[HTTPPortal]:
    with HTTPPortal(http_middleware=request.param) as made:
        for one in (answer, price, words):
            made.apply(one)
        yield made


def exchange(portal: HTTPPortal, data: bytes) -> bytes:
    """Return all that the server sends for these bytes."""
    with socket.create_connection(("127.0.0.1", portal.port), WAIT) as sock:
        sock.sendall(data)
        found = b""
        while piece := sock.recv(65_536):
            found += piece
        return found


@pytest.mark.parametrize(
    "headers",
    [
        b"Host: 127.0.0.1\r\nConnection: close\r\n",  # as nginx sends it by default
        b"",
        b"Host: localhost\r\nAccept: */*\r\nUser-Agent: ab\r\n",
        b"Content-Length: 0\r\n",
    ],
)
def test_a_call_in_http_1_0_without_parameters(portal: HTTPPortal, headers: bytes) -> None:
    found = exchange(portal, b"POST /api/answer HTTP/1.0\r\n" + headers + b"\r\n")
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"\r\n\r\n42")


@pytest.mark.parametrize("headers", [b"Content-Type: application/json\r\n", b"", b"Connection: keep-alive\r\n"])
def test_parameters_in_http_1_0_without_a_length_are_rejected(portal: HTTPPortal, headers: bytes) -> None:
    found = exchange(portal, b"POST /api/words HTTP/1.0\r\n" + headers + b'\r\n{"start": 1}')
    assert found.startswith(b"HTTP/1.1 411 ")
    assert b"send Content-Length" in found


@pytest.mark.parametrize("path", ["/api/price", "/openapi.json", "/docs/"])
def test_a_304_has_no_content_type(portal: HTTPPortal, path: str) -> None:
    method = "POST" if path == "/api/price" else "GET"
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT)
    connection.request(method, path)
    whole = connection.getresponse()
    whole.read()
    connection.request(method, path, headers={"If-None-Match": whole.headers["ETag"]})
    same = connection.getresponse()
    assert (same.status, same.read(), same.headers["ETag"]) == (304, b"", whole.headers["ETag"])
    assert [
        name for name in same.headers if name.lower().startswith("content-") and "security" not in name.lower()
    ] == []
    connection.close()


@pytest.mark.parametrize("path", ["/api", "/api/answer", "/openapi.json", "/docs/", "/nothing"])
@pytest.mark.parametrize("accept", ["gzip", "deflate", "identity", ""])
def test_head_has_the_headers_of_get(portal: HTTPPortal, path: str, accept: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT)
    found = []
    for method in ("HEAD", "GET"):
        connection.request(method, path, headers={"Accept-Encoding": accept})
        response = connection.getresponse()
        body = response.read()
        found.append({name: value for name, value in response.headers.items() if name not in ("Date", "X-Request-ID")})
    assert found[0] == found[1]
    assert found[0]["Content-Length"] == str(len(body))
    connection.close()


class Foreign:
    """An application that responds to POST as it is told, and to GET with a schema or as it is told."""

    def __init__(self) -> None:
        self.get, self.post = Response(404), Response(404)

    def handle(self, request: Request) -> Response:
        return self.get if request.method == "GET" else self.post


@pytest.fixture
def foreign() -> Iterator[tuple[Foreign, str]]:
    app, listener = Foreign(), Listener()
    listener.mount("/", app)
    listener.start()
    yield app, f"http://127.0.0.1:{listener.port}/hook"
    listener.stop(1.0)


HTML = [("Content-Type", "text/html; charset=utf-8")]


@pytest.mark.parametrize("allow", [[("Allow", "POST")], [], [("Allow", "POST, OPTIONS"), *HTML]])
def test_an_endpoint_that_takes_only_post_is_told_apart(
    foreign: tuple[Foreign, str], allow: list[tuple[str, str]]
) -> None:
    app, address = foreign
    app.get = Response(405, allow, b"Method Not Allowed")
    for use in ("call_at", "resolve", "list_at", "stream_at"):
        with (
            Consumer() as consumer,
            pytest.raises(ProtocolError, match=r"takes no GET \(405\).*not an address") as info,
        ):
            list(getattr(consumer, use)(address))
        assert (info.value.status, info.value.delivery, info.value.retryable) == (405, "not_sent", False)
    app.get = Response(404, HTML, b"<h1>Not Found</h1>")
    with Consumer() as consumer, pytest.raises(RegistryError):
        consumer.call_at(address)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain", "image/png", "application/xml"])
def test_a_response_of_another_media_type_is_said_to_be_one(foreign: tuple[Foreign, str], kind: str) -> None:
    app, address = foreign
    media = kind.partition(";")[0]
    app.get = Response(200, [("Content-Type", kind)], b"<h1>Welcome</h1>")
    with Consumer() as consumer, pytest.raises(ProtocolError, match=f"must be application/json, got '{media}'"):
        consumer.call_at(address)
    for schema, method, expected in (
        (answer, "call_at", "application/json"),
        (words, "stream_at", "text/event-stream"),
    ):
        document = function(schema).schema.to_dict()
        app.get = Response(200, [("Content-Type", "application/json")], json.dumps(document).encode())
        app.post = Response(200, [("Content-Type", kind)], b"<h1>Log in</h1>")
        with Consumer() as consumer, pytest.raises(ProtocolError, match=f"must be {expected}, got '{media}'"):
            list(getattr(consumer, method)(address))


def test_a_response_of_two_gzip_members(foreign: tuple[Foreign, str]) -> None:
    app, address = foreign
    app.get = Response(
        200, [("Content-Type", "application/json")], json.dumps(function(answer).schema.to_dict()).encode()
    )
    coded = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    app.post = Response(200, coded, gzip.compress(b"1") + gzip.compress(b"23"))
    with Consumer() as consumer:
        assert consumer.call_at(address) == 123


@pytest.mark.parametrize("text", ["1e999", '{"a": [-1e400]}', "1" * 400 + ".5"])
def test_a_number_beyond_floats_is_rejected_in_a_result_and_an_item(foreign: tuple[Foreign, str], text: str) -> None:
    app, address = foreign
    as_json, as_events = [("Content-Type", "application/json")], [("Content-Type", "text/event-stream")]
    for schema, use, headers in ((answer, "call_at", as_json), (words, "stream_at", as_events)):
        app.get = Response(200, as_json, json.dumps(function(schema).schema.to_dict()).encode())
        app.post = Response(200, headers, (text if headers is as_json else f"data: {text}\n\n").encode())
        with Consumer() as consumer, pytest.raises((SerializationError, ProtocolError)) as caught:
            list(getattr(consumer, use)(address))
        assert "beyond the range of numbers" in str(caught.value)


@pytest.mark.parametrize("text", ["1e999", "[-1e400]", '{"a": 2e308}'])
def test_a_number_beyond_floats_is_rejected_in_json_rpc(portal: HTTPPortal, text: str) -> None:
    body = f'{{"jsonrpc": "2.0", "id": 1, "method": "words", "params": {{"start": {text}}}}}'
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT)
    connection.request("POST", "/api/rpc", body, {"Content-Type": "application/json"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    assert found["error"]["code"] in (-32602, -32600, -32700)
    assert "result" not in found
