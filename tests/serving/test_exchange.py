"""One request, one answer: who gives it, and how a stream is cut at a deadline by somebody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal.http11.head_cache import HeadCache
from portal.serving import Response
from portal.serving.exchange import Exchange

WAIT = 10.0


class HTTPConnection:
    """A connection that keeps what is sent on it."""

    def __init__(self) -> None:
        self.sent = b""
        self.aborted = False
        self.within: threading.Event | None = None  # set once a piece is being written
        self.go_on = threading.Event()

    def send(self, data: bytes) -> None:
        if self.within is not None:
            self.within.set()
            assert self.go_on.wait(WAIT)
        self.sent += data

    def send_nowait(self, data: bytes) -> bool:
        self.sent += data
        return True

    def abort(self) -> None:
        self.aborted = True

    def forget_hangup(self) -> None:
        pass


def exchange_on(wire: Any, line: bytes = b"POST /f HTTP/1.1") -> Exchange:
    return Exchange(wire, HeadCache().parse(line + b"\r\nHost: x\r\n\r\n"), keep_alive=True)


def test_one_of_those_that_would_answer_does() -> None:
    exchange = exchange_on(HTTPConnection())
    assert [exchange.claim(), exchange.claim()] == [True, False]


def test_an_answer_that_is_no_stream_is_not_cut() -> None:
    """The function came back at the very moment of its deadline: its answer is on the way."""
    wire = HTTPConnection()
    exchange = exchange_on(wire)
    exchange.send(Response(200, body=b"1"))
    exchange.cut(b"last")
    assert not wire.aborted
    assert wire.sent.endswith(b"\r\n\r\n1")


@pytest.mark.parametrize(
    ("line", "headers", "last"),
    [
        (b"POST /f HTTP/1.1", [], b"1\r\na\r\n4\r\nlast\r\n"),
        (b"GET /f HTTP/1.0", [], b"\r\n\r\nalast"),
        (b"POST /f HTTP/1.1", [("content-encoding", "gzip")], b"1\r\na\r\n"),
    ],
)
def test_a_stream_is_cut_between_two_pieces(line: bytes, headers: list[tuple[str, str]], last: bytes) -> None:
    wire = HTTPConnection()
    exchange = exchange_on(wire, line)
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"a"
            exchange.cut(b"last")
            assert wire.aborted
            yield b"b"
        finally:
            closed.append(True)

    with pytest.raises(ConnectionAbortedError):
        exchange.send(Response(200, headers, pieces()))
    assert wire.sent.endswith(last)
    assert closed == [True]
    assert exchange.keep_alive is False


def test_a_stream_is_cut_while_a_piece_is_written() -> None:
    """To a client that takes nothing, perhaps: who cuts does not wait for it."""
    wire = HTTPConnection()
    wire.within = threading.Event()
    exchange = exchange_on(wire)
    sending = threading.Thread(target=exchange.send, args=(Response(200, body=iter([])),))
    sending.start()
    assert wire.within.wait(WAIT)
    exchange.cut(b"last")
    assert wire.aborted
    wire.go_on.set()
    sending.join(WAIT)
    assert b"last" not in wire.sent


def test_a_stream_that_has_ended_is_not_cut() -> None:
    wire = HTTPConnection()
    exchange = exchange_on(wire)
    exchange.send(Response(200, body=iter([b"a"])))
    exchange.cut(b"last")
    assert not wire.aborted
    assert wire.sent.endswith(b"1\r\na\r\n0\r\n\r\n")
