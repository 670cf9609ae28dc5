from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ConfigError, ProtocolError
from portal.http.messages.content_coding import decompress
from portal.http.middleware.compression import Compression, choose_coding
from portal.serving import Request, Response
from tests.support.http_messages import headers_of, request_of, respond_with

LONG = b'{"text":"' + b"abc" * 1000 + b'"}'


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", "gzip"), ("deflate, gzip", "gzip"),
        ("x-gzip", "gzip"), ("GZIP", "gzip"), ("br", None), ("*", "gzip"), ("*;q=0", None), ("gzip;q=0", None),
        ("gzip;q=0, *", "deflate"), ("gzip;q=0.2, deflate;q=0.8", "deflate"), ("gzip;q=0.001", "gzip"),
        ("gzip;q=0.000", None), ("identity", None), ("identity, gzip;q=0.5", None), ("identity;q=0.5, gzip", "gzip"),
        ("identity, gzip", "gzip"), ("gzip; q=0", None), ("gzip ;\tq=1.000", "gzip"), ("gzip;q=1.001", None),
        ("gzip;q=-1", None), ("gzip;q=", None), ("gzip;q=x", None), ("gzip;q=\xb2", None), ("gzip;q=0.1234", None),
        ("gzip;x=y;q=0", None), (",,gzip,", "gzip"), (";q=1", None), ("gzip," + "x," * 300, "gzip"),
    ],
)  # fmt: skip
def test_the_coding_that_a_client_takes(accept: str, coding: str | None) -> None:
    assert choose_coding(accept) == coding


@given(st.text(max_size=400))
def test_no_header_breaks_the_choice(accept: str) -> None:
    assert choose_coding(accept) in ("gzip", "deflate", None)


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "x-gzip", " GZip ", "deflate", "identity"]))
def test_there_and_back(body: bytes, coding: str) -> None:
    name = coding.strip().lower()
    packed = body if name == "identity" else zlib.compress(body) if name == "deflate" else gzip.compress(body, mtime=0)
    assert decompress(packed, coding, len(body)) == body
    if body:
        with pytest.raises(ProtocolError) as caught:
            decompress(packed, coding, len(body) - 1)
        assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"{}", "gzip", 400),
        (b"", "gzip", 400),
        (b"{}", "deflate", 400),
        (gzip.compress(LONG, mtime=0)[:-1], "gzip", 400),
        (gzip.compress(LONG, mtime=0) + b"x", "gzip", 400),
        (gzip.compress(LONG, mtime=0) + gzip.compress(LONG, mtime=0), "gzip", 400),
        (gzip.compress(LONG, mtime=0)[:-8] + bytes(8), "gzip", 400),
        (zlib.compress(LONG)[2:-4], "deflate", 400),
        (zlib.compress(LONG), "gzip", 400),
        (gzip.compress(LONG, mtime=0), "deflate", 400),
        (gzip.compress(bytes(1 << 20), mtime=0), "gzip", 413),
        (gzip.compress(LONG, mtime=0), "br", 415),
        (gzip.compress(gzip.compress(LONG, mtime=0), mtime=0), "gzip, gzip", 415),
        (gzip.compress(LONG, mtime=0), "gzip, identity", 415),
        (b"{}", "", 415),
    ],
)
def test_requests_that_are_rejected(body: bytes, coding: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        decompress(body, coding, 10_000)
    assert caught.value.status == status
    reached: list[Request] = []
    request = request_of(body=body or b"x", Content_Encoding=coding)
    response = Compression(max_decompressed=10_000)(request, lambda request: reached.append(request) or Response())
    assert (response.status, reached) == (status, [])
    found = headers_of(response)
    assert found.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)
    assert json.loads(bytes(response.body))["code"] == "protocol_error"  # type: ignore[arg-type]
    assert request.notes["code"] == "protocol_error"


def test_a_request_is_decoded_once_and_its_shared_headers_are_left_alone() -> None:
    request = request_of(body=gzip.compress(LONG, mtime=0), Content_Encoding="gzip")
    shared = request.headers
    seen: list[Any] = []

    def last(request: Request) -> Response:
        seen.append((request.body, request.headers.get("content-encoding"), request.headers["content-length"]))
        return Response(200)

    layer = Compression()
    layer(request, last)
    layer(request, last)
    assert seen == [(LONG, None, str(len(LONG)))] * 2
    assert shared["content-encoding"] == "gzip"


