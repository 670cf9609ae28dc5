"""Link, with a dialer and a server that the tests script: socket pairs, no network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

import pytest

from portal import Address, CallContext, OverloadedError, TransportError, function
from portal.errors import AuthorizationError, PortalError, RegistryError
from portal.websocket.client.backoff import Reconnect
from portal.websocket.client.calls import LinkCalls
from portal.websocket.client.dialer import Dialed
from portal.websocket.client.exchange import Exchange
from portal.websocket.client.lifecycle import ConnectionState, Lifecycle
from portal.websocket.client.link import Link
from portal.websocket.client.reader import Reader
from portal.websocket.client.renewal import CredentialRenewal
from portal.websocket.client.served import LinkPeer, ServedFunctions
from portal.websocket.client.session_resumption import Resumption
from portal.websocket.client.settings import LinkSettings
from portal.websocket.client.subscription import Event, Subscription
from portal.websocket.client.subscriptions import SubscriptionTable
from portal.websocket.client.transport import Transport
from portal.websocket.frame_queue import FrameQueue
from portal.websocket.frames import Close, FrameProtocol, TextMessage
from portal.websocket.output import Output
from tests.support.raising import raising_once

WAIT = 20.0
ADDRESS = Address.parse("ws://h:1/ws")
S = ConnectionState


class Threads(Executor):
    """Run the dialer when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.fails = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.fails:
            raise OverloadedError("no thread")
        self.jobs.append(fn)
        return Future()


class Peer:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT)
        self.sock = sock
        self.frames = FrameProtocol("server")
        self.events: list[Any] = []

    def event(self) -> Any:
        while not self.events:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.events += self.frames.feed(data)
        return self.events.pop(0)

    def next(self) -> dict[str, Any]:
        event = self.event()
        assert isinstance(event, TextMessage), event
        found: dict[str, Any] = json.loads(event.text)
        return found

    def send(self, **message: Any) -> None:
        self.sock.sendall(self.frames.text(json.dumps({"jsonrpc": "2.0", **message})))

    def close(self, code: int) -> None:
        self.sock.sendall(self.frames.close(code, "why"))


class Rig:
    """A link whose dialer takes the scripted outcomes."""

    def __init__(self, functions: ServedFunctions | None = None, **settings: Any) -> None:
        self.reader = Reader()
        self.threads = Threads()
        self.outcomes: list[Any] = []
        self.renewals: list[bool] = []
        self.peers: list[Peer] = []
        self.states: list[ConnectionState] = []
        settings.setdefault("sessions", False)
        settings.setdefault("reconnect", Reconnect(initial_backoff=0.001, max_backoff=0.001, patience=WAIT))
        self.link = Link(
            ADDRESS, self, self.reader, self.threads, LinkSettings(heartbeat=None, **settings),  # type: ignore[arg-type]
            observe=lambda old, new: self.states.append(new), functions=functions,
        )  # fmt: skip

    def dial(self, address: Address, *, renew: bool = False) -> Dialed:
        self.renewals.append(renew)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        mine, other = socket.socketpair()
        mine.setblocking(False)
        self.peers.append(Peer(other))
        return Dialed(mine, FrameProtocol("client"), b"", address.segments if outcome is None else outcome)

    def connect(self, *outcomes: Any) -> Peer:
        """Run the dialer once."""
        self.outcomes += outcomes
        self.threads.jobs.pop(0)()
        return self.peers[-1]

    def wait_for_state(self, *states: ConnectionState) -> None:
        done = Future[None]()
        link = self.link

        def look() -> None:
            if link.state in states:
                done.set_result(None)
            else:
                self.reader.call_at(self.reader._clock() + 0.002, look)

        self.reader.call_soon(look)
        done.result(WAIT)

    def wait_for_dial(self) -> None:
        """Wait until the link wants to connect."""
        self.wait_for_state(S.CONNECTING)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    finish(made)


def finish(made: Rig) -> None:
    made.link.close()
    if made.link._transport is not None:
        made.link._transport.abort("the test ends")
    for peer in made.peers:
        peer.sock.close()
    loop = made.reader._loop._thread
    if loop is not None:
        loop.join(WAIT)
        assert not loop.is_alive()


def call(**options: Any) -> Exchange:
    return Exchange(ADDRESS.child("add"), {"a": 1}, CallContext(), **options)


def failed(exchange: Exchange) -> PortalError:
    assert exchange.wait(WAIT)
    assert exchange.error is not None
    return exchange.error


