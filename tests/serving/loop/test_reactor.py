"""The thread contract of the reactor: which methods other threads call than the one that leads its loop.

The docstrings of the classes name the methods that any thread may call. The tests serve every kind of traffic, record
which thread calls which method, and compare.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trustme

from portal import CallContext, HTTPPortal, OverloadedError
from portal.serving import Certificate, Channel, Request, Response, Run, ServingConfig, TLSConfig
from portal.serving import engine as engine_module
from portal.serving.bounds.budget import ByteBudget, Places
from portal.serving.bounds.input import InputBudgets
from portal.serving.connections.open_connections import OpenConnections
from portal.serving.connections.table import ConnectionTable
from portal.serving.io import poller as poller_module
from portal.serving.io.poller import Poller, open_poller
from portal.serving.loop.acceptor import Acceptor
from portal.serving.loop.handshake import TLSHandshakes
from portal.serving.loop.leader import Leadership
from portal.serving.loop.reactor import Reactor
from tests.support.waiting import eventually

WAIT = 10.0
BLOB = 20_000_000  # more than the kernel takes at once
#: Each class with the class whose docstring has its contract.
CONTRACTS: dict[type, type] = {
    Reactor: Reactor,
    ConnectionTable: ConnectionTable,
    Acceptor: Acceptor,
    TLSHandshakes: TLSHandshakes,
    poller_module._EpollPoller: Poller,
    poller_module._SelectorPoller: Poller,
}
#: Methods that the traffic of this module does not reach, or only after a fork, a fault or a hang-up, if two pieces of
#: a body arrive apart, or if many sockets are ready at once.
NOT_REACHED = {"abandon", "abort_start", "pause", "take_reset", "_fail", "_end_failed", "_on_partial_body", "_handle"}


def any_thread(cls: type) -> set[str]:
    """Return the methods that other threads than the leading one may call, by the docstring of a class."""
    text = re.sub(r"\s+", " ", (CONTRACTS[cls].__doc__ or "").partition("Threads:")[2])
    assert text, f"{cls.__name__} must say in its docstring which threads may call it"
    shared, _, leading = text.lower().partition("only the thread that leads")
    assert leading, f"{cls.__name__} must name the thread that leads"
    return set(re.findall(r"`(\w+)`", shared))


def contract_methods(cls: type) -> set[str]:
    """Return the methods that the contract concerns. Of the reactor, the steps of the loop belong to it."""
    names = {name for name, value in vars(cls).items() if callable(value) and name != "__init__"}
    return names if cls is Reactor else {name for name in names if not name.startswith("_")}


class Recorder:
    """Records for each method whether the leading thread called it, and which other threads did."""

    def __init__(self) -> None:
        self.by_leader: set[tuple[type, str]] = set()
        self.by_others: dict[tuple[type, str], set[str]] = {}
        self._turn = threading.local()
        self._older = {
            one for one in threading.enumerate() if one.name.startswith("portal-listener")
        }  # left by other tests

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for cls in CONTRACTS:
            for name in contract_methods(cls):
                monkeypatch.setattr(cls, name, self._recorded(cls, name, vars(cls)[name]))

    def _recorded(self, cls: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def recorded(*args: Any) -> Any:
            if cls is Reactor and name == "_run":
                self._turn.turn = args[1]
            turn: Leadership | None = getattr(self._turn, "turn", None)
            if turn is not None and not turn.over:
                self.by_leader.add((cls, name))
            elif threading.current_thread() not in self._older:
                self.by_others.setdefault((cls, name), set()).add(threading.current_thread().name)
            return method(*args)

        return recorded


# traffic


def request(path: str, body: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


def read_response(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        assert piece
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    while len(body) < int(found[1] if found else 0):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(65536)
        assert piece
        data += piece
    return data


def connect(portal: HTTPPortal) -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT)


class Traffic:
    """Functions that are quick, slow, stuck, or streams, and clients that call them in every way."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_stuck = threading.Event()
        self.cancelled = threading.Event()
        self.threads: list[str] = []

    def quick(self, wait: bool) -> str:
        self.threads.append(threading.current_thread().name)
        if wait:
            self.is_stuck.set()
            self.gate.wait(2 * WAIT)
        return "done"

    def late(self) -> str:
        self.gate.wait(2 * WAIT)
        return "late"

    def endless(self, context: CallContext) -> Iterator[int]:
        context.on_cancel(self.cancelled.set)
        yield 1
        self.cancelled.wait(WAIT)

    def blob(self) -> str:
        return "x" * BLOB

    def publish(self, portal: HTTPPortal) -> None:
        for function in (self.quick, self.late, self.endless, self.blob):
            portal.apply(function)
        portal.listener.mount("/upper", UpperApp())

    def run(self, portal: HTTPPortal, reports_hangup: bool) -> None:
        self.call_quickly(portal)
        self.respond_at_a_deadline(portal)
        self.stream(portal, reports_hangup)
        self.read_slowly(portal)
        self.upgrade(portal)
        self.reject(portal)
        self.get_stuck(portal)

    def call_quickly(self, portal: HTTPPortal) -> None:
        with connect(portal) as sock:
            end = monotonic() + WAIT
            while self.threads[-5:] != ["portal-listener"] * 5 and monotonic() < end:
                sock.sendall(request("/api/quick", b'{"wait":false}'))
                assert read_response(sock).endswith(b'"done"')

    def respond_at_a_deadline(self, portal: HTTPPortal) -> None:
        call = request("/api/late").replace(b"\r\n\r\n", b"\r\nX-Portal-Timeout: 50\r\n\r\n")
        with connect(portal) as sock:
            sock.sendall(call)
            assert read_response(sock).startswith(b"HTTP/1.1 504 ")
            sock.sendall(request("/api/quick", b'{"wait":false}'))
            assert read_response(sock).endswith(b'"done"')

    def stream(self, portal: HTTPPortal, reports_hangup: bool) -> None:
        with connect(portal) as sock:
            sock.sendall(request("/api/endless"))
            received = b""
            while b"1\n" not in received:
                received += sock.recv(65536)
        if reports_hangup:
            assert self.cancelled.wait(WAIT)
        self.cancelled.set()

    def read_slowly(self, portal: HTTPPortal) -> None:
        with connect(portal) as sock:
            sock.sendall(request("/api/blob"))
            eventually(lambda: portal.stats()["listener"]["output_buffered"] > 0)
            assert len(read_response(sock)) > BLOB
            sock.sendall(request("/api/blob"))
            with connect(portal) as other:
                other.sendall(request("/api/blob"))  # both together exceed `max_output`: one is cut
                eventually(lambda: portal.stats()["listener"]["output_aborted"] == 1)

    def upgrade(self, portal: HTTPPortal) -> None:
        with connect(portal) as sock:
            sock.sendall(b"GET /upper HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: upper\r\n\r\n")
            assert b"101" in sock.recv(65536)
            sock.sendall(b"text")
            assert sock.recv(65536) == b"TEXT"
            sock.sendall(b"pause")  # a worker resumes it
            assert sock.recv(65536) == b"resumed"
            sock.sendall(b"blob")  # part of it waits, and the reactor sends the rest
            assert len(read_exactly(sock, BLOB)) == BLOB
            sock.sendall(b"<half of a message")
            eventually(lambda: portal.stats()["listener"]["input_buffered"] > 0)
            sock.sendall(b"http")
            sock.sendall(request("/api/quick", b'{"wait":false}'))
            assert read_response(sock).endswith(b'"done"')

    def reject(self, portal: HTTPPortal) -> None:
        with connect(portal) as sock:  # its body arrives in two parts
            sock.sendall(request("/api/quick", b'{"wait":false}')[:-5])
            eventually(lambda: portal.stats()["listener"]["input_buffered"] > 0)
            sock.sendall(b"alse}")
            assert read_response(sock).endswith(b'"done"')
        with connect(portal) as sock:
            sock.sendall(b"no request\r\n\r\n")
            while sock.recv(65536):
                pass

    def get_stuck(self, portal: HTTPPortal) -> None:
        """Hold up the thread that reads. While the machine is busy, a worker may serve the call instead."""
        end = monotonic() + WAIT
        while not self.hold_a_thread(portal):
            assert monotonic() < end, "the thread that reads served no call that waits"

    def hold_a_thread(self, portal: HTTPPortal) -> bool:
        """Make a call that waits, and others meanwhile. Return whether the thread that reads served it."""
        self.call_quickly(portal)
        self.gate.clear()
        self.is_stuck.clear()
        with connect(portal) as held, connect(portal) as other:
            held.sendall(request("/api/quick", b'{"wait":true}'))
            assert self.is_stuck.wait(WAIT)
            held_by = self.threads[-1]
            for _ in range(3):
                other.sendall(request("/api/quick", b'{"wait":false}'))
                assert read_response(other).endswith(b'"done"')
            self.gate.set()
            assert read_response(held).endswith(b'"done"')
        return held_by == "portal-listener"


