"""Upgraded: another protocol on a connection of the listener."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from portal import HTTPPortal, OverloadedError
from portal.serving import Channel, Request, Response, Run, ServingConfig
from portal.serving.messages.held_keys import HeldKeys
from tests.support.waiting import eventually

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


class Job:
    """Work that a test does."""

    def __init__(self, do: Callable[[], object], counts: bool = True) -> None:
        self.do = do
        self.counts = counts
        self.rejected: list[str] = []

    def __call__(self, held: HeldKeys | None) -> bool:
        self.do()
        return self.counts

    def reject(self, error: OverloadedError) -> None:
        self.rejected.append(str(error))


class Echo:
    """A protocol of lines. It returns each in capitals.

    `back` returns to HTTP, `thread` has the name of its thread sent as work, `hold` has work wait for the test, `keep`
    reports what it was sent as kept input, and `big` sends much.
    """

    def __init__(self, channel: Channel, app: EchoApp) -> None:
        self.channel = channel
        self.app = app
        self.buffer = b""
        self.sizes: list[int] = []  # of what was received
        self.events: list[str] = []

    def received(self, run: Run) -> None:
        data = self.channel.take()
        self.sizes.append(len(data))
        self.buffer += data
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            if line == b"back":
                rest, self.buffer = self.buffer, b""
                self.channel.resume_http(rest)
                return
            if line == b"thread":
                run("thread", (), Job(self.send_thread))
            elif line == b"hold":
                run("thread", (), Job(self.app.hold))
            elif line == b"queued":
                self.app.queued = Job(self.send_thread)
                run("queued", (), self.app.queued)
            elif line.startswith(b"big"):
                self.channel.send(b"x" * int(line[3:]))
            else:
                self.channel.send(line.upper() + b"\n")
        if not self.channel.hold_input(len(self.buffer)):
            self.refused()

    def send_thread(self) -> None:
        self.channel.send(threading.current_thread().name.encode() + b"\n")

    def writable(self) -> None:
        self.events.append("writable")

    def overdue(self) -> bool:
        self.events.append("overdue")
        self.channel.finish(b"late\n")
        return True

    def farewell(self) -> bytes:
        self.events.append("farewell")
        return b"too slow\n"

    def refused(self) -> None:
        self.events.append("refused")
        self.channel.finish(b"too much\n")

    def stopping(self) -> None:
        self.channel.send(b"goodbye\n")
        self.events.append("stopping")

    def ending(self) -> None:
        self.channel.finish(b"the end\n")

    def lost(self) -> None:
        self.events.append("lost")


class EchoApp:
    def __init__(self) -> None:
        self.echoes: list[Echo] = []
        self.held, self.gate = threading.Event(), threading.Event()
        self.queued: Job | None = None

    def hold(self) -> None:
        self.held.set()
        self.gate.wait(WAIT)

    def handle(self, request: Request) -> Response:
        assert request.head.upgrade == "echo"
        return Response(101, [("Connection", "upgrade"), ("Upgrade", "echo")], upgrade=self.take)

    def take(self, channel: Channel) -> Echo:
        self.echoes.append(Echo(channel, self))
        return self.echoes[-1]


UPGRADE = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def lines(sock: socket.socket, number: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < number:
        piece = sock.recv(65536)
        assert piece
        data += piece
    return data.splitlines()


def test_many_short_messages_leave_others_their_turn_and_a_large_one_is_read_quickly() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            sock.sendall(UPGRADE)
            eventually(lambda: app.echoes)
            assert b"101 Switching Protocols" in sock.recv(65536)
            sizes = app.echoes[0].sizes
            sock.sendall(b"line\n" * 4000)
            assert lines(sock, 4000) == [b"LINE"] * 4000
            assert max(sizes) <= 4096
            sock.sendall(b"x" * 100_000 + b"\n")
            assert lines(sock, 1) == [b"X" * 100_000]
            assert max(sizes) > 4096


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
            sock.sendall(b"thread\n")
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
            assert read_all(kept).endswith(b"goodbye\nthe end\n")
    assert sorted(echo.events for echo in app.echoes) == [["lost"], ["stopping", "lost"]]


def test_an_upgrade_during_the_stop_is_notified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor did not have the connection when the listener stopped."""
    taken, gate = threading.Event(), threading.Event()

    class Late(EchoApp):
        def take(self, channel: Channel) -> Echo:
            taken.set()
            gate.wait(WAIT)
            return super().take(channel)

    app = Late()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            sock.sendall(UPGRADE + b"hi\n")
            assert taken.wait(WAIT)
            stopping = threading.Thread(target=portal.stop, args=(1.0,))
            stopping.start()
            engine = portal.listener._engine
            assert engine is not None
            eventually(lambda: engine.reactor._has_left)
            gate.set()
            assert read_all(sock).endswith(b"HI\ngoodbye\nthe end\n")
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
            app.echoes[0].channel.pause()
            sock.sendall(b"one\n")
            sock.sendall(b"two\n")
            app.echoes[0].channel.resume()
            received = b""
            while not received.endswith(b"ONE\nTWO\n"):
                piece = sock.recv(65536)
                assert piece
                received += piece