def test_calls_wait_for_the_connection_and_go_in_order(rig: Rig) -> None:
    first, second = call(), call()
    rig.link.start(first)
    rig.link.start(second)
    assert len(rig.threads.jobs) == 1
    assert rig.link.load == 2
    peer = rig.connect()
    requests = [peer.next(), peer.next()]
    assert [one["method"] for one in requests] == ["add", "add"]
    for one in reversed(requests):
        peer.send(id=one["id"], result=one["id"])
    assert first.wait(WAIT)
    assert second.wait(WAIT)
    assert (first.result, second.result) == (requests[0]["id"], requests[1]["id"])
    assert rig.states == [S.CONNECTING, S.OPEN]


def test_the_path_of_the_portal_decides_the_names(rig: Rig) -> None:
    exchange = Exchange(Address.parse("ws://h:1/ws/add"), None, CallContext())
    rig.link.start(exchange)
    assert rig.connect(()).next()["method"] == "ws/add"


def test_a_first_failure_fails_the_calls_at_once(rig: Rig) -> None:
    exchange = call()
    rig.link.start(exchange)
    rig.outcomes.append(TransportError("refused", delivery="not_sent"))
    rig.threads.jobs.pop(0)()
    assert failed(exchange).delivery == "not_sent"
    assert rig.link.state is S.IDLE


def test_without_a_thread_the_call_fails(rig: Rig) -> None:
    rig.threads.fails = True
    exchange = call()
    rig.link.start(exchange)
    assert isinstance(failed(exchange), OverloadedError)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
def test_a_call_fails_if_the_job_that_dials_was_not_begun(rig: Rig, error: BaseException) -> None:
    future: Future[Any] = Future()
    future.set_exception(error)  # already, while the link starts the call
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.threads, "submit", lambda fn: future)
        exchange = call()
        rig.link.start(exchange)
        assert "cannot connect to h:1" in failed(exchange).message
    again = call()
    rig.link.start(again)
    rig.wait_for_dial()
    rig.connect().next()
    assert rig.link.state is S.OPEN


def test_a_server_that_was_reached_is_waited_for(rig: Rig) -> None:
    rig.link.start(call())
    rig.connect().sock.close()
    rig.wait_for_state(S.IDLE)
    waiting = call()
    rig.link.start(waiting)
    for _ in range(3):
        rig.wait_for_dial()
        rig.outcomes.append(TransportError("refused", delivery="not_sent"))
        rig.threads.jobs.pop(0)()
        assert rig.link.last_error is not None
    rig.wait_for_dial()
    peer = rig.connect()
    peer.send(id=peer.next()["id"], result="ok")
    assert waiting.wait(WAIT)
    assert waiting.result == "ok"
    assert rig.link.last_error is None


def test_a_server_that_stays_away_fails_new_calls_at_once() -> None:
    rig = Rig(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.001, patience=0.0))
    rig.link.start(call())
    rig.connect().sock.close()
    rig.wait_for_state(S.IDLE)
    for _ in range(2):
        late = call()
        rig.link.start(late)
        rig.wait_for_dial()
        rig.outcomes.append(TransportError("refused", delivery="not_sent"))
        rig.threads.jobs.pop(0)()
        assert failed(late).delivery == "not_sent"
    again = call()
    rig.link.start(again)
    rig.wait_for_dial()
    peer = rig.connect()
    peer.send(id=peer.next()["id"], result="ok")
    assert again.wait(WAIT)
    assert again.result == "ok"


def impatient(**options: Any) -> Exchange:
    context = CallContext()
    context.fail_fast = True
    return Exchange(ADDRESS.child("add"), {"a": 1}, context, **options)


def test_a_call_that_another_instance_may_take_does_not_wait(rig: Rig) -> None:
    rig.link.start(call())
    rig.connect().sock.close()
    rig.wait_for_state(S.IDLE)
    waiting, quick = call(), impatient()
    rig.link.start(waiting)
    rig.link.start(quick)
    rig.wait_for_dial()
    assert not quick.finished, "the attempt to connect may succeed"
    rig.outcomes.append(TransportError("refused", delivery="not_sent"))
    rig.threads.jobs.pop(0)()
    error = failed(quick)
    assert (error.message, error.delivery) == ("refused", "not_sent")
    assert not waiting.finished
    rig.wait_for_dial()
    peer = rig.connect()
    peer.send(id=peer.next()["id"], result="ok")
    assert waiting.wait(WAIT)
    assert waiting.result == "ok"


