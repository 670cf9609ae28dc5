"""Exchange: which thread sends the response, and how a stream is aborted at a deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal.http11.head_cache import HeadCache
from portal.serving import Response
from portal.serving.bounds.budget import Places
from portal.serving.connections.exchange import Exchange
from tests.support.clocks import Clock

WAIT = 10.0


class RecordingConnection:
    """A connection that keeps what is sent on it."""

    def __init__(self) -> None:
        self.sent = b""
        self.aborted = False
        self.streams = Places(1)
        self.takes = True  # whether `send_nowait` succeeds
        self.is_writing: threading.Event | None = None  # set once a piece is being written
        self.go_on = threading.Event()
        self.released: list[bool] = []  # for each early response, whether the connection can be kept

    def wait_for_room(self) -> None:
        pass

    def send_part(self, data: bytes) -> None:
        self.send(data)

    def send(self, data: bytes) -> None:
        if self.is_writing is not None:
            self.is_writing.set()
            assert self.go_on.wait(WAIT)
        self.sent += data

    def send_nowait(self, data: bytes) -> bool:
        if self.takes:
            self.sent += data
        return self.takes

    def abort(self) -> None:
        self.aborted = True

    def forget_hangup(self) -> None:
        pass


def exchange_on(
    connection: RecordingConnection, line: bytes = b"POST /f HTTP/1.1", keep_alive: bool = True
) -> Exchange:
    def release(_: Any, keeps: bool) -> None:
        connection.released.append(keeps)

    given: Any = connection
    return Exchange(given, HeadCache().parse(line + b"\r\nHost: x\r\n\r\n"), keep_alive, release)


def test_only_the_first_claim_succeeds() -> None:
    exchange = exchange_on(RecordingConnection())
    exchange.share()
    assert [exchange.claim(), exchange.claim()] == [True, False]


def test_sharing_twice_keeps_the_claim() -> None:
    exchange = exchange_on(RecordingConnection())
    exchange.share()
    assert exchange.claim()
    assert exchange.share() is exchange
    assert not exchange.claim()


@pytest.mark.parametrize(
    ("takes", "keep_alive", "kept"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_an_early_response_replaces_the_response_of_the_serving_thread(
    takes: bool, keep_alive: bool, kept: bool
) -> None:
    connection = RecordingConnection()
    connection.takes = takes
    exchange = exchange_on(connection, keep_alive=keep_alive)
    assert exchange.share().respond_early(Response(504, body=b"late"))
    assert connection.sent.startswith(b"HTTP/1.1 504 " if takes else b"")
    assert connection.sent.endswith(b"\r\n\r\nlate" if takes else b"")
    assert connection.released == [kept]
    assert not exchange.claim()
    assert not exchange.respond_early(Response(504))


def test_an_early_response_to_head_has_no_body() -> None:
    connection = RecordingConnection()
    exchange_on(connection, b"HEAD /f HTTP/1.1").share().respond_early(Response(504, body=b"late"))
    assert b"content-length: 4\r\n" in connection.sent.lower()
    assert connection.sent.endswith(b"\r\n\r\n")


def test_a_complete_response_is_not_aborted() -> None:
    """The function returned at the very moment of its deadline, and its response has been sent."""
    connection = RecordingConnection()
    exchange = exchange_on(connection)
    exchange.share()
    assert exchange.claim()
    exchange.send(Response(200, body=b"1"))
    assert not exchange.respond_early(Response(504, abort_chunk=b"last"))
    assert not connection.aborted
    assert connection.sent.endswith(b"\r\n\r\n1")
    assert connection.released == []


@pytest.mark.parametrize(
    ("line", "headers", "last"),
    [
        (b"POST /f HTTP/1.1", [], b"1\r\na\r\n4\r\nlast\r\n"),
        (b"GET /f HTTP/1.0", [], b"\r\n\r\nalast"),
        (b"POST /f HTTP/1.1", [("content-encoding", "gzip")], b"1\r\na\r\n"),
    ],
)
def test_a_stream_is_aborted_between_two_pieces(line: bytes, headers: list[tuple[str, str]], last: bytes) -> None:
    connection = RecordingConnection()
    exchange = exchange_on(connection, line)
    exchange.share()
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"a"
            assert not exchange.respond_early(Response(504, abort_chunk=b"last"))
            assert connection.aborted
            yield b"b"
        finally:
            closed.append(True)

    assert exchange.claim()
    with pytest.raises(ConnectionAbortedError):
        exchange.send(Response(200, headers, pieces()))
    assert connection.sent.endswith(last)
    assert closed == [True]
    assert exchange.keep_alive is False


def test_a_body_encodes_the_chunk_that_aborts_it() -> None:
    connection = RecordingConnection()
    exchange = exchange_on(connection)
    exchange.share()

    class Upper:
        def __init__(self) -> None:
            self.pieces = iter([b"A"])

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            exchange.respond_early(Response(504, abort_chunk=b"last"))
            return next(self.pieces)

        def encode_abort_chunk(self, chunk: bytes) -> bytes:
            return chunk.upper()

    assert exchange.claim()
    with pytest.raises(ConnectionAbortedError):
        exchange.send(Response(200, [("content-encoding", "upper")], Upper()))
    assert connection.sent.endswith(b"4\r\nLAST\r\n")


def test_a_stream_is_aborted_while_a_piece_is_written() -> None:
    """The client may take nothing, so the thread that aborts does not wait for the piece."""
    connection = RecordingConnection()
    connection.is_writing = threading.Event()
    exchange = exchange_on(connection)
    exchange.share()
    assert exchange.claim()
    sending = threading.Thread(target=exchange.send, args=(Response(200, body=iter([])),))
    sending.start()
    assert connection.is_writing.wait(WAIT)
    assert not exchange.respond_early(Response(504, abort_chunk=b"last"))
    assert connection.aborted
    connection.go_on.set()
    sending.join(WAIT)
    assert b"last" not in connection.sent


def test_a_stream_that_has_ended_is_not_aborted() -> None:
    connection = RecordingConnection()
    exchange = exchange_on(connection)
    exchange.share()
    assert exchange.claim()
    exchange.send(Response(200, body=iter([b"a"])))
    assert not exchange.respond_early(Response(504, abort_chunk=b"last"))
    assert not connection.aborted
    assert connection.sent.endswith(b"1\r\na\r\n0\r\n\r\n")


class Failing(RecordingConnection):
    def send_nowait(self, data: bytes) -> bool:
        raise MemoryError


def test_a_connection_is_released_although_the_early_response_fails() -> None:
    connection = Failing()
    exchange = exchange_on(connection).share()
    with pytest.raises(MemoryError):
        exchange.respond_early(Response(504, body=b"late"))
    assert connection.released == [False]
    assert not exchange.claim()
    exchange.check_released()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)], ids=repr)
def test_a_connection_that_is_not_released_is_broken_and_ended_by_the_serving_thread(error: BaseException) -> None:
    connection = RecordingConnection()

    def fail(_: Any, keeps: bool) -> None:
        raise error

    given: Any = connection
    exchange = Exchange(given, HeadCache().parse(b"POST /f HTTP/1.1\r\nHost: x\r\n\r\n"), True, fail).share()
    with pytest.raises(type(error)):
        exchange.respond_early(Response(504, body=b"late"))
    assert connection.aborted
    with pytest.raises(ConnectionAbortedError):
        exchange.check_released()


class Streaming(RecordingConnection):
    """Each step of a stream may fail."""

    def __init__(self, fails: str) -> None:
        super().__init__()
        self.fails = fails

    def wait_for_room(self) -> None:
        if self.fails == "wait_for_room":
            raise MemoryError

    def send_part(self, data: bytes) -> None:
        if self.fails == "send_part":
            raise MemoryError
        super().send_part(data)

    def forget_hangup(self) -> None:
        if self.fails == "forget_hangup":
            raise MemoryError


class Items:
    """The body of a stream, which notes that it was closed."""

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        if self.fails == "body":
            raise MemoryError
        yield b"one"

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("step", ["wait_for_room", "send_part", "body", "headers", "forget_hangup"])
def test_the_place_of_a_stream_is_put_back_whatever_step_raises(step: str) -> None:
    connection, body = Streaming(step), Items(step)
    exchange = exchange_on(connection)  # type: ignore[arg-type]
    assert exchange.claim()
    response = Response(200, body=body)  # type: ignore[arg-type]
    if step == "headers":
        response.headers = None  # type: ignore[assignment]
    with pytest.raises((MemoryError, TypeError, AttributeError)):
        exchange.send(response)
    assert connection.streams.taken == 0
    assert body.closed


class GatheringConnection(RecordingConnection):
    """A connection that notes which parts are gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[bytes, bool]] = []
        self.takes = True

    @property
    def output(self) -> GatheringConnection:
        return self

    def gather(self, data: bytes) -> bool:
        if self.takes:
            self.parts.append((data, True))
        return self.takes

    def send_part(self, data: bytes) -> None:
        self.parts.append((data, False))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("portal.serving.connections.exchange.monotonic", made)
    return made


def test_pieces_that_follow_at_once_are_gathered(clock: Clock) -> None:
    connection = GatheringConnection()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        clock.now += 0.002
        yield b"c"
        yield b"d"
        connection.takes = False
        yield b"e"

    exchange_on(connection).send(Response(200, [], pieces()))
    assert connection.parts[1:] == [
        (b"1\r\na\r\n", False),
        (b"1\r\nb\r\n", True),
        (b"1\r\nc\r\n", False),
        (b"1\r\nd\r\n", True),
        (b"1\r\ne\r\n", False),
        (b"0\r\n\r\n", False),
    ]


def test_a_stream_that_fails_sends_first_what_was_gathered(clock: Clock) -> None:
    connection = GatheringConnection()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        raise ConnectionAbortedError("the stream failed")

    with pytest.raises(ConnectionAbortedError, match="the stream failed"):
        exchange_on(connection).send(Response(200, [], pieces()))
    assert connection.parts[-2:] == [(b"1\r\nb\r\n", True), (b"", False)]
