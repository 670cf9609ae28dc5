"""Connections that are being served go before those that arrive, and those are handled for a short time only."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from portal import HTTPPortal
from portal.serving.loop import acceptor as acceptor_module
from portal.serving.loop.acceptor import Acceptor
from portal.serving.loop.event_order import EventOrder
from portal.serving.loop.reactor import Reactor
from tests.support.waiting import eventually

WAIT = 10.0


@dataclass
class Parked:
    requests: int = 0
    draining: bool = False


class Loop:
    """Handles sockets, each in some time, and notes them."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.handled: list[int] = []
        self.ends_at = 0

    def handle(self, fd: int) -> bool:
        self.handled.append(fd)
        self.now += self.seconds
        return fd != self.ends_at


def order_of(loop: Loop, parked: dict[int, Parked]) -> EventOrder:
    return EventOrder(parked, loop.handle, lambda: loop.now)


def test_established_connections_come_first_and_the_rest_keeps_its_order() -> None:
    loop = Loop(0.0)
    parked = {5: Parked(), 6: Parked(requests=3), 7: Parked(requests=1, draining=True), 9: Parked(requests=1)}
    order = order_of(loop, parked)
    assert order.established([4, 5, 6, 7, 8, 9]) == [6, 9]
    assert list(order.waiting) == [4, 5, 7, 8]
    assert order.handle_some()
    assert loop.handled == [4, 5, 7, 8]
    assert order.waiting == {}


def test_the_rest_is_handled_for_a_short_time_and_the_oldest_first() -> None:
    loop = Loop(0.0009)
    order = order_of(loop, {})
    assert order.established([1, 2, 3, 4, 5]) == []
    order.handle_some()
    assert loop.handled == [1, 2, 3]
    assert order.established([6, 4, 5, 7]) == []
    order.handle_some()
    assert loop.handled == [1, 2, 3, 4, 5, 6]
    assert list(order.waiting) == [7]


def test_one_is_handled_in_any_case() -> None:
    loop = Loop(10.0)
    order = order_of(loop, {})
    order.established([1, 2])
    order.handle_some()
    assert loop.handled == [1]


def test_a_socket_that_waits_is_not_handled_twice_and_may_become_established() -> None:
    loop = Loop(0.003)
    parked = {1: Parked(), 2: Parked()}
    order = order_of(loop, parked)
    order.established([1, 2])
    order.handle_some()
    parked[2].requests = 1
    assert order.established([2]) == [2]
    assert order.waiting == {}


def test_nothing_is_handled_after_the_end_of_the_leadership() -> None:
    loop = Loop(0.0)
    loop.ends_at = 2
    order = order_of(loop, {})
    order.established([1, 2, 3])
    assert not order.handle_some()
    assert loop.handled == [1, 2]


def test_deadlines_are_checked_as_of_the_oldest_socket_that_waits() -> None:
    loop = Loop(0.003)
    order = order_of(loop, {})
    assert order.oldest(7.0) == 7.0
    order.established([1, 2])
    order.handle_some()
    loop.now = 1.0
    order.established([2, 3])
    assert order.oldest(7.0) == 0.0
    order.handle_some()
    assert order.oldest(7.0) == 1.0


def request(path: str = "/api/double", body: bytes = b'{"number":1}') -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


def connect(portal: HTTPPortal) -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT)


def respond(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    return data


def port_of(fd: int) -> int:
    """Return the port of the client of a connection; 0 for a listening socket."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            return int(sock.getpeername()[1])
        except OSError:
            return 0


def test_a_client_that_is_being_served_does_not_wait_for_those_that_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 clients send their first request and 40 more connect while the loop is held up; then a known client sends."""
    held, go = threading.Event(), threading.Event()
    handled: list[int] = []  # ports of clients
    stopper = [0]
    on_event = Reactor._on_event

    def hold_up(self: Reactor, fd: int, turn: Any) -> None:
        if not held.is_set() and stopper[0] and port_of(fd) == stopper[0]:
            held.set()
            assert go.wait(WAIT)
        elif held.is_set():
            handled.append(port_of(fd))
        on_event(self, fd, turn)

    def double(number: int) -> int:
        return 2 * number

    monkeypatch.setattr(Reactor, "_on_event", hold_up)
    with HTTPPortal() as portal:
        portal.apply(double)
        known, blocker, *strangers = (connect(portal) for _ in range(62))
        known.sendall(request())
        assert respond(known).startswith(b"HTTP/1.1 200")
        port = known.getsockname()[1]
        engine = portal.listener._engine
        assert engine is not None
        eventually(lambda: len(engine.table.parked) == 62)  # no worker lingers on the known connection any more
        stopper[0] = blocker.getsockname()[1]
        blocker.sendall(request())
        assert held.wait(WAIT)
        for sock in strangers:
            sock.sendall(request())
        late = [connect(portal) for _ in range(40)]
        known.sendall(request())
        go.set()
        for sock in (known, blocker, *strangers):
            assert respond(sock).startswith(b"HTTP/1.1 200")
        for sock in (known, blocker, *strangers, *late):
            sock.close()
    assert handled[0] == port


def test_connections_are_accepted_for_a_short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that takes long to accept, as other threads compute, is the last of its turn."""
    turns: list[int] = []
    accept, accept_one, now = Acceptor.accept, Acceptor._admit, [0.0]

    def count_turn(self: Acceptor, fd: int) -> None:
        turns.append(0)
        accept(self, fd)

    def take_long(self: Acceptor, *args: Any) -> None:
        turns[-1] += 1
        now[0] += 0.0006
        accept_one(self, *args)

    monkeypatch.setattr(Acceptor, "accept", count_turn)
    monkeypatch.setattr(Acceptor, "_admit", take_long)
    monkeypatch.setattr(acceptor_module, "monotonic", lambda: now[0])
    with HTTPPortal() as portal:
        portal.apply(abs_of)
        socks = [connect(portal) for _ in range(30)]
        for sock in socks:
            sock.sendall(request("/api/abs_of"))
        for sock in socks:
            assert respond(sock).startswith(b"HTTP/1.1 200")
            sock.close()
    assert sum(turns) == 30
    assert max(turns) <= 2


def abs_of(number: float) -> float:
    return abs(number)