def test_a_call_that_another_instance_may_take_does_not_wait_for_a_pause() -> None:
    rig = Rig(reconnect=Reconnect(initial_backoff=WAIT, max_backoff=WAIT, patience=WAIT))
    rig.link.start(call())
    rig.connect()
    rig.link.start(call())  # it is wanted, so it will connect again by itself
    rig.link._lifecycle._backoff._random = lambda: 0.9
    rig.peers[-1].sock.close()
    rig.wait_for_state(S.IDLE, S.WAITING)
    patient = call()
    rig.link.start(patient)
    while rig.link.state is not S.WAITING:
        rig.outcomes.append(TransportError("refused", delivery="not_sent"))
        rig.threads.jobs.pop(0)()
    quick = impatient()
    rig.link.start(quick)
    assert failed(quick).delivery == "not_sent"
    assert rig.link.state is S.WAITING, "for the other call"
    assert not patient.finished
    finish(rig)


def test_an_idempotent_call_in_flight_moves_on_if_the_server_is_gone() -> None:
    rig = Rig(sessions=True)
    level, charge = impatient(idempotent=True), impatient()
    rig.link.start(level)
    rig.link.start(charge)
    peer = rig.connect()
    asked = peer.next()
    assert asked["method"] == "rpc.resume"
    peer.send(id=asked["id"], result={"session": "s", "expires": 60})
    assert [peer.next()["method"], peer.next()["method"]] == ["add", "add"]
    peer.sock.close()
    rig.wait_for_dial()
    rig.outcomes.append(TransportError("refused", delivery="not_sent"))
    rig.threads.jobs.pop(0)()
    assert failed(level).delivery == "unknown"
    assert not charge.finished, "the server may come back with its response"
    finish(rig)


def test_a_server_that_goes_away_takes_no_call_that_another_one_may_take(rig: Rig) -> None:
    exchange, quick = call(), impatient()
    rig.link.start(exchange)
    peer = rig.connect()
    request = peer.next()
    peer.send(method="rpc.goaway", params={"reason": "deploy", "delay": 0})
    rig.wait_for_state(S.CLOSING)
    rig.link.start(quick)
    error = failed(quick)
    assert error.delivery == "not_sent"
    assert "going away" in error.message
    peer.send(id=request["id"], result=1)
    assert exchange.wait(WAIT)


def test_a_refused_connection_ends_the_calls_in_flight() -> None:
    """No process listens any more, so the session is lost. A host that cannot be reached may still have it."""
    rig = Rig(sessions=True, reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.001))
    running, again = call(), call(idempotent=True)
    rig.link.start(running)
    rig.link.start(again)
    peer = rig.connect()
    peer.send(id=peer.next()["id"], result={"session": "s-1", "resumed": False, "keep": 600})
    assert [peer.next()["method"], peer.next()["method"]] == ["add", "add"]
    peer.sock.close()
    refused = TransportError("refused", delivery="not_sent")
    refused.__cause__ = ConnectionRefusedError()
    for outcome in (TransportError("no route", delivery="not_sent"), refused):
        rig.wait_for_dial()
        assert not running.finished
        assert not again.finished
        rig.outcomes.append(outcome)
        rig.threads.jobs.pop(0)()
    errors = [failed(one) for one in (running, again)]
    assert [(one.may_have_executed, one.retryable) for one in errors] == [(True, False)] * 2
    assert rig.link.state is S.IDLE
    finish(rig)


def test_a_final_failure_fails_everything(rig: Rig) -> None:
    rig.link.start(call())
    rig.connect().sock.close()
    rig.wait_for_state(S.IDLE)
    waiting = call()
    rig.link.start(waiting)
    rig.outcomes.append(RegistryError("no portal"))
    rig.threads.jobs.pop(0)()
    assert isinstance(failed(waiting), RegistryError)
    assert rig.link.state is S.IDLE


def test_a_call_that_was_given_up_is_cancelled_on_the_server(rig: Rig) -> None:
    early, late = call(), call()
    rig.link.start(early)
    rig.link.give_up(early, TransportError("enough"))
    rig.link.start(late)
    peer = rig.connect()
    request = peer.next()
    rig.link.give_up(late, TransportError("enough"))
    assert peer.next() == {"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": request["id"]}}
    peer.send(id=request["id"], result=1)
    assert failed(late).message == failed(early).message == "enough"
    rig.link.give_up(late, TransportError("again"))


