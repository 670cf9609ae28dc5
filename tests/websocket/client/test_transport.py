"""Transport, over pairs of sockets with a FrameProtocol at the other end."""

from __future__ import annotations

import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.websocket.client.dialer import Dialed
from portal.websocket.client.reader import Reader
from portal.websocket.client.transport import Transport
from portal.websocket.frames import Close, FrameProtocol, Ping, TextMessage

WAIT = 20.0


class Owner:
    def __init__(self) -> None:
        self.texts: list[Any] = []
        self.lost: list[tuple[int, str]] = []
        self.changed = threading.Condition()
        self.fails = False

    def on_text(self, transport: Transport, text: Any) -> None:
        with self.changed:
            self.texts.append(text)
            self.changed.notify_all()
        if self.fails:
            raise RuntimeError("scripted")

    def on_lost(self, transport: Transport, code: int, reason: str) -> None:
        with self.changed:
            self.lost.append((code, reason))
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT)


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.frames = FrameProtocol("server", max_message=1 << 26)
        self.events: list[Any] = []

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> Any:
        while not self.events:
            data = self.sock.recv(1 << 20)
            if not data:
                return None
            self.events += self.frames.feed(data)
        return self.events.pop(0)


class Clock:
    """A clock that a test sets, and a reader that follows it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reader = Reader(self)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.reader.call_at(0.0, lambda: None)  # wakes it


@pytest.fixture
def connect() -> Iterator[Callable[..., tuple[Transport, Peer, Owner]]]:
    shared, opened = Reader(), []

    def make(rest: bytes = b"", *, pair: Any = None, **options: Any) -> tuple[Transport, Peer, Owner]:
        reader = options["clock"].reader if "clock" in options else shared
        mine, other = pair or socket.socketpair()
        mine.setblocking(False)
        other.settimeout(WAIT)
        owner = Owner()
        transport = Transport(Dialed(mine, FrameProtocol("client"), rest, ()), reader, owner, **options)
        opened.append((reader, transport, other))
        return transport, Peer(other), owner

    yield make
    loops = {reader._loop._thread for reader, _, _ in opened}
    for _, transport, other in opened:
        transport.abort("the test ends")
        other.close()
    for loop in loops:
        if loop is not None:
            loop.join(WAIT)
            assert not loop.is_alive()


def test_messages_both_ways(connect: Any) -> None:
    transport, peer, owner = connect()
    transport.start()
    transport.send(b'"a"')
    assert peer.next() == TextMessage('"a"')
    peer.send(peer.frames.text("b") + peer.frames.binary(b"c"))
    owner.wait_for(lambda: len(owner.texts) == 2)
    assert owner.texts == ["b", b"c"]
    assert transport.queued == 0


def test_bytes_after_the_handshake_come_first(connect: Any) -> None:
    frame = FrameProtocol("server").text("first")
    transport, peer, owner = connect(rest=frame[:3])
    peer.send(frame[3:] + FrameProtocol("server").text("second"))
    transport.start()
    owner.wait_for(lambda: len(owner.texts) == 2)
    assert owner.texts == ["first", "second"]


def test_short_messages_are_read_into_a_short_buffer(connect: Any) -> None:
    class Recorded(socket.socket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            data = super().recv(size, flags)
            reads.append((size, len(data)))
            return data

    reads: list[tuple[int, int]] = []
    mine, other = socket.socketpair()
    recorded = Recorded(fileno=mine.detach())
    transport, peer, owner = connect(pair=(recorded, other))
    transport.start()
    for number, text in enumerate(("short", "x" * 1_000_000, "short", "short")):
        sending = threading.Thread(target=peer.send, args=(peer.frames.text(text),))
        sending.start()
        owner.wait_for(lambda number=number: len(owner.texts) == number + 1)
        sending.join(WAIT)
    assert owner.texts == ["short", "x" * 1_000_000, "short", "short"]
    assert reads[0][0] == reads[-1][0] == 64 * 1024
    for (size, length), (following, _) in itertools.pairwise(reads):
        assert following == (256 * 1024 if length >= 64 * 1024 else 64 * 1024), (size, length)


def test_messages_that_are_left_to_a_flush_keep_their_order(connect: Any) -> None:
    transport, peer, _ = connect()
    transport.start()
    transport.send(b"1", flush=False)
    transport.send(b"2", flush=False)
    assert select.select([peer.sock], [], [], 0)[0] == []
    transport.send(b"3")
    assert [peer.next() for _ in range(3)] == [TextMessage("1"), TextMessage("2"), TextMessage("3")]
    transport.send(b"4", flush=False)
    transport.flush()
    assert peer.next() == TextMessage("4")
    transport.send(b"5", flush=False)
    transport.close()
    assert [type(peer.next()) for _ in range(2)] == [TextMessage, Close]


def test_a_connection_ends_whose_sending_was_interrupted(connect: Any) -> None:
    """The thread may have had messages of other threads, whose calls would wait for nothing."""

    class Interrupted(socket.socket):
        def send(self, data: Any, flags: int = 0) -> int:
            raise KeyboardInterrupt

    mine, other = socket.socketpair()
    transport, _, owner = connect(pair=(Interrupted(fileno=mine.detach()), other))
    transport.start()
    with pytest.raises(KeyboardInterrupt):
        transport.send(b"1")
    owner.wait_for(lambda: owner.lost)
    assert owner.lost == [(1006, "sending was interrupted")]


def test_a_ping_is_answered(connect: Any) -> None:
    transport, peer, _ = connect()
    transport.start()
    peer.send(peer.frames.ping(b"xy"))
    assert peer.next().payload == b"xy"


def test_no_message_of_16_threads_is_torn(connect: Any) -> None:
    transport, peer, _ = connect()
    transport.start()
    texts = [bytes([65 + number]) * (1 << 20) for number in range(16)]
    threads = [threading.Thread(target=transport.send, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    got = {peer.next().text.encode() for _ in texts}
    for thread in threads:
        thread.join(WAIT)
    assert got == set(texts)


def test_a_caller_waits_for_room(connect: Any) -> None:
    transport, peer, _ = connect(max_queued=1000)
    transport.start()
    assert transport.wait_for_room(None)
    transport.send(b"x" * (8 << 20))
    assert transport.queued > 1000
    assert not transport.wait_for_room(transport._clock() + 0.01)
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(transport.wait_for_room(None)))
    thread.start()
    assert len(peer.next().text) == 8 << 20
    thread.join(WAIT)
    assert waited == [True]


def test_a_caller_that_waits_for_room_is_woken_by_the_end(connect: Any) -> None:
    transport, _, owner = connect(max_queued=1000)
    transport.start()
    transport.send(b"x" * (8 << 20))
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(transport.wait_for_room(None)))
    thread.start()
    transport.abort("enough")
    thread.join(WAIT)
    assert waited == [True]
    owner.wait_for(lambda: owner.lost)
    assert owner.lost == [(1006, "enough")]
    transport.send(b"y")  # does nothing


def test_the_peer_closes(connect: Any) -> None:
    transport, peer, owner = connect()
    transport.start()
    peer.send(peer.frames.close(4401, "expired"))
    assert peer.next() == Close(4401, "")
    owner.wait_for(lambda: owner.lost)
    assert owner.lost == [(4401, "expired")]
    assert peer.next() is None


def test_this_side_closes_and_waits_for_the_peer(connect: Any) -> None:
    transport, peer, owner = connect()
    transport.start()
    transport.close(1000, "done")
    transport.close()
    assert peer.next() == Close(1000, "done")
    assert owner.lost == []
    peer.send(peer.frames.close(1000))
    owner.wait_for(lambda: owner.lost)
    assert owner.lost[0][0] == 1000


def test_a_peer_that_ends_without_a_close_frame(connect: Any) -> None:
    transport, peer, owner = connect()
    transport.start()
    peer.sock.close()
    owner.wait_for(lambda: owner.lost)
    assert owner.lost[0][0] == 1006


def test_a_peer_that_breaks_the_protocol(connect: Any) -> None:
    transport, peer, owner = connect()
    transport.start()
    peer.send(b"\xff\xff\xff\xff")
    assert isinstance(peer.next(), Close)
    owner.wait_for(lambda: owner.lost)
    assert owner.lost[0][0] == 1002


def test_a_fault_of_the_owner_ends_its_own_connection(connect: Any) -> None:
    transport, peer, owner = connect()
    other, other_peer, other_owner = connect()
    transport.start()
    other.start()
    owner.fails = True
    peer.send(peer.frames.text("x"))
    owner.wait_for(lambda: owner.lost)
    assert owner.lost == [(1006, "RuntimeError: scripted")]
    other_peer.send(other_peer.frames.text("y"))
    other_owner.wait_for(lambda: other_owner.texts)


def test_a_silent_peer_gets_a_ping_and_then_counts_as_lost(connect: Any) -> None:
    clock = Clock()
    transport, peer, owner = connect(heartbeat=20.0, clock=clock)
    transport.start()
    clock.advance(20.0)
    assert isinstance(peer.next(), Ping)
    clock.advance(20.0)
    owner.wait_for(lambda: owner.lost)
    assert owner.lost == [(1006, "the server was silent for 40 seconds")]


def test_a_peer_that_answers_pings_stays(connect: Any) -> None:
    clock = Clock()
    transport, peer, owner = connect(heartbeat=20.0, clock=clock)
    transport.start()
    for number in range(1, 6):
        clock.advance(20.0)
        ping = peer.next()
        assert isinstance(ping, Ping)
        peer.send(peer.frames.pong(ping.payload) + peer.frames.text("heard"))
        owner.wait_for(lambda number=number: len(owner.texts) == number)
    assert owner.lost == []


@pytest.mark.parametrize("late", [40.0, 41.0, 3600.0])
def test_a_thread_that_comes_late_sends_a_ping_first(connect: Any, late: float) -> None:
    """A process that stood still has not read what has arrived: the silence is its own."""
    clock = Clock()
    transport, peer, owner = connect(heartbeat=20.0, clock=clock)
    transport.start()
    clock.advance(late)
    assert isinstance(peer.next(), Ping)
    peer.send(peer.frames.text("here"))
    owner.wait_for(lambda: owner.texts)
    clock.advance(late)
    assert isinstance(peer.next(), Ping)
    assert owner.lost == []
    clock.advance(20.0)
    owner.wait_for(lambda: owner.lost)
