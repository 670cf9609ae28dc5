"""Callers that receive their responses themselves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from portal.websocket.client.dialer import Dialed
from portal.websocket.client.reader import Reader
from portal.websocket.client.receiving import ReceivingCaller
from portal.websocket.client.transport import Transport
from portal.websocket.frames import FrameProtocol

WAIT = 20.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, other = socket.socketpair()
    with mine, other:
        yield mine, other


def test_a_caller_receives_until_it_is_done(pair: tuple[socket.socket, socket.socket]) -> None:
    mine, other = pair
    got: list[bytes] = []
    caller = ReceivingCaller(lambda: got.append(mine.recv(1)), pytest.fail, monotonic)
    other.send(b"abc")
    caller.begin(mine.fileno())
    caller.receive_until(lambda: len(got) == 2, None)
    assert got == [b"a", b"b"]
    caller.receive_until(lambda: len(got) == 4, monotonic() + 0.01)
    assert got == [b"a", b"b", b"c"]
    assert caller.is_receiving
    caller.end()
    assert not caller.is_receiving


def test_a_caller_is_woken(pair: tuple[socket.socket, socket.socket]) -> None:
    done = threading.Event()
    caller = ReceivingCaller(pytest.fail, pytest.fail, monotonic)
    caller.wake()  # nobody receives
    caller.begin(pair[0].fileno())
    thread = threading.Thread(target=caller.receive_until, args=(done.is_set, None))
    thread.start()
    done.set()
    caller.wake()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_fault_gives_up_the_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    failed: list[BaseException] = []
    caller = ReceivingCaller(lambda: 1 // 0, failed.append, monotonic)
    pair[1].send(b"x")
    caller.begin(pair[0].fileno())
    caller.receive_until(lambda: bool(failed), None)
    assert isinstance(failed[0], ZeroDivisionError)


class Owner:
    def __init__(self) -> None:
        self.texts: list[Any] = []
        self.threads: list[threading.Thread] = []
        self.lost = threading.Event()
        self.changed = threading.Condition()

    def on_text(self, transport: Transport, text: Any) -> None:
        with self.changed:
            self.texts.append(text)
            self.threads.append(threading.current_thread())
            self.changed.notify_all()

    def on_lost(self, transport: Transport, code: int, reason: str) -> None:
        self.lost.set()

    def wait_for(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.texts) >= number, WAIT)


class Rig:
    def __init__(self) -> None:
        self.reader, self.owner = Reader(), Owner()
        mine, self.other = socket.socketpair()
        mine.setblocking(False)
        self.sock = mine
        self.frames = FrameProtocol("server")
        self.transport = Transport(
            Dialed(mine, FrameProtocol("client"), b"", ()), self.reader, self.owner, heartbeat=None
        )
        self.transport.start()
        self.send("first")
        self.owner.wait_for(1)  # the reader watches by now

    def send(self, text: str) -> None:
        self.other.sendall(self.frames.text(text))

    def receive(self, is_done: Callable[[], bool], seconds: float = WAIT) -> bool:
        return self.transport.receive_until(is_done, monotonic() + seconds)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    loop = made.reader._loop._thread
    yield made
    made.transport.abort("the test ends")
    assert made.owner.lost.wait(WAIT)
    assert loop is not None
    loop.join(WAIT)
    assert made.sock.fileno() == -1
    made.other.close()


def test_the_caller_takes_the_place_of_the_reader(rig: Rig) -> None:
    reading = rig.owner.threads[0]
    for number in range(2, 102):  # as the reader may see a text first
        timer = threading.Timer(0.01, rig.send, [f"text {number}"])
        timer.start()
        rig.receive(lambda: len(rig.owner.texts) == number, 0.5)  # noqa: B023 - called in this turn only
        rig.owner.wait_for(number)
        timer.join(WAIT)
        if rig.owner.threads[-1] is threading.current_thread():
            break
    assert rig.owner.threads[-1] is threading.current_thread()
    rig.transport.hand_over()
    rig.send("last")
    rig.owner.wait_for(number + 1)
    assert rig.owner.threads[-1] is reading


def test_the_reader_comes_back_by_itself(rig: Rig) -> None:
    assert rig.receive(lambda: True)
    rig.send("second")
    rig.owner.wait_for(2)


def test_one_caller_at_a_time(rig: Rig) -> None:
    began, done = threading.Event(), threading.Event()

    def is_done() -> bool:
        began.set()
        return done.is_set()

    thread = threading.Thread(target=rig.receive, args=(is_done,))
    thread.start()
    assert began.wait(WAIT)
    assert not rig.receive(lambda: True)
    rig.transport.hand_over()  # waits for nobody and changes nothing while one receives
    done.set()
    rig.transport.wake()
    thread.join(WAIT)


def test_a_connection_that_ends_while_a_caller_receives(rig: Rig) -> None:
    began = threading.Event()

    def is_done() -> bool:
        began.set()
        return rig.owner.lost.is_set()

    thread = threading.Thread(target=rig.receive, args=(is_done,))
    thread.start()
    assert began.wait(WAIT)
    rig.other.close()
    thread.join(WAIT)
    assert rig.owner.lost.is_set()
    assert not rig.receive(lambda: True)


def test_a_caller_returns_if_it_looks_before_the_owner_knows_that_the_connection_has_ended(rig: Rig) -> None:
    began, returned = threading.Event(), threading.Event()

    def receive() -> None:
        rig.receive(lambda: began.set() or rig.owner.lost.is_set())  # type: ignore[func-returns-value]
        returned.set()

    def on_lost(transport: Transport, code: int, reason: str) -> None:
        came_back.append(returned.wait(WAIT))
        rig.owner.lost.set()

    came_back: list[bool] = []
    rig.owner.on_lost = on_lost  # type: ignore[method-assign]
    thread = threading.Thread(target=receive)
    thread.start()
    assert began.wait(WAIT)
    rig.transport.abort("scripted")
    assert rig.owner.lost.wait(2 * WAIT)
    thread.join(WAIT)
    assert came_back == [True]


def test_the_descriptor_stays_open_while_a_caller_receives(rig: Rig) -> None:
    began, done = threading.Event(), threading.Event()
    seen: list[int] = []

    def is_done() -> bool:
        began.set()
        seen.append(rig.sock.fileno())
        return done.is_set()

    thread = threading.Thread(target=rig.receive, args=(is_done,))
    thread.start()
    assert began.wait(WAIT)
    rig.transport.abort("enough")
    assert rig.owner.lost.wait(WAIT)
    detached = threading.Event()
    rig.reader.call_soon(detached.set)
    done.set()
    rig.transport.wake()
    thread.join(WAIT)
    assert -1 not in seen
