from __future__ import annotations

import json

import pytest

from portal.errors import ConfigError, ProtocolError
from portal.http11.response_head import encode_chunk, encode_head, error_answer
from portal.serving import ServingConfig

NOW = 784111777.0


def test_a_head() -> None:
    data = encode_head(200, [("Content-Length", "2")], keep_alive=True, now=NOW)
    assert data == b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n"
    assert b"08:49:38" in encode_head(200, [], keep_alive=True, now=NOW + 1)


def test_connection() -> None:
    assert b"Connection: close\r\n" in encode_head(200, [], keep_alive=False, now=NOW)
    assert b"Connection: keep-alive\r\n" in encode_head(200, [], keep_alive=True, version=(1, 0), now=NOW)
    assert b"HTTP/1.1 299 Unknown\r\n" in encode_head(299, [], keep_alive=True, now=NOW)


@pytest.mark.parametrize(("name", "value"), [("A", "b\r\nC: d"), ("A", "b\nc"), ("A", "\x00"), ("A b", "c"), ("", "c")])
def test_no_header_breaks_the_head_apart(name: str, value: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_head(200, [(name, value)], keep_alive=True, now=NOW)
    assert caught.value.status == 500


def test_an_answer_of_the_listeners_own() -> None:
    head, _, body = error_answer(503, "busy", now=NOW, retry_after=2).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 2" in head
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body)["code"] == "overloaded"


def test_a_chunk() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("workers", True), ("workers", 1.5), ("queue", -1), ("max_body", "1"), ("idle_timeout", 0),
     ("linger", -1.0), ("grace", "soon"), ("head_timeout", True), ("write_timeout", 1e9)],
)  # fmt: skip
def test_wrong_limits(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        ServingConfig(**{name: value})  # type: ignore[arg-type]
    assert caught.value.path == f"serving.{name}"
    assert caught.value.expected
