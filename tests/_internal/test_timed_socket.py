from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from portal._internal import timed_socket
from portal._internal.timed_socket import TimedSocket, time_left
from tests.support.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(timed_socket, "monotonic", moved)
    return moved


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_time_left(clock: Clock) -> None:
    assert time_left(clock.now + 3) == 3
    for passed in (0, -1):
        with pytest.raises(TimeoutError, match="the deadline has passed"):
            time_left(clock.now + passed)


@pytest.mark.parametrize(
    ("deadline", "read_timeout", "timeout"),
    [(None, None, None), (None, 2.0, 2.0), (5.0, None, 5.0), (5.0, 2.0, 2.0), (1.0, 2.0, 1.0)],
)
def test_the_earlier_of_deadline_and_read_timeout_holds(
    deadline: float | None,
    read_timeout: float | None,
    timeout: float | None,
    clock: Clock,
    pair: tuple[socket.socket, socket.socket],
) -> None:
    TimedSocket(pair[0], None if deadline is None else clock.now + deadline, read_timeout).update_timeout()
    assert pair[0].gettimeout() == timeout


def test_each_read_has_the_time_that_is_left(clock: Clock, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with TimedSocket(ours, clock.now + 10).makefile("rb") as reader:
        for data, left in ((b"a", 10.0), (b"b", 6.0), (b"c", 2.0)):
            theirs.sendall(data)
            assert reader.read1(10) == data
            assert ours.gettimeout() == left
            clock.now += 4
        theirs.sendall(b"d")
        with pytest.raises(TimeoutError):
            reader.read1(10)


def test_http_client_reads_a_response(clock: Clock, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    timed: Any = TimedSocket(ours, clock.now + 10)
    response = HTTPResponse(timed)
    response.begin()
    assert (response.status, response.read()) == (200, b"hello")


def test_the_reader_keeps_the_socket_open_until_it_is_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = TimedSocket(ours, None).makefile("rb")
    ours.close()
    theirs.sendall(b"late")
    assert reader.read1(10) == b"late"
    reader.close()
    assert theirs.recv(1) == b""
