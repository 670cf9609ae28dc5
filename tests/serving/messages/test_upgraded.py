"""Upgraded: another protocol on a connection of the listener."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from portal import HTTPPortal
from portal.serving import Connection, Request, Response

BODY = b'{"a":1,"b":2}'
POST = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


def connect(portal: HTTPPortal) -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT)


def read_response(sock: socket.socket) -> bytes:
    """Read one response with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; there is no event to wait for."""
    end, pause = monotonic() + WAIT, threading.Event()
    while not condition():
        assert monotonic() < end, "the condition never became true"
        pause.wait(0.005)


class Echo:
    """A protocol of lines. It returns each in capitals. `back` returns to HTTP, and a worker does `work`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.buffer = b""
        self.events: list[str] = []

    def received(self, data: bytes) -> Callable[[], object] | None:
        self.buffer += data
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            if line == b"back":
                rest, self.buffer = self.buffer, b""
                self.connection.resume_http(rest)
                return None
            if line == b"work":
                return lambda: self.connection.send(threading.current_thread().name.encode() + b"\n")
            self.connection.send(line.upper() + b"\n")
        return None

    def overloaded(self, work: Callable[[], object]) -> None:
        self.events.append("overloaded")

    def overdue(self) -> bool:
        self.events.append("overdue")
        return False

    def stopping(self) -> None:
        self.connection.send(b"goodbye\n")
        self.events.append("stopping")

    def lost(self) -> None:
        self.events.append("lost")


class EchoApp:
    def __init__(self) -> None:
        self.echoes: list[Echo] = []

    def handle(self, request: Request) -> Response:
        assert request.head.upgrade == "echo"
        return Response(101, [("Connection", "upgrade"), ("Upgrade", "echo")], upgrade=self.take)

    def take(self, connection: Connection) -> Echo:
        self.echoes.append(Echo(connection))
        return self.echoes[-1]


UPGRADE = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def lines(sock: socket.socket, number: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < number:
        piece = sock.recv(65536)
        assert piece
        data += piece
    return data.splitlines()


def test_an_upgraded_connection_returns_to_http() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.apply(add)
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            sock.sendall(POST)
            assert read_response(sock).endswith(b"3.0")
            sock.sendall(UPGRADE + b"glued\nhal")  # what came with the request belongs to the new protocol
            answer = sock.recv(65536)
            while b"GLUED\n" not in answer:
                answer += sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            sock.sendall(b"f\nmore\n")
            assert lines(sock, 2) == [b"HALF", b"MORE"]
            sock.sendall(b"work\n")
            assert lines(sock, 1)[0].startswith(b"portal-serve")
            sock.sendall(b"back\n" + POST)
            assert read_response(sock).endswith(b"3.0")
            sock.sendall(POST)
            assert read_response(sock).endswith(b"3.0")
        eventually(lambda: portal.stats()["listener"]["connections"] == 0)
    assert app.echoes[0].events == []  # it had given the connection back


def test_an_upgraded_protocol_is_notified_of_the_stop_and_of_the_end() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as lost, connect(portal) as kept:
            for sock in (lost, kept):
                sock.sendall(UPGRADE + b"hi\n")
                assert b"101" in sock.recv(1000)
            lost.close()
            eventually(lambda: any(echo.events == ["lost"] for echo in app.echoes))
            eventually(lambda: portal.stats()["listener"]["parked"] == 1)  # a worker may not have let go of it yet
            portal.stop(0.1)
            assert read_all(kept).endswith(b"goodbye\n")
    assert sorted(echo.events for echo in app.echoes) == [["lost"], ["stopping", "lost"]]


def test_an_upgrade_during_the_stop_is_notified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor did not have the connection when the listener stopped."""
    taken, gate = threading.Event(), threading.Event()

    class Late(EchoApp):
        def take(self, connection: Connection) -> Echo:
            taken.set()
            gate.wait(WAIT)
            return super().take(connection)

    app = Late()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            sock.sendall(UPGRADE + b"hi\n")
            assert taken.wait(WAIT)
            stopping = threading.Thread(target=portal.stop, args=(WAIT,))
            stopping.start()
            engine = portal.listener._engine
            assert engine is not None
            eventually(lambda: engine.reactor._has_left)
            gate.set()
            assert read_all(sock).endswith(b"HI\ngoodbye\n")
            stopping.join(WAIT)
    assert app.echoes[0].events == ["stopping", "lost"]


def test_reading_can_be_paused() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            sock.sendall(UPGRADE + b"hi\n")
            assert b"101" in sock.recv(1000)
            eventually(lambda: bool(app.echoes))
            app.echoes[0].connection.pause()
            sock.sendall(b"one\n")
            sock.sendall(b"two\n")
            app.echoes[0].connection.resume()
            received = b""
            while not received.endswith(b"ONE\nTWO\n"):
                piece = sock.recv(65536)
                assert piece
                received += piece