@pytest.mark.parametrize(("coding", "body"), [("identity", b"{}"), ("gzip", b"")])
def test_nothing_to_decode(coding: str, body: bytes) -> None:
    assert Compression()(request_of(body=body, Content_Encoding=coding), respond_with(299)).status == 299


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_long_answer(coding: str) -> None:
    response = Compression()(request_of(Accept_Encoding=coding), respond_with(200, LONG, ETag='"a"', Vary="Origin"))
    found = headers_of(response)
    assert isinstance(response.body, bytes)
    assert len(response.body) < len(LONG) / 10
    assert decompress(response.body, coding, 10_000) == LONG
    assert (found["content-encoding"], found["etag"], found["vary"]) == (coding, 'W/"a"', "Origin, Accept-Encoding")
    assert "content-length" not in found


@pytest.mark.parametrize(
    ("accept", "method", "response", "varies"),
    [
        ("gzip", "POST", {"body": LONG[:1023]}, False),
        ("", "POST", {"body": LONG}, True),
        ("br", "POST", {"body": LONG}, True),
        ("gzip", "HEAD", {"body": b""}, True),
        ("gzip", "HEAD", {"body": LONG[:1023]}, False),
        ("", "HEAD", {"body": LONG}, True),
        ("gzip", "POST", {"status": 204, "body": b""}, False),
        ("gzip", "POST", {"status": 206, "body": LONG}, False),
        ("gzip", "POST", {"status": 304, "body": b""}, True),
        ("gzip", "POST", {"body": LONG, "Content_Encoding": "br"}, False),
        ("gzip", "POST", {"body": LONG, "Cache_Control": "private, No-Transform"}, False),
        ("gzip", "POST", {"body": LONG, "content_type": "image/png"}, False),
        ("gzip", "POST", {"body": LONG, "content_type": ""}, False),
        ("gzip", "POST", {"body": Random(1).randbytes(2000)}, True),
    ],
)
def test_answers_that_stay_as_they_are(accept: str, method: str, response: dict[str, Any], varies: bool) -> None:
    body = response["body"]
    given = Compression()(request_of(method, Accept_Encoding=accept), respond_with(**response, ETag='"a"'))
    found = headers_of(given)
    assert (given.body, found["etag"]) == (body, '"a"')
    assert found.get("content-encoding") == ("br" if "Content_Encoding" in response else None)
    assert (found.get("vary") == "Accept-Encoding") is varies


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [LONG, b"x" * 1024, LONG[:1023]])
def test_head_has_the_headers_and_the_length_of_get(coding: str, body: bytes) -> None:
    found = [
        Compression()(request_of(method, Accept_Encoding=coding), respond_with(200, body, ETag='"a"'))
        for method in ("HEAD", "GET")
    ]
    assert found[0].headers == found[1].headers
    assert len(found[0].body) == len(found[1].body)  # type: ignore[arg-type]


@pytest.mark.parametrize(("held", "tag"), [('W/"a"', 'W/"a"'), ('"a"', '"a"'), ('W/"b"', '"a"')])
def test_not_modified_has_the_tag_that_the_client_holds(held: str, tag: str) -> None:
    request = request_of(Accept_Encoding="gzip", If_None_Match=held)
    assert headers_of(Compression()(request, respond_with(304, b"", ETag='"a"')))["etag"] == tag


def test_a_stream_is_flushed_for_each_item_and_closed() -> None:
    closed = []

    def items() -> Iterator[bytes]:
        try:
            yield b'{"n":1}\n'
            yield b""
            yield b'{"n":2}\n'
        finally:
            closed.append(True)

    kind = "application/x-ndjson"
    response = Compression()(request_of(Accept_Encoding="gzip"), respond_with(200, items(), content_type=kind))
    pieces = iter(response.body)
    reader = zlib.decompressobj(31)
    assert reader.decompress(next(pieces)) == b'{"n":1}\n'  # type: ignore[arg-type]
    assert next(pieces) == b""
    assert reader.decompress(next(pieces)) == b'{"n":2}\n'  # type: ignore[arg-type]
    assert reader.decompress(next(pieces)) == b""  # type: ignore[arg-type]
    assert reader.eof
    assert next(pieces, None) is None
    assert closed == [True]


def test_an_unread_stream_is_closed() -> None:
    class Items:
        closed = False

        def __iter__(self) -> Items:
            return self

        def __next__(self) -> bytes:
            raise AssertionError("nobody reads it")

        def close(self) -> None:
            self.closed = True

    items = Items()
    response = Compression()(request_of(Accept_Encoding="gzip"), respond_with(200, items))
    response.body.close()  # type: ignore[union-attr]
    assert items.closed
    Compression()(request_of(Accept_Encoding="gzip"), respond_with(200, iter([b"x"]))).body.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "settings",
    [
        {"minimum_size": -1},
        {"minimum_size": True},
        {"level": 0},
        {"level": 10},
        {"level": "6"},
        {"max_decompressed": 0},
    ],
)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Compression(**settings)
    assert caught.value.path == f"compression.{next(iter(settings))}"
