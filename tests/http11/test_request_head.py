from __future__ import annotations

import string
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ProtocolError
from portal.http11.request_head import check_no_body, find_head_end, parse_request_head

HOST = b"Host: x\r\n"


def head(line: bytes = b"GET / HTTP/1.1", headers: bytes = HOST) -> bytes:
    return line + b"\r\n" + headers + b"\r\n"


def test_a_typical_head() -> None:
    found = parse_request_head(
        head(b"POST /api/add?version=2 HTTP/1.1", HOST + b"Content-Length: 12\r\nAccept: a\r\naccept:\tb \r\n")
    )
    assert (found.method, found.target, found.version) == ("POST", "/api/add?version=2", (1, 1))
    assert (found.path, found.query) == ("/api/add", "version=2")
    assert found.headers == {"host": "x", "content-length": "12", "accept": "a, b"}
    assert (found.content_length, found.chunked, found.keep_alive) == (12, False, True)
    assert (found.expect_continue, found.upgrade) == (False, None)


def test_an_empty_line_before_the_head_is_skipped() -> None:
    assert parse_request_head(b"\r\n" + head()).path == "/"


@pytest.mark.parametrize(
    ("line", "headers", "keep"),
    [
        (b"GET / HTTP/1.1", HOST, True),
        (b"GET / HTTP/1.1", HOST + b"Connection: Close\r\n", False),
        (b"GET / HTTP/1.1", HOST + b"Connection: foo, close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", True),
        (b"GET / HTTP/1.9", HOST, True),
    ],
)
def test_keep_alive(line: bytes, headers: bytes, keep: bool) -> None:
    assert parse_request_head(head(line, headers)).keep_alive is keep


def test_forms_of_the_target() -> None:
    absolute = parse_request_head(head(b"GET http://other:81/a?b HTTP/1.1"))
    assert (absolute.path, absolute.query, absolute.headers["host"]) == ("/a", "b", "other:81")
    assert parse_request_head(head(b"GET http://other HTTP/1.1")).path == "/"
    assert parse_request_head(head(b"GET http://other?b HTTP/1.1")).query == "b"
    assert parse_request_head(head(b"OPTIONS * HTTP/1.1")).path == "*"


