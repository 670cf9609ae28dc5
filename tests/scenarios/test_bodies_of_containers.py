"""A small body that holds very many objects and arrays, sent to each entrance of the HTTP portal."""

from __future__ import annotations

import gzip
import http.client
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from portal import HTTPPortal
from portal.http.middleware.compression import Compression
from portal.serving import ServingConfig

Send = Callable[[str, bytes], tuple[int, Any]]
EMPTY_ARRAYS = b"[" + b"[]," * 199_999 + b"[]]"
EMPTY_OBJECTS = b"[" + b"{}," * 199_999 + b"{}]"
NESTED = b"[" + b"[[[[{}]]]]," * 60_000 + b"{}]"


def size(items: list[Any]) -> int:
    return len(items)


def packed(body: bytes) -> bytes:
    """Return the body as gzip, not smaller, since a body that becomes 100 times as large is rejected for that."""
    return gzip.compress(body, compresslevel=0)


def request_over_http(portal: HTTPPortal, path: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10)
    try:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        connection.request("POST", path, packed(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def request_over_wsgi(portal: HTTPPortal, path: str, body: bytes) -> tuple[int, Any]:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    content = packed(body)
    environ |= {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "HTTP_CONTENT_ENCODING": "gzip",
        "wsgi.input": io.BytesIO(content),
    }
    started: list[str] = []
    pieces = portal.wsgi(environ, lambda status, headers, *_: started.append(status))  # type: ignore[arg-type,return-value]
    return int(started[0][:3]), json.loads(b"".join(pieces))


@pytest.fixture(params=[request_over_http, request_over_wsgi], ids=["http", "wsgi"])
def sent(request: pytest.FixtureRequest) -> Iterator[tuple[HTTPPortal, Send]]:
    with HTTPPortal(http_middleware=[Compression(max_decompressed=16 * 1024 * 1024, max_ratio=2000)]) as portal:
        portal.apply(size)
        yield portal, lambda path, body: request.param(portal, path, body)


def call(items: bytes) -> bytes:
    return b'{"items":' + items + b"}"


def batch(items: bytes) -> bytes:
    return b'[{"jsonrpc":"2.0","id":1,"method":"size","params":{"items":' + items + b"}}]"


@pytest.mark.parametrize(("path", "wrap"), [("/api/size", call), ("/api/rpc", batch)], ids=["call", "batch"])
@pytest.mark.parametrize("items", [EMPTY_ARRAYS, EMPTY_OBJECTS, NESTED], ids=["arrays", "objects", "nested"])
def test_it_is_rejected_before_it_is_decoded(
    sent: tuple[HTTPPortal, Send], path: str, wrap: Callable[[bytes], bytes], items: bytes
) -> None:
    portal, send = sent
    status, problem = send(path, wrap(items))
    assert status == 413
    assert "at most 100,000 objects and arrays" in problem["detail"]
    assert portal.stats()["bodies_rejected"] == 1


@pytest.mark.parametrize(("path", "wrap"), [("/api/size", call), ("/api/rpc", batch)], ids=["call", "batch"])
def test_brackets_in_a_string_are_accepted(
    sent: tuple[HTTPPortal, Send], path: str, wrap: Callable[[bytes], bytes]
) -> None:
    status, result = sent[1](path, wrap(b'["' + b"[{" * 150_000 + b'"]'))
    assert status == 200
    assert result == 1 or result[0]["result"] == 1


def test_the_bound_is_an_option() -> None:
    with HTTPPortal(
        config=ServingConfig(max_containers=3),
        http_middleware=[Compression(max_decompressed=16 * 1024 * 1024, max_ratio=2000)],
    ) as portal:
        portal.apply(size)
        assert request_over_http(portal, "/api/size", b'{"items": [[]]}') == (200, 1)
        assert request_over_http(portal, "/api/size", b'{"items": [[], []]}')[0] == 413