def upgrade(sock: socket.socket, app: EchoApp) -> Echo:
    """Upgrade a connection, and return its protocol."""
    before = len(app.echoes)
    sock.sendall(UPGRADE)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += sock.recv(1)
    assert data.startswith(b"HTTP/1.1 101 ")
    eventually(lambda: len(app.echoes) > before)
    return app.echoes[before]


def make_quick(sock: socket.socket) -> None:
    """Have the reading thread do the work of `thread`."""
    end = monotonic() + WAIT
    while monotonic() < end:
        sock.sendall(b"thread\n")
        if lines(sock, 1) == [b"portal-listener"]:
            return
    pytest.fail("the reading thread never did it")


def test_short_work_is_done_by_the_thread_that_reads() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            sock.sendall(b"thread\n")
            assert lines(sock, 1)[0].startswith(b"portal-serve")
            make_quick(sock)


def test_work_that_gets_stuck_holds_up_neither_its_connection_nor_others() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.apply(add)
        portal.listener.mount("/echo", app)
        with connect(portal) as sock, connect(portal) as other:
            upgrade(sock, app)
            make_quick(sock)
            sock.sendall(b"hold\nleft\n")  # the second line has been read when the first one gets stuck
            assert app.held.wait(WAIT)
            assert lines(sock, 1) == [b"LEFT"]
            sock.sendall(b"more\n")
            assert lines(sock, 1) == [b"MORE"]
            other.sendall(POST)
            assert read_response(other).endswith(b"3.0")
            app.gate.set()
            sock.sendall(b"after\n")
            assert lines(sock, 1) == [b"AFTER"]
            sock.sendall(b"thread\n")
            assert lines(sock, 1)[0].startswith(b"portal-serve")  # for a while


def test_a_connection_that_returns_to_http_while_its_work_is_stuck() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.apply(add)
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            make_quick(sock)
            sock.sendall(b"hold\n")
            assert app.held.wait(WAIT)
            sock.sendall(b"up\n")
            assert lines(sock, 1) == [b"UP"]
            sock.close()
        eventually(lambda: app.echoes[0].events == ["lost"])
        app.gate.set()
        with connect(portal) as sock:
            sock.sendall(POST)
            assert read_response(sock).endswith(b"3.0")


def test_work_that_waits_for_too_long_is_taken_back() -> None:
    app = EchoApp()
    with HTTPPortal(config=ServingConfig(workers=1, max_wait=1.0)) as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            sock.sendall(b"hold\n")
            assert app.held.wait(WAIT)
            sock.sendall(b"queued\n")
            eventually(lambda: app.queued is not None and app.queued.rejected != [])
            assert app.queued is not None
            assert app.queued.rejected == ["the call waited for a worker for too long"]
            app.gate.set()


