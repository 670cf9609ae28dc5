from __future__ import annotations

import pytest

from portal import Address, CallContext, ProtocolError
from portal.http.client.request import ClientRequest
from tests.support.scripted_transport import request_of


def test_a_request_as_bytes() -> None:
    context = CallContext(request_id="r-1", idempotency_key="k")
    request = request_of(b'{"a":1}', context).with_headers({"X-API-Key": "s"}).with_headers({"X-Other": "o"})
    assert request.encode() == (
        b"POST /api/add HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept: application/json\r\nUser-Agent: portal\r\n"
        b"Accept-Encoding: gzip, deflate\r\nContent-Type: application/json\r\nX-API-Key: s\r\nX-Other: o\r\n"
        b"X-Request-ID: r-1\r\nIdempotency-Key: k\r\nContent-Length: 7\r\n\r\n"
        b'{"a":1}'
    )


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("http://a.example", b"GET / HTTP/1.1\r\nHost: a.example\r\n"),
        ("http://a.example:81/x?q=1#part", b"GET /x?q=1 HTTP/1.1\r\nHost: a.example:81\r\n"),
        ("http://[::1]:81/x", b"GET /x HTTP/1.1\r\nHost: [::1]:81\r\n"),
    ],
)
def test_a_request_without_a_body(address: str, target: bytes) -> None:
    data = ClientRequest("GET", Address.parse(address), None, CallContext()).encode()
    assert data.startswith(target)
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-" not in data


def test_all_headers_are_those_of_the_bytes() -> None:
    request = request_of(b"", CallContext(request_id="r-1")).with_headers({"Authorization": "Bearer t"})
    lines = request.encode().decode().split("\r\n")[1:-2]
    sent = dict(line.split(": ", 1) for line in lines)
    assert request.all_headers() == {
        name: value for name, value in sent.items() if name not in ("Host", "Content-Length")
    }


def test_a_request_id_with_a_line_break_is_rejected() -> None:
    request = request_of(context=CallContext(request_id="a\r\nX: y"))
    for encode in (request.encode, request.all_headers):
        with pytest.raises(ProtocolError, match="the request id must be"):
            encode()
