"""SocketChannel: what the channels of one application may keep together, and how one ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from portal.serving import Channel, Run
from portal.websocket.wsgi.socket_channel import SocketChannel, SocketChannels
from tests.support.waiting import eventually

WAIT = 10.0


def at_once(kind: Any, keys: Any, work: Any) -> None:
    work(None)


class Echo:
    """Returns lines in capitals; `big` sends much."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.events: list[str] = []
        self.lost_event = threading.Event()
        self.kept = b""

    def received(self, run: Run) -> None:
        self.kept += self.channel.take()
        while b"\n" in self.kept:
            line, _, self.kept = self.kept.partition(b"\n")
            if line.startswith(b"big"):
                self.channel.send(b"x" * int(line[3:]))
            elif line == b"pause":
                self.channel.pause()
            else:
                self.channel.send(line.upper() + b"\n")
        if not self.channel.hold_input(len(self.kept)):
            self.refused()

    def writable(self) -> None:
        self.events.append("writable")

    def overdue(self) -> bool:
        self.channel.finish(b"late\n")
        return True

    def farewell(self) -> bytes:
        self.events.append("farewell")
        return b"too slow\n"

    def refused(self) -> None:
        self.channel.finish(b"too much\n")

    def stopping(self) -> None: ...

    def ending(self) -> None: ...

    def lost(self) -> None:
        self.lost_event.set()


class Served:
    """A channel in a thread, its handler, and the client's socket."""

    def __init__(self, channels: SocketChannels) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(listening.getsockname(), timeout=WAIT)
        sock, _ = listening.accept()
        listening.close()
        self.sock = sock
        self.channel = SocketChannel(sock, "192.0.2.1", channels)
        self.handlers: list[Echo] = []
        self.thread = threading.Thread(target=self.channel.serve, args=(self._take, b"head\n"))
        self.thread.start()
        assert self.client.recv(5, socket.MSG_WAITALL) == b"head\n"

    def _take(self, channel: Channel) -> Echo:
        self.handlers.append(Echo(channel))
        return self.handlers[0]

    @property
    def handler(self) -> Echo:
        eventually(lambda: bool(self.handlers))
        return self.handlers[0]

    def read_all(self) -> bytes:
        data = b""
        while piece := self.client.recv(65536):
            data += piece
        return data

    def close(self) -> None:
        self.client.close()
        self.thread.join(WAIT)
        self.sock.close()
        assert not self.thread.is_alive()


def channels(**changes: Any) -> SocketChannels:
    settings = {
        "max_output": 64_000_000,
        "max_input": 1_000_000,
        "max_unknown_input": 500_000,
        "write_timeout": 30.0,
        "min_write_rate": 1,
    }
    return SocketChannels(**(settings | changes), run=lambda: at_once, run_in_worker=at_once)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served(channels())
    yield made
    made.close()


def test_bytes_go_in_both_directions(served: Served) -> None:
    served.client.sendall(b"ab\ncd\n")
    assert b"".join(served.client.recv(3, socket.MSG_WAITALL) for _ in range(2)) == b"AB\nCD\n"
    assert (served.channel.bytes_in, served.channel.bytes_out) == (6, 11)
    assert (served.channel.peer, served.channel.secure, served.channel.identity) == ("192.0.2.1", False, None)


def test_another_thread_sends_while_the_own_one_waits(served: Served) -> None:
    served.handler.channel.send(b"push\n")
    assert served.client.recv(5, socket.MSG_WAITALL) == b"push\n"


def test_what_the_client_does_not_read_is_sent_later(served: Served) -> None:
    served.client.sendall(b"big20000000\n")
    eventually(lambda: served.channel.queued > 0)
    left = 20_000_000
    while left:
        left -= len(served.client.recv(min(left, 1 << 20)))
    eventually(lambda: served.handler.events == ["writable"])


def test_reading_is_paused_and_resumed(served: Served) -> None:
    served.client.sendall(b"pause\n")
    eventually(lambda: served.channel.bytes_in == 6)
    served.client.sendall(b"later\n")
    served.channel.resume()
    assert served.client.recv(6, socket.MSG_WAITALL) == b"LATER\n"


def test_the_last_bytes_arrive_and_the_thread_ends(served: Served) -> None:
    served.handler.channel.set_deadline(monotonic())
    served.channel._wake(False)
    assert served.read_all() == b"late\n"
    served.client.close()
    assert served.handler.lost_event.wait(WAIT)


def test_a_silent_client_does_not_keep_the_thread(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.websocket.wsgi.socket_channel.DRAIN_SECONDS", 0.05)
    served.handler.channel.finish(b"bye\n")
    served.thread.join(WAIT)
    assert not served.thread.is_alive()
    assert served.handler.lost_event.is_set()


def test_a_client_that_reads_nothing_is_given_up() -> None:
    served = Served(channels(write_timeout=0.1))
    served.client.sendall(b"big20000000\n")
    assert served.handler.lost_event.wait(WAIT)
    served.close()


def test_the_heaviest_client_is_cut_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.websocket.wsgi.socket_channel.DRAIN_SECONDS", WAIT)
    together = channels(max_output=20_000_000)
    slow, other = Served(together), Served(together)
    slow.client.sendall(b"big1000000\n" * 19)
    eventually(lambda: slow.channel.queued > 12_500_000)  # more than the other one will have
    other.client.sendall(b"big12000000\n")
    eventually(lambda: slow.handler.events == ["farewell"])
    assert slow.read_all().endswith(b"xtoo slow\n")
    left = 12_000_000
    while left:
        left -= len(other.client.recv(min(left, 1 << 20)))
    other.client.sendall(b"alive\n")
    assert other.client.recv(6, socket.MSG_WAITALL) == b"ALIVE\n"
    slow.close()
    other.close()
    assert together.output.used == 0


def test_incomplete_messages_count_together() -> None:
    together = channels(max_input=100_000, max_unknown_input=100_000)
    heavy, light = Served(together), Served(together)
    heavy.client.sendall(b"x" * 70_000)
    eventually(lambda: together.inputs.total.used == 70_000)
    light.client.sendall(b"y" * 50_000)
    eventually(lambda: together.inputs.refused == 1)
    heavy.client.sendall(b"x")
    light.client.sendall(b"y\n")
    assert light.client.recv(50_002, socket.MSG_WAITALL) == b"Y" * 50_001 + b"\n"
    heavy.close()
    light.close()
    assert together.inputs.total.used == 0
