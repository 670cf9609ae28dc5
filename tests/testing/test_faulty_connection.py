from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from portal.testing import BlackHole, Cut, HalfOpen, Latency, NetworkFault, Reset, Rewrite, SlowBytes
from portal.testing.faulty_connection import FaultyConnection
from tests.support.echo_server import EchoServer, echo_server


class Peer:
    """A client at one end of a FaultyConnection; the faults of its exchanges are given in order."""

    def __init__(self, target: tuple[str, int], *faults: NetworkFault | None) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.socket = socket.create_connection(listening.getsockname(), timeout=10)
        accepted, _ = listening.accept()
        listening.close()
        self.waits: list[float] = []
        turns = iter(faults)
        self.connection = FaultyConnection(accepted, target, lambda: next(turns, None), self._wait)
        self.thread = threading.Thread(target=self.connection.run)
        self.thread.start()

    def _wait(self, duration: float) -> bool:
        self.waits.append(duration)
        return False

    def exchange(self, data: bytes) -> bytes:
        """Send data and return what comes back, until as many bytes as were sent or the end."""
        self.socket.sendall(data)
        return self.read(len(data))

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size and (piece := self.socket.recv(size - len(found))):
            found += piece
        return found

    def is_silent(self) -> bool:
        """Whether the connection is open and nothing comes."""
        self.socket.settimeout(0.05)
        try:
            self.socket.recv(1)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with echo_server() as running:
        yield running


@pytest.fixture
def connect(server: EchoServer) -> Iterator[type[Peer]]:
    peers: list[Peer] = []

    def make(*faults: NetworkFault | None) -> Peer:
        peers.append(Peer(("127.0.0.1", server.port), *faults))
        return peers[-1]

    yield make  # type: ignore[misc]
    for peer in peers:
        peer.close()


def test_without_a_fault_bytes_pass_unchanged(connect: type[Peer], server: EchoServer) -> None:
    peer = connect()
    assert [peer.exchange(b"one"), peer.exchange(b"two")] == [b"ONE", b"TWO"]
    assert server.received == b"onetwo"


def test_the_end_of_requests_is_passed_on(connect: type[Peer], server: EchoServer) -> None:
    peer = connect()
    peer.socket.sendall(b"last")
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.read(10) == b"LAST"
    assert server.ended.wait(10)


@pytest.mark.parametrize("fault", [Latency(3), Latency(3, "response")])
def test_latency_waits_once_an_exchange(fault: Latency, connect: type[Peer]) -> None:
    peer = connect(fault, None, fault)
    assert [peer.exchange(data) for data in (b"one", b"two", b"six")] == [b"ONE", b"TWO", b"SIX"]
    assert peer.waits == [3, 3]


@pytest.mark.parametrize(("piece", "waits"), [(1, 5), (2, 3), (9, 1)])
def test_slow_bytes_wait_before_each_piece(piece: int, waits: int, connect: type[Peer]) -> None:
    peer = connect(SlowBytes(0.5, piece))
    assert peer.exchange(b"abcde") == b"ABCDE"
    assert peer.waits == [0.5] * waits


def test_a_slow_request_arrives_as_a_whole(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(SlowBytes(0.5, 2, "request"))
    assert peer.exchange(b"abcde") == b"ABCDE"
    assert (server.received, peer.waits) == (b"abcde", [0.5, 0.5, 0.5])


def test_cut_ends_the_response_after_so_many_bytes(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(None, Cut(2))
    assert peer.exchange(b"one") == b"ONE"
    assert peer.exchange(b"two") == b"TW"
    assert server.received == b"onetwo"


def test_a_cut_request_arrives_in_part(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(Cut(2, "request"))
    peer.socket.sendall(b"one")
    assert server.ended.wait(10)
    assert server.received in (b"on", b"")  # the server may see the end before it has read
    assert b"one" not in server.received
    assert peer.read(3) in (b"", b"ON")


def test_a_request_cut_at_once_does_not_arrive(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(Cut(0, "request"))
    assert peer.exchange(b"one") == b""
    assert server.ended.wait(10)
    assert server.received == b""


def test_a_fault_past_the_end_does_not_happen(connect: type[Peer]) -> None:
    peer = connect(Cut(4), Reset(4), HalfOpen(4))
    assert [peer.exchange(data) for data in (b"one", b"two", b"six")] == [b"ONE", b"TWO", b"SIX"]


@pytest.mark.parametrize("direction", ["request", "response"])
def test_reset_sends_a_tcp_reset(direction: str, connect: type[Peer], server: EchoServer) -> None:
    peer = connect(Reset(0, direction))  # type: ignore[arg-type]
    with pytest.raises(ConnectionResetError):
        peer.exchange(b"one")
    assert server.ended.wait(10)
    assert server.received == (b"" if direction == "request" else b"one")


def test_half_open_delivers_the_request_and_then_nothing(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(HalfOpen(2))
    peer.socket.sendall(b"one")
    assert peer.read(2) == b"ON"
    assert server.wait_for(b"one")
    assert peer.is_silent()
    peer.socket.settimeout(10)
    peer.socket.sendall(b"two")
    assert peer.is_silent()
    assert server.received == b"one"


def test_a_black_hole_delivers_nothing(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(BlackHole())
    peer.socket.sendall(b"one")
    assert peer.is_silent()
    assert server.received == b""


def test_rewrite_changes_the_bytes(connect: type[Peer], server: EchoServer) -> None:
    peer = connect(Rewrite(lambda data: data[::-1], direction="request"), Rewrite(lambda data: data * 2))
    assert peer.exchange(b"abc") == b"CBA"
    peer.socket.sendall(b"xy")
    assert peer.read(4) == b"XYXY"
    assert server.received == b"cbaxy"


@pytest.mark.parametrize("fault", [None, BlackHole(), HalfOpen()])
def test_close_ends_both_connections(fault: NetworkFault | None, connect: type[Peer], server: EchoServer) -> None:
    peer = connect(None, fault)
    peer.exchange(b"one")
    peer.socket.sendall(b"two")
    if fault is None:
        peer.read(3)
    peer.connection.close()
    assert peer.socket.recv(1) == b""
    assert server.ended.wait(10)
    peer.thread.join(10)
    assert not peer.thread.is_alive()


def test_a_server_that_is_not_running_ends_the_connection() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        peer = Peer(reserved.getsockname())
        assert peer.socket.recv(1) == b""
        peer.close()