class Resume:
    """Work that ends the pause of a connection."""

    def __init__(self, upper: Upper) -> None:
        self.upper = upper

    def __call__(self, held: object) -> bool:
        self.upper.resume()
        return True

    def reject(self, error: OverloadedError) -> None:
        raise AssertionError("there are enough workers")


class Upper:
    """A protocol that returns text in capitals."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.pauses = 0

    def received(self, run: Run) -> None:
        data = self.channel.take()
        if data.startswith(b"http"):
            self.channel.resume_http(data.removeprefix(b"http"))
        elif data == b"pause":
            self.channel.pause()
            self.pauses += 1
            run("resume", (), Resume(self))
        elif data == b"blob":
            self.channel.send(b"x" * BLOB)
        elif data[:1] == b"<":
            self.channel.hold_input(len(data))
        else:
            self.channel.send(data.upper())

    def resume(self) -> None:
        self.channel.resume()
        self.channel.send(b"resumed")

    def writable(self) -> None: ...

    def overdue(self) -> bool:
        return False

    def farewell(self) -> bytes:
        return b"slow"

    def refused(self) -> None: ...

    def stopping(self) -> None: ...

    def ending(self) -> None: ...

    def lost(self) -> None: ...


class UpperApp:
    def handle(self, request: Request) -> Response:
        return Response(101, [("Connection", "upgrade"), ("Upgrade", "upper")], upgrade=Upper)


def certificate(folder: Path) -> tuple[Certificate, ssl.SSLContext]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Certificate(chain, key), context


# the contract


@pytest.mark.parametrize("portable", [False, True], ids=["epoll", "selectors"])
def test_other_threads_call_only_the_methods_that_any_thread_may_call(
    portable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, traffic = Recorder(), Traffic()
    recorder.install(monkeypatch)
    monkeypatch.setattr(engine_module, "open_poller", partial(open_poller, portable=portable))
    monkeypatch.setattr("portal.serving.connections.table.FOLLOW_UP_SECONDS", WAIT)
    # A busy machine must not make a call look slow: then workers serve it, and the thread that reads never gets stuck.
    monkeypatch.setattr("portal.serving.loop.latency.QUICK", 1.0)
    monkeypatch.setattr("portal.serving.loop.latency.STUCK", WAIT)
    with HTTPPortal(config=ServingConfig(workers=4, head_timeout=1.0, max_output=BLOB * 3 // 2)) as portal:
        traffic.publish(portal)
        traffic.run(portal, reports_hangup=not portable)
        with connect(portal) as slow:
            slow.sendall(b"POST /api/quick HTTP/1.1\r\n")
            assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        with connect(portal) as idle:
            idle.sendall(request("/api/quick", b'{"wait":false}'))
            assert read_response(idle).endswith(b'"done"')
            eventually(lambda: portal.stats()["listener"]["active"] == 0)
            portal.stop(0.1)
    own, trusting = certificate(tmp_path)
    with HTTPPortal(config=ServingConfig(tls=TLSConfig(own))) as portal:
        traffic.publish(portal)
        with trusting.wrap_socket(connect(portal), server_hostname="localhost") as sock:
            sock.sendall(request("/api/quick", b'{"wait":false}'))
            assert read_response(sock).endswith(b'"done"')
    off_contract = {
        f"{cls.__name__}.{name}": threads
        for (cls, name), threads in recorder.by_others.items()
        if name not in any_thread(cls)
    }
    assert off_contract == {}
    # The traffic has reached the methods, from both sides.
    reached = {(cls, name) for cls, name in recorder.by_leader | recorder.by_others.keys()}
    unused = poller_module._EpollPoller if portable else poller_module._SelectorPoller
    not_reached = NOT_REACHED | {"take_hangup"} if portable else NOT_REACHED
    expected = {
        (cls, name) for cls in CONTRACTS.keys() - {unused} for name in contract_methods(cls) if name not in not_reached
    }
    assert {f"{cls.__name__}.{name}" for cls, name in expected - reached} == set()
    shared = {(ConnectionTable, name) for name in ("park", "on_hangup", "forget_hangup")}
    assert shared <= recorder.by_others.keys()


def test_a_resume_while_the_reactor_pauses_a_connection_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Upper] = []
    resuming: list[threading.Thread] = []

    class PausedApp:
        def handle(self, request: Request) -> Response:
            return Response(101, [("Connection", "upgrade"), ("Upgrade", "upper")], upgrade=self.take)

        def take(self, channel: Channel) -> Upper:
            made.append(Upper(channel))
            return made[-1]

    with HTTPPortal() as portal:
        portal.listener.mount("/upper", PausedApp())
        portal.start()
        engine = portal.listener._engine
        assert engine is not None
        poller = engine.reactor._poller
        disarm = poller.disarm

        def resume_and_disarm(fd: int) -> None:
            if made and made[0].pauses and not resuming:
                resuming.append(threading.Thread(target=made[0].channel.resume))
                resuming[0].start()
            disarm(fd)

        monkeypatch.setattr(poller, "disarm", resume_and_disarm)
        monkeypatch.setattr(Upper, "resume", lambda self: None)  # only the thread above resumes
        with connect(portal) as sock:
            sock.sendall(b"GET /upper HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: upper\r\n\r\n")
            assert b"101" in sock.recv(65536)
            sock.sendall(b"pause")
            eventually(lambda: bool(made) and not made[0].channel._connection.paused and made[0].pauses == 1)
            sock.sendall(b"text")
            assert sock.recv(65536) == b"TEXT"
            resuming[0].join(WAIT)


@pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)
def test_a_contract_names_methods_that_exist(cls: type) -> None:
    names = any_thread(cls)
    attributes = set(getattr(cls.__init__, "__code__", None).co_names)  # type: ignore[union-attr]  # set in __init__
    missing = {name for name in names if not hasattr(cls, name)} - attributes
    assert missing == set()


def test_a_call_from_another_thread_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder itself: this thread does not lead."""
    recorder = Recorder()
    recorder.install(monkeypatch)
    poller = open_poller()
    ConnectionTable(poller, OpenConnections(), ByteBudget(1), Places(1), InputBudgets(1, 1)).drop(7)
    poller.close()
    assert (ConnectionTable, "drop") in recorder.by_others
    assert "drop" not in any_thread(ConnectionTable)


def test_a_request_that_has_arrived_is_read_before_its_deadline_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leading thread is held up between accepting a connection and reading its request."""
    sent, delay, accept = threading.Event(), 0.0, Acceptor.accept

    def accept_and_hold_up(self: Acceptor, fd: int) -> None:
        nonlocal delay
        assert sent.wait(WAIT)
        accept(self, fd)
        delay = 100.0

    monkeypatch.setattr(Acceptor, "accept", accept_and_hold_up)
    for module in ("loop.reactor", "connections.connection", "connections.table", "loop.scheduler"):
        monkeypatch.setattr(f"portal.serving.{module}.monotonic", lambda: monotonic() + delay)

    def double(number: int) -> int:
        return number * 2

    with HTTPPortal(config=ServingConfig(head_timeout=1.0)) as portal:
        portal.apply(double)
        with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
            sock.sendall(request("/api/double", b'{"number":2}'))
            sent.set()
            assert read_response(sock).startswith(b"HTTP/1.1 200 ")
