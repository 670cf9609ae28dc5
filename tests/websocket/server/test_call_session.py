"""Calls that survive a lost connection: a client and a portal, with the socket cut between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal import CallCancelled, CallContext, Consumer, TransportError, function
from portal.websocket import Reconnect, WebSocketClient
from portal.websocket.portal import WebSocketPortal
from portal.websocket.server.settings import WebSocketConfig

WAIT = 20.0


class Till:
    """A function that waits, and counts how often it ran."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def charge(self, amount: int) -> int:
        self.runs.append(amount)
        self.began.release()
        assert self.go.wait(WAIT)
        return amount


@pytest.fixture
def till() -> Till:
    return Till()


def client_of() -> WebSocketClient:
    return WebSocketClient(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.01))


def cut(client: WebSocketClient) -> None:
    """End the client's connection without a close frame."""
    for link in client._links.all():
        transport: Any = link._transport
        transport.abort("cut")


def portal_of(till: Till, **config: Any) -> tuple[WebSocketPortal, str]:
    portal = WebSocketPortal(config=WebSocketConfig(**config))
    return portal, str(portal.apply(till.charge))


def wait_until(portal: WebSocketPortal, name: str, number: int) -> None:
    """Wait until a counter of the sessions has a value."""
    reached = threading.Event()
    for _ in range(2000):
        if portal.stats()["sessions"][name] >= number:
            return
        reached.wait(0.005)
    raise AssertionError(portal.stats()["sessions"])


@pytest.fixture
def calling() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_calls_in_flight_get_their_responses_and_run_once(till: Till, calling: ThreadPoolExecutor) -> None:
    portal, address = portal_of(till)
    client = client_of()
    with portal, Consumer(websocket=client, timeout=WAIT) as consumer:
        running = [calling.submit(consumer.call_at, address, {"amount": amount}) for amount in range(8)]
        for _ in running:
            assert till.began.acquire(timeout=WAIT)
        for number in range(1, 4):  # the connection is lost again and again
            cut(client)
            wait_until(portal, "resumed", number)
        till.go.set()
        assert [one.result(WAIT) for one in running] == list(range(8))
        assert sorted(till.runs) == list(range(8))


def test_a_call_that_ends_while_there_is_no_connection(till: Till, calling: ThreadPoolExecutor) -> None:
    portal, address = portal_of(till)
    client = client_of()
    with portal, Consumer(websocket=client, timeout=WAIT) as consumer:
        running = calling.submit(consumer.call_at, address, {"amount": 5})
        assert till.began.acquire(timeout=WAIT)
        (link,) = client._links.all()
        with link._lock:  # the client cannot come back yet
            link._transport.abort("cut")  # type: ignore[union-attr]
            link._transport._sock.shutdown(2)  # type: ignore[union-attr]
            wait_until(portal, "lost", 1)
            till.go.set()
            wait_until_idle(portal)
        assert running.result(WAIT) == 5
        assert till.runs == [5]


def wait_until_idle(portal: WebSocketPortal) -> None:
    pause = threading.Event()
    for _ in range(2000):
        (session,) = portal._sessions._lost.values()
        if not session._running:
            return
        pause.wait(0.005)
    raise AssertionError("the call did not end")


def test_after_a_restart_the_call_may_have_been_executed(till: Till, calling: ThreadPoolExecutor) -> None:
    portal, address = portal_of(till)
    client = client_of()
    with Consumer(websocket=client, timeout=WAIT) as consumer:
        with portal:
            running = calling.submit(consumer.call_at, address, {"amount": 5})
            assert till.began.acquire(timeout=WAIT)
            portal._sessions._lost.clear()
            portal._sessions._open.clear()  # what a restart does to sessions
            cut(client)
            with pytest.raises(TransportError) as caught:
                running.result(WAIT)
            till.go.set()
        assert caught.value.may_have_executed
        assert till.runs == [5]


def test_without_sessions(till: Till, calling: ThreadPoolExecutor) -> None:
    portal, address = portal_of(till, session_keep=0)
    client = client_of()
    with portal, Consumer(websocket=client, timeout=WAIT) as consumer:
        running = calling.submit(consumer.call_at, address, {"amount": 5})
        assert till.began.acquire(timeout=WAIT)
        cut(client)
        with pytest.raises(TransportError) as caught:
            running.result(WAIT)
        assert caught.value.may_have_executed
        till.go.set()


def test_a_call_from_before_the_loss_can_be_cancelled(calling: ThreadPoolExecutor) -> None:
    began, cancelled = threading.Event(), threading.Event()

    def wait(context: CallContext) -> None:
        context.on_cancel(cancelled.set)
        began.set()
        assert cancelled.wait(WAIT)

    portal, client, context = WebSocketPortal(), client_of(), CallContext.for_call(WAIT)
    address = str(portal.apply(function(name="wait")(wait)))
    with portal, Consumer(websocket=client, timeout=WAIT) as consumer:
        running = calling.submit(consumer.call_at, address, {}, context=context)
        assert began.wait(WAIT)
        cut(client)
        wait_until(portal, "resumed", 1)
        context.cancel()
        with pytest.raises(CallCancelled):
            running.result(WAIT)
        assert cancelled.wait(WAIT)


def test_a_stream_ends_with_its_connection_on_both_sides() -> None:
    closed = threading.Event()

    def count() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    portal, client = WebSocketPortal(), client_of()
    address = str(portal.apply(count))
    with portal, Consumer(websocket=client, timeout=WAIT) as consumer:
        items = consumer.stream_at(address)
        assert [next(items), next(items)] == [0, 1]
        cut(client)
        with pytest.raises(TransportError, match=r"the stream ended after \d+ items") as caught:
            list(items)
        assert caught.value.may_have_executed
        assert caught.value.hint == "iterate it again, from the start"
        assert closed.wait(WAIT), "the server keeps no stream that nobody can get"
        assert list(zip(consumer.stream_at(address), range(2), strict=False)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("params", [{"session": 5}, {"session": "x", "pending": "y"}, {"pending": [1.5]}, {"other": 1}])
def test_wrong_parameters_are_rejected(params: Any, till: Till) -> None:
    from portal import Address, CallContext, ValidationError
    from portal.websocket.client.exchange import Exchange

    portal, _ = portal_of(till)
    client = client_of()
    with portal:
        target = Address.parse(str(portal.base)).child("x")
        exchange = Exchange(target, params, CallContext.for_call(WAIT), method="rpc.resume")
        with pytest.raises(ValidationError):
            client._call(exchange, target)
        client.close()