def test_a_deadline_is_reported_and_the_last_bytes_arrive() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            sock.sendall(b"hi\n")
            assert lines(sock, 1) == [b"HI"]
            app.echoes[0].channel.set_deadline(monotonic())
            assert read_all(sock) == b"late\n"
        eventually(lambda: app.echoes[0].events == ["overdue", "lost"])


def test_output_that_waits_is_sent_and_its_end_is_reported() -> None:
    app = EchoApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            sock.sendall(b"big20000000\n")
            eventually(lambda: app.echoes[0].channel.queued > 0)
            assert app.echoes[0].events == []
            left = 20_000_000
            while left:
                left -= len(sock.recv(min(left, 1 << 20)))
            eventually(lambda: app.echoes[0].events == ["writable"])
            assert app.echoes[0].channel.queued == 0


def test_a_client_that_reads_too_slowly_is_told_so_and_gets_nothing_more() -> None:
    """Two clients exceed the budget. The one with more loses the messages that have not been begun, and reads why."""
    app = EchoApp()
    with HTTPPortal(config=ServingConfig(max_output=20_000_000)) as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as slow, connect(portal) as other:
            upgrade(slow, app)
            upgrade(other, app)
            slow.sendall(b"big1000000\n" * 19 + b"lost\n")
            eventually(lambda: app.echoes[0].channel.queued > 12_500_000)  # more than the other one will have
            other.sendall(b"big12000000\n")
            eventually(lambda: "farewell" in app.echoes[0].events)
            received = read_all(slow)
            assert received.endswith(b"xtoo slow\n")
            assert len(received) % 1_000_000 == len(b"too slow\n")  # no message is torn
            assert b"LOST" not in received
            left = 12_000_000
            while left:
                left -= len(other.recv(min(left, 1 << 20)))
            other.sendall(b"alive\n")
            assert lines(other, 1) == [b"ALIVE"]
        eventually(lambda: app.echoes[0].events == ["farewell", "lost"])


def test_kept_input_counts_for_all_connections() -> None:
    app = EchoApp()
    with HTTPPortal(config=ServingConfig(max_input=100_000, max_unknown_input=50_000)) as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as heavy, connect(portal) as light:
            upgrade(heavy, app)
            upgrade(light, app)
            heavy.sendall(b"x" * 40_000)
            eventually(lambda: portal.stats()["listener"]["input_unknown"] == 40_000)
            light.sendall(b"y" * 30_000)
            assert read_all(heavy) == b"too much\n"
            light.sendall(b"y\n")
            assert lines(light, 1) == [b"Y" * 30_001]
            eventually(lambda: portal.stats()["listener"]["input_unknown"] == 0)
            app.echoes[1].channel.admit()
            light.sendall(b"y" * 60_000)
            eventually(lambda: portal.stats()["listener"]["input_buffered"] == 60_000)
            assert portal.stats()["listener"]["input_unknown"] == 0
            light.sendall(b"\n")
            assert lines(light, 1) == [b"Y" * 60_000]


def test_a_stop_waits_for_connections_that_say_goodbye() -> None:
    class Polite(Echo):
        def stopping(self) -> None:
            self.events.append("stopping")
            self.channel.finish(b"goodbye\n")

    class PoliteApp(EchoApp):
        def take(self, channel: Channel) -> Echo:
            self.echoes.append(Polite(channel, self))
            return self.echoes[-1]

    app = PoliteApp()
    with HTTPPortal() as portal:
        portal.listener.mount("/echo", app)
        with connect(portal) as sock:
            upgrade(sock, app)
            sock.sendall(b"hi\n")
            assert lines(sock, 1) == [b"HI"]
            started = monotonic()
            portal.stop(WAIT)
            assert monotonic() - started < WAIT / 2
            assert read_all(sock) == b"goodbye\n"
