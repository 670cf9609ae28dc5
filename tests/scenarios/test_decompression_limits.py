"""Small compressed bodies that hold much, sent to a portal over HTTP, as a batch, under WSGI, and to a client."""

from __future__ import annotations

import gzip
import io
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from portal import Consumer, HTTPPortal, ProtocolError, ServingConfig
from portal.http import Compression, HTTPClient
from portal.serving import Listener, Request, Response

MIB = 1 << 20
ARRAYS = b'{"text":[' + b"[]," * (8 * MIB // 3) + b"[]]}"
BATCH = b"[" + b'{"jsonrpc":"2.0","id":1,"method":"length","params":{"text":"aaaaaaaaaaaaaaaa"}},' * 90_000 + b"1]"
BOMBS = {
    "arrays": (gzip.compress(ARRAYS, 9), "gzip"),
    "spaces": (gzip.compress(b'{"text":"a"}' + b" " * (32 * MIB), 9), "gzip"),
    "deflate": (zlib.compress(b'{"text":"' + b"a" * (32 * MIB) + b'"}', 9), "deflate"),
    "a batch": (gzip.compress(BATCH, 9), "x-gzip"),
    "many empty blocks": (gzip.compress(bytes(64 * MIB), 1), "GZIP"),
}


def length(text: str) -> int:
    return len(text)


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Assert that at most so many bytes are allocated at once."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


def post(url: str, body: bytes, coding: str) -> requests.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    return requests.post(url, data=body, headers=headers, timeout=30)


@pytest.mark.parametrize("path", ["/api/length", "/api/rpc"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_413_before_it_is_decompressed(name: str, path: str) -> None:
    body, coding = BOMBS[name]
    with HTTPPortal(http_middleware=[Compression()]) as portal:
        portal.apply(length)
        url = f"http://127.0.0.1:{portal.port}{path}"
        requests.post(url, json={}, timeout=30)  # loads what the first request loads
        calls = portal.stats()["calls"]
        with memory(3 * MIB + 3 * len(body)):
            assert post(url, body, coding).status_code == 413
        assert portal.stats()["decompression_rejected"] == 1
        assert portal.stats()["calls"] == calls


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_under_wsgi_is_413(name: str) -> None:
    body, coding = BOMBS[name]
    told: list[str] = []
    with HTTPPortal(listen=False, http_middleware=[Compression()]) as portal:
        portal.apply(length)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/api/rpc", "SERVER_NAME": "x", "SERVER_PORT": "80",
            "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", "HTTP_CONTENT_ENCODING": coding,
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "SERVER_PROTOCOL": "HTTP/1.1",
        }  # fmt: skip
        with memory(3 * MIB + 3 * len(body)):
            list(portal.wsgi(environ, lambda status, headers, *rest: told.append(status)))  # type: ignore[arg-type,return-value]
        assert told[0].startswith("413 ")
        assert portal.stats()["decompression_rejected"] == 1


def random_text(size: int) -> bytes:
    """Return text that compresses about two times."""
    return "".join(random.Random(size).choices("0123456789abcdef", k=size)).encode()


def test_the_limit_of_a_decompressed_body_is_that_of_any_body() -> None:
    for max_body in (20_000, 200_000):
        with HTTPPortal(http_middleware=[Compression()], config=ServingConfig(max_body=max_body)) as portal:
            address = str(portal.apply(length))
            fits = json.dumps({"text": random_text(max_body - 100).decode()}).encode()
            longer = json.dumps({"text": random_text(max_body).decode()}).encode()
            assert post(address, gzip.compress(fits), "gzip").json() == max_body - 100
            assert post(address, gzip.compress(longer), "gzip").status_code == 413
            assert portal.stats()["decompression_rejected"] == 1
            assert post(address, longer, "identity").status_code == 413


def test_a_body_within_64_kib_may_have_any_ratio_and_the_limits_are_options() -> None:
    def body(size: int) -> bytes:
        return gzip.compress(b'{"text":"' + b"a" * size + b'"}', 9)

    with HTTPPortal(http_middleware=[Compression()]) as portal:
        address = str(portal.apply(length))
        assert post(address, body(65_000), "gzip").json() == 65_000
        response = post(address, body(70_000), "gzip")
        assert response.status_code == 413
        assert "100 decompressed bytes for each compressed byte" in response.json()["detail"]
    with HTTPPortal(http_middleware=[Compression(max_ratio=1100, max_decompressed=2 * MIB)]) as portal:
        address = str(portal.apply(length))
        assert post(address, body(MIB + 7), "gzip").json() == MIB + 7
        assert post(address, body(2 * MIB), "gzip").status_code == 413


class Bomb:
    """An application that responds with a body of 32 MiB in 32 KB."""

    def handle(self, request: Request) -> Response:
        headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
        return Response(200, headers, BOMBS["arrays"][0])


def test_a_client_rejects_a_bomb() -> None:
    listener = Listener()
    listener.mount("/api", Bomb())
    listener.start()
    try:
        address = f"http://127.0.0.1:{listener.port}/api/length"
        with Consumer() as consumer, pytest.raises(ProtocolError) as caught, memory(6 * MIB):
            consumer.call_at(address, {"text": "a"})
        assert "100 decompressed bytes for each compressed byte" in str(caught.value)
    finally:
        listener.stop(1)


class Many:
    """An application that responds with JSON of many arrays."""

    def __init__(self, status: int, kind: str, body: bytes) -> None:
        self.response = status, [("Content-Type", kind)], body

    def handle(self, request: Request) -> Response:
        return Response(*self.response)


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "application/json", b"[" + b"[]," * (4 * MIB) + b"[]]"),
        (200, "application/json", b"[" + b"{}," * (4 * MIB) + b"[]]"),
        (200, "application/json", b"[" * (4 * MIB)),
        (503, "application/problem+json", b'{"code":"overloaded","errors":[' + b"[]," * (4 * MIB) + b"[]]}"),
    ],
)
def test_a_client_rejects_too_many_containers(status: int, kind: str, body: bytes) -> None:
    listener = Listener()
    listener.mount("/api", Many(status, kind, body))
    listener.start()
    try:
        address = f"http://127.0.0.1:{listener.port}/api/length"
        with Consumer() as consumer, pytest.raises(ProtocolError) as caught, memory(4 * len(body)):
            consumer.call_at(address, {"text": "a"})
        assert "2,000,000 objects and arrays" in str(caught.value)
    finally:
        listener.stop(1)


def test_the_limit_of_containers_is_an_option() -> None:
    def pairs(count: int) -> list[list[int]]:
        return [[1, 2]] * count

    with HTTPPortal() as portal:
        address = portal.apply(pairs)
        with Consumer(http=HTTPClient(max_containers=1000)) as consumer:
            assert len(consumer.call_at(address, {"count": 900})) == 900
            with pytest.raises(ProtocolError):
                consumer.call_at(address, {"count": 1000})


def test_repetitive_parameters_and_results_still_arrive() -> None:
    """What would look like a bomb is sent uncompressed."""

    def double(text: str) -> str:
        return text + text

    text = "a" * 400_000
    with HTTPPortal(http_middleware=[Compression()]) as portal:
        address = portal.apply(double)
        with Consumer(http=HTTPClient(compress_min_size=100)) as consumer:
            assert consumer.call_at(address, {"text": text}) == text + text
        assert portal.stats()["decompression_rejected"] == 0
