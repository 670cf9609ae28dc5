"""HTTPConnection, over a socket pair."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from portal import ProtocolError
from portal.http.client.connection import HTTPConnection, StaleConnection

WAIT = 10.0
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Owner:
    """Keep nothing; a test holds its connection itself."""

    def put(self, connection: HTTPConnection) -> None:
        """Do nothing."""


@pytest.fixture
def pair() -> Iterator[tuple[HTTPConnection, socket.socket]]:
    ours, server = socket.socketpair()
    connection = HTTPConnection(ours, Owner())
    yield connection, server
    connection.close()
    server.close()


def is_open(connection: HTTPConnection) -> bool:
    return connection._sock.fileno() >= 0


def test_bytes_after_the_response_drop_the_connection(pair: tuple[HTTPConnection, socket.socket]) -> None:
    connection, server = pair
    server.sendall(EMPTY)
    response = connection.exchange(b"request", None)
    assert response.read_buffered() == b""
    assert server.recv(100) == b"request"
    assert not connection.is_dropped()
    server.sendall(b"x")
    assert connection.is_dropped()  # a response without a request


def test_a_large_request_is_sent_whole(pair: tuple[HTTPConnection, socket.socket]) -> None:
    connection, server = pair
    body, received = b"x" * 5_000_000, []

    def read() -> None:
        left = len(body)
        while left:
            received.append(server.recv(min(left, 65536)))
            left -= len(received[-1])
        server.sendall(EMPTY)

    reader = threading.Thread(target=read)
    reader.start()
    assert connection.exchange(body, monotonic() + WAIT).status == 200
    reader.join(WAIT)
    assert b"".join(received) == body


def test_interim_responses_are_skipped(pair: tuple[HTTPConnection, socket.socket]) -> None:
    connection, server = pair
    server.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + EMPTY)
    assert connection.exchange(b"r", None).status == 200


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "changed to another protocol"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 16, "16 interim responses and no final one"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "must have at most 65536 bytes"),
    ],
)
def test_a_malformed_head_closes_the_connection(
    pair: tuple[HTTPConnection, socket.socket], data: bytes, words: str
) -> None:
    connection, server = pair
    server.sendall(data)
    with pytest.raises(ProtocolError, match=words):
        connection.exchange(b"r", None)
    assert not is_open(connection)


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail.example ESMTP\r\n", b"\x4a\x00\x00\x00\x0a8.0.36", b"-ERR wrong\r\n", b"Ho",
     b"\r\n", b"HTTP 200"],
)  # fmt: skip
def test_the_greeting_of_another_protocol_is_rejected_at_once(
    pair: tuple[HTTPConnection, socket.socket], greeting: bytes
) -> None:
    """The server sends no more, and keeps the connection open."""
    connection, server = pair
    server.sendall(greeting)
    with pytest.raises(ProtocolError, match="the server does not speak HTTP; it sent") as info:
        connection.exchange(b"r", monotonic() + WAIT)
    assert repr(greeting)[2:-1] in str(info.value)
    assert not is_open(connection)


def test_only_a_kept_connection_is_stale(pair: tuple[HTTPConnection, socket.socket]) -> None:
    """A server may close an idle connection while a request is on its way, but not a new one."""
    connection, server = pair
    server.sendall(EMPTY)
    connection.exchange(b"first", None).read_buffered()
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(StaleConnection):
        connection.exchange(b"second", None)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"])
def test_a_new_connection_closed_without_a_response_is_lost(
    pair: tuple[HTTPConnection, socket.socket], begun: bytes
) -> None:
    connection, server = pair
    server.sendall(begun)
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        connection.exchange(b"first", None)


@pytest.mark.parametrize(("deadline", "read_timeout"), [(0.02, None), (None, 0.02), (WAIT, 0.02)])
def test_a_silent_server_is_a_timeout(deadline: float | None, read_timeout: float | None) -> None:
    ours, server = socket.socketpair()
    with server:
        connection = HTTPConnection(ours, Owner(), read_timeout)
        begun = monotonic()
        with pytest.raises(TimeoutError):
            connection.exchange(b"r", None if deadline is None else begun + deadline)
        assert 0.02 <= monotonic() - begun < WAIT
        assert not is_open(connection)


def test_nothing_is_sent_after_the_deadline(pair: tuple[HTTPConnection, socket.socket]) -> None:
    connection, server = pair
    with pytest.raises(TimeoutError):
        connection.exchange(b"r", monotonic() - 1.0)
    assert server.recv(100) == b""
