"""MessageSocket: whole messages, and time limits in the middle of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from portal.processes.messages import MessageSocket

WAIT = 30.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, MessageSocket]]:
    raw, connected = socket.socketpair()
    made = MessageSocket(connected)
    yield raw, made
    raw.close()
    made.close()
    made.close()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
def test_messages_of_any_size(pair: tuple[socket.socket, MessageSocket], size: int) -> None:
    raw, there = pair
    here = MessageSocket(raw)
    messages = [bytes([number]) * size for number in range(3)]
    sender = threading.Thread(target=lambda: [here.send(one, WAIT) for one in messages])
    sender.start()
    assert [there.receive(WAIT) for _ in messages] == messages
    sender.join(WAIT)


def test_half_a_message_is_late(pair: tuple[socket.socket, MessageSocket]) -> None:
    raw, there = pair
    raw.sendall(b"\0\0\0")
    with pytest.raises(TimeoutError):
        there.receive(0.01)
    raw.sendall(b"\0\0\0\0\3ab")
    with pytest.raises(TimeoutError):
        there.receive(0.01)
    raw.sendall(b"c")
    assert there.receive(WAIT) == b"abc"


def test_a_message_that_is_not_taken_is_late(pair: tuple[socket.socket, MessageSocket]) -> None:
    with pytest.raises(TimeoutError):
        pair[1].send(b"x" * 50_000_000, 0.05)
    with pytest.raises(TimeoutError):
        pair[1].send(b"x", -1.0)


def test_the_end_of_the_other_side(pair: tuple[socket.socket, MessageSocket]) -> None:
    raw, there = pair
    raw.sendall(b"\0\0\0")
    raw.close()
    with pytest.raises(EOFError):
        there.receive(WAIT)
    with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
        there.send(b"x" * 100_000, WAIT)
