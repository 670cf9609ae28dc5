from __future__ import annotations

import pytest

from portal.errors import ProtocolError
from portal.http11.response_head import encode_chunk, encode_head, parse_response_head, status_line

NOW = 784111777.0


def test_encode_head() -> None:
    data = encode_head(200, [("Content-Length", "2")], keep_alive=True, now=NOW)
    assert data == b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n"
    assert b"08:49:38" in encode_head(200, [], keep_alive=True, now=NOW + 1)


def test_the_connection_header_and_unknown_statuses() -> None:
    assert b"Connection: close\r\n" in encode_head(200, [], keep_alive=False, now=NOW)
    assert b"Connection: keep-alive\r\n" in encode_head(200, [], keep_alive=True, version=(1, 0), now=NOW)
    assert b"HTTP/1.1 299 Unknown\r\n" in encode_head(299, [], keep_alive=True, now=NOW)


@pytest.mark.parametrize(("name", "value"), [("A", "b\r\nC: d"), ("A", "b\nc"), ("A", "\x00"), ("A b", "c"), ("", "c")])
def test_a_header_with_control_characters_or_a_bad_name_is_rejected(name: str, value: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_head(200, [(name, value)], keep_alive=True, now=NOW)
    assert caught.value.status == 500


def test_encode_chunk() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\na: c", (200, {"a": "b, c"}, True)),
        (b"HTTP/1.1 404\r\nConnection: Close", (404, {"connection": "Close"}, False)),
        (b"HTTP/1.2 200 OK", (200, {}, True)),
        (b"HTTP/1.9 200 OK\r\nTransfer-Encoding: chunked", (200, {"transfer-encoding": "chunked"}, True)),
        (b"HTTP/1.2 200 OK\r\nConnection: close", (200, {"connection": "close"}, False)),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nD: e", (200, {"a": "b c", "d": "e"}, True)),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n \t c\r\n\td", (200, {"a": "b c d"}, True)),
        (b"HTTP/1.1 200 OK\r\nA:\r\n b\r\n ", (200, {"a": "b"}, True)),
        (b"HTTP/1.0 200 OK", (200, {}, False)),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", (200, {"connection": "keep-alive"}, True)),
    ],
)
def test_parse_response_head(head: bytes, expected: tuple[int, dict[str, str], bool]) -> None:
    assert parse_response_head(head) == expected


def test_the_fast_path_for_the_common_head_agrees() -> None:
    head = encode_head(200, [("Content-Type", "application/json"), ("X-Request-ID", "a-1")], keep_alive=True, now=NOW,
                       length=3)[:-4]  # fmt: skip
    status, headers, keep = parse_response_head(head)
    assert (status, headers["content-length"], headers["content-type"], keep) == (200, "3", "application/json", True)
    status, all_headers, keep = parse_response_head(head + b"\r\nX-More: 1")
    assert headers.items() <= all_headers.items()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 200 OK\r\nA b",
        b"HTTP/1.1 200 OK\r\n A: b",
        b"HTTP/1.1 200 OK\r\n\tmore\r\nA: b",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nD e",
        b"HTTP/1.x 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        b"",
    ],
)
def test_a_malformed_response_head_is_rejected(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_response_head(head)


def test_status_line() -> None:
    assert (status_line(404), status_line(299)) == ("404 Not Found", "299 Unknown")
