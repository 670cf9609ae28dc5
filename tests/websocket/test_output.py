"""Output: what is sent at once, and what waits for room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.websocket.frames import Close, FrameProtocol, TextMessage
from portal.websocket.output import Output

WAIT = 20.0


class Owner:
    """Records what an output asks for."""

    def __init__(self) -> None:
        self.waited = 0
        self.aborted: list[str] = []
        self.soon: list[Callable[[], object]] = []

    def on_waiting(self) -> None:
        self.waited += 1

    def abort(self, reason: str) -> None:
        self.aborted.append(reason)

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)


class Setup:
    def __init__(self) -> None:
        self.mine, self.peer = socket.socketpair()
        self.mine.setblocking(False)
        self.frames = FrameProtocol("server")
        self.reader = FrameProtocol("client")
        self.owner = Owner()
        self.lock = threading.RLock()
        self.output = Output(self.mine, self.frames, self.owner, self.lock, 1000)

    def fill(self) -> bytes:
        """Send until bytes wait. Return the text of the last message."""
        text = b"x" * 50_000
        while not self.output.queued:
            self.output.send(text)
        return text

    def received(self, length: int) -> list[Any]:
        """Read that many messages, and send what waits meanwhile."""
        events = list[Any]()
        self.peer.settimeout(WAIT)
        while len(events) < length:
            events += self.reader.feed(self.peer.recv(1 << 20))
            with self.lock:
                self.output.go_on()
        return events


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.mine.close()
    made.peer.close()


def test_frames_follow_the_messages_that_were_added_before(setup: Setup) -> None:
    setup.output.send(b"1", flush=False)
    with setup.lock:
        setup.output.send_frame(setup.frames.close)
    setup.output.send(b"after the close")
    assert setup.received(2) == [TextMessage("1"), Close(1000, "")]
    assert setup.owner.waited == 0


def test_what_finds_no_room_waits_in_its_order(setup: Setup) -> None:
    setup.fill()
    assert setup.owner.waited == 1
    queued = setup.output.queued
    setup.output.send(b"last")
    assert setup.output.queued == queued + 6
    while (events := setup.received(1))[-1] != TextMessage("last"):
        assert {len(event.text) for event in events if event != TextMessage("last")} == {50_000}
    assert setup.output.queued == 0


def test_a_thread_waits_for_room_until_the_deadline_or_the_end() -> None:
    setup = Setup()
    setup.fill()
    now = [100.0]
    output = Output(setup.mine, setup.frames, setup.owner, setup.lock, 1000, lambda: now[0])
    while not output.queued:
        output.send(b"x" * 50_000)
    assert output.wait_for_room(99.0) is False
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(output.wait_for_room(None)))
    waiting.start()
    with setup.lock:
        output.end()
    waiting.join(WAIT)
    assert found == [True]
    assert output.queued == 0
    output.send(b"after the end")
    assert output.queued == 0
    setup.mine.close()
    setup.peer.close()


def test_a_failure_ends_the_connection_later(setup: Setup) -> None:
    setup.peer.close()
    setup.output.send(b"1")
    setup.output.send(b"2")
    assert setup.owner.aborted
    assert "Broken pipe" in setup.owner.aborted[0]


def test_a_thread_leaves_the_rest_to_the_reading_thread(setup: Setup) -> None:
    class Busy(socket.socket):
        """Another message is added during each send."""

        def send(self, data: Any, flags: int = 0) -> int:
            if self.left:
                self.left -= 1
                output.send(b"more", flush=False)
            return super().send(data, flags)

    busy = Busy(fileno=setup.mine.detach())
    busy.left = 20  # type: ignore[attr-defined]
    setup.mine = busy
    output = Output(busy, setup.frames, setup.owner, setup.lock, 1000)
    output.send(b"first")
    assert len(setup.owner.soon) == 1
    setup.owner.soon[0]()
    assert len(setup.received(21)) == 21


def test_a_thread_that_is_interrupted_leaves_the_rest_to_the_reading_thread(setup: Setup) -> None:
    class Interrupted(socket.socket):
        def send(self, data: Any, flags: int = 0) -> int:
            output.send(b"of another thread", flush=False)
            raise KeyboardInterrupt

    setup.mine = Interrupted(fileno=setup.mine.detach())
    output = Output(setup.mine, setup.frames, setup.owner, setup.lock, 1000)
    with pytest.raises(KeyboardInterrupt):
        output.send(b"1")
    assert setup.owner.aborted == ["sending was interrupted"]
    assert setup.owner.soon == [output.flush]
