"""The socket and the request of a WSGI environment."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from portal.errors import ProtocolError
from portal.websocket.wsgi.environ import request_of, socket_of

BASE = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/app",
    "PATH_INFO": "/ws/a b",
    "QUERY_STRING": "x=1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "shop.example",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "REMOTE_ADDR": "192.0.2.7",
    "wsgi.url_scheme": "https",
    "wsgi.multithread": True,
}


@pytest.fixture
def pair() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


def test_the_request_of_an_environment() -> None:
    request = request_of(BASE)
    assert (request.method, request.path, request.query) == ("GET", "/app/ws/a%20b", "x=1")
    assert (request.peer, request.secure, request.head.upgrade) == ("192.0.2.7", True, "websocket")
    assert (request.tls_identity, request.known_identity) == (None, None)


@pytest.mark.parametrize("change", [{"PATH_INFO": "/\u20ac"}, {"HTTP_X": "a\r\nB: c"}, {"REQUEST_METHOD": "G T"}])
def test_environments_that_are_no_request(change: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        request_of(BASE | change)


@pytest.mark.parametrize(("name", "mode"), [("werkzeug.socket", "werkzeug"), ("gunicorn.socket", "gunicorn")])
def test_where_servers_keep_the_socket(pair: socket.socket, name: str, mode: str) -> None:
    assert socket_of(BASE | {name: pair}) == (pair, mode)


def test_the_socket_behind_the_input_of_wsgiref(pair: socket.socket) -> None:
    reader = pair.makefile("rb")
    assert socket_of(BASE | {"wsgi.input": reader}) == (pair, "werkzeug")
    reader.close()


@pytest.mark.parametrize("source", [None, io.BytesIO(b"")])
def test_servers_that_give_no_access(source: Any) -> None:
    with pytest.raises(ProtocolError, match="gives no access to the socket") as caught:
        socket_of(BASE | ({} if source is None else {"wsgi.input": source}))
    assert caught.value.status == 501
    assert "gthread" in caught.value.hint


def test_a_server_of_one_request_at_a_time(pair: socket.socket) -> None:
    with pytest.raises(ProtocolError, match="one request at a time") as caught:
        socket_of(BASE | {"gunicorn.socket": pair, "wsgi.multithread": False})
    assert caught.value.status == 501
