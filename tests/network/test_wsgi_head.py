"""The head of a request from a WSGI environment."""

from __future__ import annotations

import pytest

from portal.errors import ProtocolError
from portal.http11.request_head import parse_request_head
from portal.network.wsgi_head import head_bytes


def test_headers_length_and_host() -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_X_A": "1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "::1",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "http",
    }
    head = parse_request_head(head_bytes(environ, "/a?b=1"))
    assert (head.method, head.path, head.query, head.content_length) == ("POST", "/a", "b=1", 2)
    assert head.headers["x-a"] == "1"
    assert head.headers["host"] == "[::1]:8080"
    assert head.headers["content-type"] == "application/json"


def test_the_default_port_is_left_out() -> None:
    environ = {"REQUEST_METHOD": "GET", "SERVER_NAME": "shop.example", "SERVER_PORT": "443", "wsgi.url_scheme": "https"}
    assert parse_request_head(head_bytes(environ, "/")).headers["host"] == "shop.example"


@pytest.mark.parametrize("value", ["a\nB: c", "\u20ac"])
def test_values_that_no_header_can_have(value: str) -> None:
    with pytest.raises(ProtocolError):
        head_bytes({"REQUEST_METHOD": "GET", "HTTP_HOST": "h", "HTTP_X": value}, "/")
