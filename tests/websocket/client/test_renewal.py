"""CredentialRenewal with timers, threads and a clock of the test; and with a server whose tokens expire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from time import time
from typing import Any

import pytest

from portal import Address, Consumer, Identity, OverloadedError, TransportError, WebSocketPortal
from portal.serving import Request
from portal.websocket.client.reader import Timer
from portal.websocket.client.renewal import CredentialRenewal
from portal.websocket.protocol import JSONValue

ADDRESS = Address.parse("ws://h:1/ws")
OLD, NEW = {"Authorization": "Bearer old"}, {"Authorization": "Bearer new"}
WAIT = 20.0


class Rig(Executor):
    """Everything that the renewal uses. Work runs at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.sent: list[Any] = []
        self.headers: Any = OLD
        self.asked = 0
        self.free = True
        self.renewal = CredentialRenewal(
            self, ADDRESS, self, self, threading.Lock(), self.sent.append, lambda: self.now
        )
        self.renewal.opened(OLD)

    def credentials(self, address: Address) -> dict[str, str]:
        self.asked += 1
        if isinstance(self.headers, BaseException):
            raise self.headers
        return dict(self.headers)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.free:
            raise OverloadedError("no thread")
        fn()
        return Future()

    @property
    def due(self) -> float | None:
        """In how many seconds the next look is due."""
        (waiting,) = [one for one in self.timers if not one.cancelled] or [None]
        return None if waiting is None else waiting.when - self.now

    def look(self) -> None:
        (waiting,) = [one for one in self.timers if not one.cancelled]
        self.now = waiting.when
        waiting.fire()

    def respond(self, result: JSONValue = None, error: Any = None) -> None:
        self.sent.pop().finish(result, error)


@pytest.mark.parametrize(("left", "due"), [(3600.0, 3570.0), (60, 30.0), (40.0, 20.0), (0.5, 1.0), (-3.0, 1.0)])
def test_a_credential_is_asked_for_before_it_expires(left: float, due: float) -> None:
    rig = Rig()
    rig.renewal.note({"expires": left})
    assert rig.due == due
    assert rig.asked == 0


@pytest.mark.parametrize("result", [{"expires": None}, {"expires": True}, {"expires": "5"}, {}, None, [5]])
def test_a_credential_that_does_not_expire_is_left_alone(result: Any) -> None:
    rig = Rig()
    rig.renewal.note(result)
    assert rig.due is None


def test_without_a_credential_nothing_is_renewed() -> None:
    rig = Rig()
    rig.renewal.opened({})
    rig.renewal.note({"expires": 60.0})
    assert rig.due is None


def test_a_new_credential_is_sent_and_its_expiry_is_watched() -> None:
    rig = Rig()
    rig.renewal.note({"expires": 60.0})
    rig.headers = NEW
    rig.look()
    (control,) = rig.sent
    assert control.method == "rpc.authenticate"
    assert control.params == {"headers": NEW}
    rig.respond({"identity": "ann", "expires": 100.0})
    assert rig.due == 70.0
    rig.look()
    assert rig.sent == [], "the server has it already"


@pytest.mark.parametrize("headers", [OLD, {}, TransportError("the token endpoint is away")])
def test_it_asks_again_until_there_is_a_new_one(headers: Any) -> None:
    rig = Rig()
    rig.renewal.note({"expires": 60.0})
    rig.headers = headers
    waits = []
    while rig.due is not None:
        waits.append(rig.due)
        rig.look()
    assert waits[:4] == [30.0, 15.0, 7.5, 3.75]
    assert min(waits) == 1.0
    assert 1060.0 <= rig.now <= 1121.0, "until the server has surely closed the connection"
    assert rig.sent == []


def test_a_rejected_credential_and_busy_threads_are_tried_again() -> None:
    rig = Rig()
    rig.renewal.note({"expires": 60.0})
    rig.headers, rig.free = NEW, False
    rig.look()
    assert rig.due == 15.0
    rig.free = True
    rig.look()
    rig.respond(error=OverloadedError("later"))
    assert rig.due == 7.5
    rig.look()
    assert rig.sent


def test_a_lost_connection_ends_it() -> None:
    rig = Rig()
    rig.renewal.note({"expires": 60.0})
    rig.renewal.lost()
    assert rig.due is None
    rig.renewal.note({"expires": 60.0})
    rig.headers = NEW
    held = rig.timers[-1]._callback
    rig.renewal.lost()
    assert held is not None
    held()  # the timer had fired already
    assert rig.sent == []


def test_a_client_sends_its_new_token_on_the_open_connection() -> None:
    renewed = threading.Event()
    tokens = iter(["first"])

    def authenticate(request: Request) -> Identity | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token == "second":
            renewed.set()
            return Identity("ann", claims={"exp": time() + 3600})
        return Identity("ann", claims={"exp": time() + 2}) if token == "first" else None

    def ping() -> str:
        return "pong"

    portal = WebSocketPortal(auth=authenticate)
    address = str(portal.apply(ping))
    with portal, Consumer(auth=lambda address: next(tokens, "second")) as consumer:
        assert consumer.call_at(address) == "pong"
        (before,) = portal.list_clients()
        assert renewed.wait(WAIT)
        assert consumer.call_at(address) == "pong"
        (after,) = portal.list_clients()
        assert before["id"] == after["id"]
