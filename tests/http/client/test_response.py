"""ConnectionResponse, over a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from portal import ProtocolError
from portal.http.client.connection import HTTPConnection
from portal.http.client.response import ConnectionResponse

OK = b"HTTP/1.1 200 OK\r\n"


class Owner:
    """Keep the connections that are given back."""

    def __init__(self) -> None:
        self.kept: list[HTTPConnection] = []

    def put(self, connection: HTTPConnection) -> None:
        self.kept.append(connection)


class Exchange:
    """One response of a server, on a connection with an owner."""

    def __init__(self) -> None:
        self.owner = Owner()
        ours, self.server = socket.socketpair()
        self.connection = HTTPConnection(ours, self.owner)

    def respond(self, data: bytes) -> ConnectionResponse:
        self.server.sendall(data)
        return ConnectionResponse(self.connection, None)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange()
    yield made
    made.server.close()
    made.connection.close()


def is_open(connection: HTTPConnection) -> bool:
    return connection._sock.fileno() >= 0


def test_a_body_that_arrived_with_the_head_frees_the_connection(exchange: Exchange) -> None:
    response = exchange.respond(OK + b"Content-Length: 2\r\nX-Name: value\r\n\r\nab")
    assert (response.status, response.headers["x-name"]) == (200, "value")
    assert response.read_buffered() == b"ab"
    assert exchange.owner.kept == [exchange.connection]
    assert list(response.iter_body()) == []


def test_a_body_in_pieces_frees_the_connection_at_its_end(exchange: Exchange) -> None:
    response = exchange.respond(OK + b"Content-Length: 4\r\n\r\nab")
    assert response.read_buffered() is None
    pieces = response.iter_body()
    assert next(pieces) == b"ab"
    assert exchange.owner.kept == []
    exchange.server.sendall(b"cd")
    assert list(pieces) == [b"cd"]
    assert exchange.owner.kept == [exchange.connection]


@pytest.mark.parametrize(
    ("head", "body", "kept"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab", True),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nmore", b"ab", False),
        (b"Content-Length: 2\r\nConnection: close\r\n\r\nab", b"ab", False),
        (b"Content-Length: 0\r\n\r\n", b"", True),
    ],
)
def test_the_connection_is_kept_only_where_a_next_response_can_follow(
    exchange: Exchange, head: bytes, body: bytes, kept: bool
) -> None:
    response = exchange.respond(OK + head)
    whole = response.read_buffered()
    assert (b"".join(response.iter_body()) if whole is None else whole) == body
    assert (exchange.owner.kept == [exchange.connection], is_open(exchange.connection)) == (kept, kept)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_a_body_has_none_whatever_its_length_says(exchange: Exchange, status: bytes) -> None:
    response = exchange.respond(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n")
    assert response.read_buffered() is None
    assert list(response.iter_body()) == []
    assert exchange.owner.kept == [exchange.connection]


def test_a_body_without_a_length_ends_with_the_connection(exchange: Exchange) -> None:
    response = exchange.respond(OK + b"\r\nab")
    exchange.server.close()
    assert b"".join(response.iter_body()) == b"ab"
    assert not is_open(exchange.connection)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"Content-Length: 1\r\n\r\nab", "longer than its Content-Length"),
        (b"Content-Length: x\r\n\r\n", "Content-Length of the response must be a number of bytes, got 'x'"),
        (b"Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding of the response must be chunked, got 'gzip'"),
    ],
)
def test_a_malformed_body_closes_the_connection(exchange: Exchange, head: bytes, words: str) -> None:
    response = exchange.respond(OK + head)
    with pytest.raises(ProtocolError, match=words):
        list(response.iter_body())
    assert not is_open(exchange.connection)
    assert exchange.owner.kept == []


def test_an_incomplete_body_is_a_lost_connection(exchange: Exchange) -> None:
    response = exchange.respond(OK + b"Content-Length: 4\r\n\r\nab")
    exchange.server.close()
    with pytest.raises(ConnectionResetError, match="before the end of the response"):
        list(response.iter_body())


def test_close_gives_up_the_rest(exchange: Exchange) -> None:
    response = exchange.respond(OK + b"Content-Length: 4\r\n\r\nab")
    response.close()
    response.close()
    assert not is_open(exchange.connection)
    assert list(response.iter_body()) == []