def test_the_server_goes_away(rig: Rig) -> None:
    exchange = call()
    rig.link.start(exchange)
    peer = rig.connect()
    request = peer.next()
    peer.send(method="rpc.goaway", params={"reason": "deploy", "delay": 0})
    rig.wait_for_state(S.CLOSING)
    later = call()
    rig.link.start(later)
    peer.send(id=request["id"], result=1)  # the call in flight ends
    assert exchange.wait(WAIT)
    peer.close(1001)
    rig.wait_for_dial()
    fresh = rig.connect()
    fresh.send(id=fresh.next()["id"], result=2)
    assert later.wait(WAIT)


def test_expired_credentials_are_renewed_for_the_next_connection(rig: Rig) -> None:
    rig.link.start(call(idempotent=True))
    peer = rig.connect()
    peer.next()
    peer.close(4401)
    rig.wait_for_dial()
    rig.connect()
    assert rig.renewals == [False, True]


def test_forbidden_is_final(rig: Rig) -> None:
    exchange, events = call(), Subscription[Any](ADDRESS.child("ticks"))
    rig.link.start(exchange)
    rig.link.subscribe(events)
    peer = rig.connect()
    peer.next()
    peer.close(4403)
    assert failed(exchange).may_have_executed
    with pytest.raises(AuthorizationError):
        events.next(WAIT)
    rig.wait_for_state(S.IDLE)


def test_a_subscription_comes_back_and_resumes(rig: Rig) -> None:
    events = Subscription[Any](ADDRESS.child("ticks"), close=rig.link.unsubscribe)
    rig.link.subscribe(events)
    peer = rig.connect()
    request = peer.next()
    assert request["params"] == {"topic": "ticks"}
    peer.send(id=request["id"], result={"subscription": "s", "epoch": "e", "offset": 4, "recovered": False})
    peer.send(method="rpc.event", params={"subscription": "s", "epoch": "e", "offset": 5, "data": "five"})
    assert events.next(WAIT) == Event("five", "e", 5)
    peer.sock.close()
    rig.wait_for_dial()
    peer = rig.connect()
    request = peer.next()
    assert request["params"] == {"topic": "ticks", "from": {"epoch": "e", "offset": 5}}
    peer.send(id=request["id"], result={"subscription": "t", "epoch": "e", "offset": 5, "recovered": True})
    peer.send(method="rpc.event", params={"subscription": "t", "epoch": "e", "offset": 6, "data": "six"})
    assert events.next(WAIT) == Event("six", "e", 6)
    events.close()
    assert peer.next()["params"] == {"subscription": "t"}
    peer.sock.close()
    rig.wait_for_state(S.IDLE)  # nothing wants the connection any more


def test_a_call_of_the_server_gets_an_error(rig: Rig) -> None:
    rig.link.start(call())
    peer = rig.connect()
    peer.next()
    peer.send(id="x", method="hello")
    response = peer.next()
    assert response["id"] == "x"
    assert "error" in response


def test_close_lets_calls_in_flight_end(rig: Rig) -> None:
    exchange = call()
    rig.link.start(exchange)
    peer = rig.connect()
    request = peer.next()
    rig.link.close()
    rig.link.close()
    with pytest.raises(TransportError, match="the client is closed"):
        rig.link.start(call())
    peer.send(id=request["id"], result=3)
    assert exchange.wait(WAIT)
    assert exchange.result == 3
    assert isinstance(peer.event(), Close)
    assert rig.link.state is S.CLOSED


def test_a_connection_that_opens_after_close_is_closed(rig: Rig) -> None:
    exchange = call()
    rig.link.start(exchange)
    rig.link.give_up(exchange, TransportError("enough"))
    rig.link.close()
    peer = rig.connect()
    assert isinstance(peer.event(), Close)


def test_a_server_that_does_not_respond_to_resume_is_left() -> None:
    rig = Rig(sessions=True, resume_timeout=0.01)
    try:
        exchange = call()
        rig.link.start(exchange)
        peer = rig.connect()
        assert peer.next()["method"] == "rpc.resume"
        peer.next()
        peer.send(id=1, result={"session": "s", "keep": 0.05})
        rig.link._reader.call_soon(lambda: None)
        peer.send(method="rpc.event", params={})
        while rig.link._resumption.session is None:
            rig.wait_for_state(S.OPEN)
        peer.sock.close()
        rig.wait_for_dial()
        silent = rig.connect()
        assert silent.next()["params"]["session"] == "s"
        assert silent.event() is None  # the client ends the connection
        while not exchange.finished:  # until the server has forgotten the session
            rig.wait_for_state(S.CONNECTING, S.IDLE)
            if rig.threads.jobs:
                rig.outcomes.append(TransportError("refused", delivery="not_sent"))
                rig.threads.jobs.pop(0)()
        assert failed(exchange).may_have_executed
    finally:
        finish(rig)