def test_expect_transfer_encoding_and_upgrade() -> None:
    found = parse_request_head(head(headers=HOST + b"Expect: 100-Continue\r\nTransfer-Encoding: Chunked\r\n"))
    assert found.expect_continue
    assert found.chunked
    upgrade = parse_request_head(head(headers=HOST + b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n"))
    assert upgrade.upgrade == "websocket"
    assert parse_request_head(head(headers=HOST + b"Upgrade: WebSocket\r\n")).upgrade is None
    assert not parse_request_head(head(b"GET / HTTP/1.0", b"Expect: 100-continue\r\n")).expect_continue


MALFORMED: list[tuple[bytes, int]] = [
    (b"\r\n\r\n", 400),
    (head(b"GET"), 400),
    (head(b"GET /"), 400),
    (head(b"GET  / HTTP/1.1"), 400),
    (head(b"GET / HTTP/1.1 "), 400),
    (head(b" GET / HTTP/1.1"), 400),
    (head(b"G@T / HTTP/1.1"), 400),
    (head(b"GET / http/1.1"), 400),
    (head(b"GET / HTTP/11"), 400),
    (head(b"GET / HTTP/1.1\r"), 400),
    (head(b"GET /\x00 HTTP/1.1"), 400),
    (head(b"GET /\x7f HTTP/1.1"), 400),
    (head("GET /é HTTP/1.1".encode()), 400),
    (head(b"GET /\ta HTTP/1.1"), 400),
    (head(b"GET a HTTP/1.1"), 400),
    (head(b"GET * HTTP/1.1"), 400),
    (head(b"GET ftp://x/ HTTP/1.1"), 400),
    (head(b"GET http://user@x/ HTTP/1.1"), 400),
    (head(b"GET http:/// HTTP/1.1"), 400),
    (head(b"CONNECT x:80 HTTP/1.1"), 501),
    (head(b"PRI * HTTP/2.0"), 505),
    (head(b"GET / HTTP/0.9"), 505),
    (head(b"GET / HTTP/3.0"), 505),
    (head(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    (head(b"GET /" + b"\xff" * 9000 + b" HTTP/1.1"), 414),
    (head(headers=b""), 400),
    (head(headers=b"Host: a\r\nHost: a\r\n"), 400),
    (head(headers=b"Host: a b\r\n"), 400),
    (head(headers=b"Host: a/b\r\n"), 400),
    (head(headers=b"Host: a@b\r\n"), 400),
    (head(headers=b"Host: [::1\r\n"), 400),
    (head(headers=HOST + b"A : b\r\n"), 400),
    (head(headers=HOST + b" A: b\r\n"), 400),
    (head(headers=HOST + b"A: b\r\n c\r\n"), 400),
    (head(headers=HOST + b"A: b\r\n\tc\r\n"), 400),
    (head(headers=HOST + b"A\r\n"), 400),
    (head(headers=HOST + b": b\r\n"), 400),
    (head(headers=HOST + b"A\x00: b\r\n"), 400),
    (head(headers=HOST + b"A: b\x00\r\n"), 400),
    (head(headers=HOST + b"A: b\rc\r\n"), 400),
    (head(headers=HOST + b"A: b\nc: d\r\n"), 400),
    (head(headers=HOST + b"A: b\x7f\r\n"), 400),
    (head(headers=HOST + b"A\xe9: b\r\n"), 400),
    (head(headers=HOST + b"A(b): c\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1, 1\r\n"), 400),
    (head(headers=HOST + b"Content-Length: -1\r\n"), 400),
    (head(headers=HOST + b"Content-Length: +1\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1_0\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 0x1\r\n"), 400),
    (head(headers=HOST + b"Content-Length: \r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1.0\r\n"), 400),
    (head(headers=HOST + b"Content-Length: \xb2\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 9999999999999999999\r\n"), 400),
    (head(headers=HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
    (head(headers=HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
    (head(headers=HOST + b"Transfer-Encoding: gzip\r\n"), 501),
    (head(headers=HOST + b"Transfer-Encoding: gzip, chunked\r\n"), 501),
    (head(headers=HOST + b"Transfer-Encoding: chunked, chunked\r\n"), 501),
    (head(headers=HOST + b"Transfer-Encoding: xchunked\r\n"), 501),
    (head(headers=HOST + b"Transfer-Encoding: \r\n"), 501),
    (head(b"GET / HTTP/1.0", b"Transfer-Encoding: chunked\r\n"), 400),
    (head(headers=HOST + b"Expect: 200-ok\r\n"), 417),
    (head(headers=HOST + b"Authorization: a\r\nAuthorization: b\r\n"), 400),
    (head(headers=HOST + b"Content-Type: a\r\nContent-Type: b\r\n"), 400),
    (head(headers=HOST + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"), 400),
    (head(headers=HOST + b"".join(b"A%d: b\r\n" % n for n in range(100))), 431),
]


@pytest.mark.parametrize(("data", "status"), MALFORMED)
def test_malformed_heads_are_rejected(data: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(data)
    assert caught.value.status == status


@pytest.mark.parametrize("line", [b"POST / HTTP/1.0", b"POST / HTTP/1.1", b"PUT / HTTP/1.0"])
def test_a_request_without_content_type_and_length_has_no_body(line: bytes) -> None:
    found = parse_request_head(head(line, HOST))
    assert (found.content_length, found.chunked) == (None, False)
    check_no_body(found, b"")
    with pytest.raises(ProtocolError) if b"1.0" in line else nullcontext():
        check_no_body(found, b"{}")


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0", b"POST / HTTP/1.0\r\nContent-Length: 2"])
def test_bytes_after_other_heads_are_no_concern(line: bytes) -> None:
    check_no_body(parse_request_head(head(line, HOST)), b"{}")


def test_the_error_for_a_missing_length_says_what_to_send() -> None:
    with pytest.raises(ProtocolError, match=r"send Content-Length \(0 for no parameters\)"):
        parse_request_head(head(b"POST /api/add HTTP/1.1", HOST + b"Content-Type: application/json\r\n"))


def test_find_head_end() -> None:
    data = head() + b"body"
    assert find_head_end(data) == len(data) - 4
    assert find_head_end(data[:-5]) == -1
    assert find_head_end(b"GET / HTTP/1.1\r\nHo") == -1
    assert find_head_end(data, len(head()) - 4) == len(data) - 4
    with pytest.raises(ProtocolError):
        find_head_end(b"GET / HTTP/1.1\nHost: x\n\n")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_head_or_a_protocol_error(data: bytes) -> None:
    for text in (data, data + b"\r\n\r\n", head(data), head(headers=HOST + data + b"\r\n")):
        try:
            found = parse_request_head(text)
        except ProtocolError:
            continue
        assert found.path.startswith(("/", "*"))


TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)


@given(TOKEN, st.lists(st.tuples(TOKEN.map(lambda name: "X-" + name), VALUE), max_size=20))
def test_generated_heads_are_parsed(method: str, headers: list[tuple[str, str]]) -> None:
    if method == "CONNECT":
        return
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    if any(name.lower() == "x-portal-timeout" for name, _ in headers):
        return
    found = parse_request_head(head(f"{method} /p HTTP/1.1".encode(), HOST + lines.encode()))
    expected: dict[str, str] = {"host": "x"}
    for name, value in headers:
        key = name.lower()
        expected[key] = f"{expected[key]}, {value}" if key in expected else value
    assert found.method == method
    assert found.headers == expected