# faults inside


LOSING: list[tuple[Any, str]] = [
    (Link, "on_lost"),
    (Link, "_schedule"),
    (LinkPeer, "lost"),
    (CredentialRenewal, "lost"),
    (Resumption, "interrupt"),
    (LinkCalls, "lost"),
    (LinkCalls, "settle"),
    (Resumption, "keep"),
    (SubscriptionTable, "lost"),
    (Lifecycle, "lost"),
    (Transport, "on_failure"),
    (Transport, "_end"),
    (Reader, "detach"),
]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(("where", "name"), LOSING)
def test_no_call_is_lost_with_its_connection_whatever_step_raises(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    flying, idempotent = call(), call(idempotent=True)
    rig.link.start(flying)
    rig.link.start(idempotent)
    peer = rig.connect()
    assert [peer.next()["method"], peer.next()["method"]] == ["add", "add"]
    raising_once(monkeypatch, where, name, error)
    if (where, name) == (Transport, "on_failure"):  # what else gives up the connection
        raising_once(monkeypatch, Transport, "on_readable", MemoryError())
    peer.sock.close()
    assert failed(flying).delivery == "unknown"
    rig.wait_for_dial()
    again = rig.connect()
    again.send(id=again.next()["id"], result=7)
    assert idempotent.wait(WAIT)
    assert idempotent.result == 7


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(("where", "name"), [(Link, "_handle"), (Link, "on_text"), (Exchange, "finish")])
def test_a_response_that_cannot_be_handled_ends_its_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    exchange = call()
    rig.link.start(exchange)
    peer = rig.connect()
    request = peer.next()
    raising_once(monkeypatch, where, name, error)
    peer.send(id=request["id"], result=7)
    assert exchange.wait(WAIT)
    assert exchange.result == 7 or isinstance(exchange.error, TransportError)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"), [(Link, "_send_now"), (LinkCalls, "encode"), (Output, "_send"), (FrameQueue, "add")]
)
def test_calls_that_wait_go_on_whatever_step_of_sending_raises(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    waiting = [call() for _ in range(3)]
    for one in waiting:
        rig.link.start(one)
    raising_once(monkeypatch, where, name, error)
    peer = rig.connect()
    rig.wait_for_state(S.WAITING, S.CONNECTING, S.IDLE)
    rig.wait_for_dial()
    assert peer.event() is None
    peer = rig.connect()
    left = [one for one in waiting if not one.finished]
    assert len(left) >= 2
    for _ in left:
        peer.send(id=peer.next()["id"], result=7)
    assert all(one.wait(WAIT) for one in left)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"), [(Link, "_failed"), (Link, "_dial_failed"), (LinkCalls, "unconnected"), (Link, "_schedule")]
)
def test_a_failed_attempt_ends_the_calls_whatever_step_raises(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    exchange = call()
    rig.link.start(exchange)
    raising_once(monkeypatch, where, name, error)
    with suppress(MemoryError, RuntimeError, SystemExit):
        rig.connect(TransportError("refused", delivery="not_sent"))
    assert failed(exchange).delivery == "not_sent"
    again = call()
    rig.link.start(again)
    rig.wait_for_dial()
    rig.connect().next()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize("is_begun", [False, True], ids=["lost", "rejected"])
def test_a_call_of_the_server_ends_if_its_job_was_not_begun(error: BaseException, is_begun: bool) -> None:
    threads = Threads()
    rig = Rig(functions=ServedFunctions([function(name="add")(lambda a: a)], lambda: threads))
    rig.link.start(call())
    peer = rig.connect()
    peer.next()
    future: Future[Any] = Future()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "submit", lambda fn: future)
        if is_begun:
            future.set_exception(error)  # already, while the link holds its lock
        peer.send(id="s", method="add", params={"a": 1})
        if not is_begun:
            future.set_exception(error)
        response = peer.next()
    assert (response["id"], response["error"]["data"]["code"]) == ("s", "portal_error")
    finish(rig)
