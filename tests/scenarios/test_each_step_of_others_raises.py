"""Each step of a call over a WebSocket, in a process or in JavaScript raises once: no call or place is lost.

`test_each_step_raises.py` has the steps of calls over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from portal import Consumer, JavaScriptPortal, JSFunction, LocalPortal, WebSocketPortal, function
from portal.errors import CallTimeout, PortalError
from portal.javascript import Limits, PoolSettings, Sandbox
from portal.javascript.pool.children import ChildPool
from portal.javascript.pool.process import ChildProcess
from portal.processes import ProcessPool
from portal.processes import pool as pool_module
from portal.processes.pool import _Running
from portal.processes.process import WorkerProcess
from portal.serving.loop import upgraded_work
from portal.serving.loop.upgraded_work import UpgradedWork
from portal.websocket import Reconnect, WebSocketClient
from portal.websocket.client.link import Link
from portal.websocket.client.reader import Reader
from portal.websocket.client.served import LinkPeer
from portal.websocket.client.transport import Transport as ClientTransport
from portal.websocket.server import calls as calls_module
from portal.websocket.server.calls import Calls
from portal.websocket.server.connection import ServerConnection
from portal.websocket.server.outbox import Outbox
from portal.websocket.server.running import StreamWork
from portal.websocket.topics.subscription import Subscription as TopicSubscription
from tests.support import placed_functions
from tests.support.raising import raising_once
from tests.support.waiting import eventually

WAIT = 60.0  # a call that takes longer is lost
ERRORS: list[BaseException] = [MemoryError(), RuntimeError("injected"), SystemExit(1)]
STEPS: list[tuple[Any, str]] = [
    (Calls, "prepare"),
    (Calls, "run"),
    (Calls, "_dispatch"),
    (Calls, "_look_up"),
    (calls_module, "context_of"),
    (calls_module, "log_failure"),
    (upgraded_work, "HeldKeys"),
    (UpgradedWork, "_work"),
    (UpgradedWork, "_read"),
    (ServerConnection, "received"),
    (ServerConnection, "_handle_all"),
    (ServerConnection, "_handle"),
    (ServerConnection, "_settle"),
    (ServerConnection, "_next_events"),
    (ServerConnection, "_send"),
    (ServerConnection, "_flush"),
    (ServerConnection, "_set_deadline"),
    (ServerConnection, "send_item"),
    (ServerConnection, "has_room"),
    (Outbox, "add"),
    (Outbox, "flush"),
    (TopicSubscription, "release"),
    (TopicSubscription, "take"),
    (StreamWork, "_has_room"),
    (StreamWork, "_end"),
    (StreamWork, "go_on"),
    (Link, "on_text"),
    (Link, "_handle"),
    (Link, "_send_text"),
    (Link, "_begin"),
    (Link, "_attach"),
    (LinkPeer, "handle"),
    (LinkPeer, "_begin"),
    (LinkPeer, "_run"),
    (LinkPeer, "respond"),
    (LinkPeer, "fail"),
    (Reader, "_serve"),
    (Reader, "_wait_and_serve"),
    (Reader, "_apply"),
    (ClientTransport, "on_readable"),
    (ClientTransport, "_receive"),
    (ClientTransport, "start"),
]


@function
def quick(number: int) -> int:
    return number


@function
def wrong() -> int:
    raise ValueError("wrong")


@function
def items() -> Iterator[int]:
    yield from range(3)


class Served:
    """A WebSocket portal with a topic, and a client that publishes a function."""

    def __init__(self, stack: ExitStack) -> None:
        self.portal = stack.enter_context(WebSocketPortal())
        self.topic = self.portal.topic("ticks", item=int)
        for one in (quick, items, wrong):
            self.portal.apply(one)
        functions = [function(name="echo")(lambda number: number)]
        client = WebSocketClient(functions=functions, reconnect=Reconnect(initial_backoff=0.01, max_backoff=0.05))
        self.consumer = stack.enter_context(Consumer(websocket=client))

    def call(self, number: int) -> None:
        assert self.consumer.call_at(f"{self.portal.base}/quick", {"number": number}, timeout=WAIT) == number

    def stream(self, number: int) -> None:
        assert list(self.consumer.stream_at(f"{self.portal.base}/items", {}, timeout=WAIT)) == [0, 1, 2]

    def error(self, number: int) -> None:
        with pytest.raises(PortalError) as caught:
            self.consumer.call_at(f"{self.portal.base}/wrong", {}, timeout=WAIT)
        if isinstance(caught.value, CallTimeout):
            raise caught.value

    def back(self, number: int) -> None:
        self.call(number)  # so that there is a connection
        for one in self.portal.list_clients():
            assert self.portal.call_client(one["id"], "echo", [number], timeout=WAIT).result(2 * WAIT) == number

    def event(self, number: int) -> None:
        with self.consumer.subscribe(f"{self.portal.base}/ticks") as subscription:
            self.topic.publish(number)
            item: Any = subscription.next(WAIT)
            assert item.data == number

    def left(self) -> dict[str, int]:
        clients, stats = self.portal.list_clients(), self.portal.stats()
        return {
            "calls": sum(one["running"] for one in clients),
            "subscriptions": sum(one["subscriptions"] for one in clients),
            "running": stats["running"],
            "unfinished": stats["listener"]["unfinished"],
            "active": stats["listener"]["active"],
        }


def attempt(kind: Callable[[int], None], number: int) -> PortalError | None:
    """Make a call and return its error, which must not be that its response did not come."""
    try:
        kind(number)
    except CallTimeout:
        raise
    except PortalError as error:
        return error
    return None


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(stack)


@pytest.mark.parametrize(("where", "name"), STEPS, ids=[f"{where.__name__}.{name}" for where, name in STEPS])
@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_no_call_over_a_websocket_is_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    kinds = (served.call, served.stream, served.error, served.back, served.event)
    for kind in kinds:
        for after in range(3):
            with monkeypatch.context() as patch:
                raising_once(patch, where, name, type(error)(*error.args), after=after, thread="portal-")
                attempt(kind, after)
    eventually(lambda: not any(attempt(kind, 5) for kind in kinds))
    eventually(lambda: not any(served.left().values()))
    assert served.portal.listener.ready


# processes


POOL_STEPS: list[tuple[Any, str]] = [
    (_Running, "begin"),
    (_Running, "end"),
    (WorkerProcess, "send"),
    (WorkerProcess, "receive"),
    (ProcessPool, "_raise_failure"),
    (ProcessPool, "_free"),
    (ProcessPool, "_provide"),
    (ProcessPool, "_give_back"),
]


@pytest.mark.parametrize(("where", "name"), POOL_STEPS, ids=[f"{where.__name__}.{name}" for where, name in POOL_STEPS])
def test_no_place_of_a_process_stays_taken(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    pool = ProcessPool(1, queue=1)
    same = function(name="same", executor=pool)(placed_functions.same)
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(same)

        def call(number: int) -> Any:
            return consumer.call_at(address, {"number": number}, timeout=WAIT)

        raising_once(monkeypatch, where, name, MemoryError())
        with pytest.raises(PortalError) as caught:
            call(1)
        assert not isinstance(caught.value, CallTimeout)
        assert call(2) == 2
        stats = pool.stats()
        assert (stats["processes"], stats["idle"], stats["waiting"]) == (1, 1, 0)
    pool.close()


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
@pytest.mark.parametrize(("where", "name"), [(ProcessPool, "_start"), (pool_module, "WorkerProcess")])
def test_a_process_is_started_although_a_thread_that_starts_one_has_raised(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    pool = ProcessPool(1, queue=1)
    same = function(name="same", executor=pool)(placed_functions.same)
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(same)
        left = raising_once(monkeypatch, where, name, error)
        failure = attempt(lambda number: consumer.call_at(address, {"number": number}, timeout=WAIT), 1)
        assert failure is None or name == "WorkerProcess"
        assert left == []
        assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 2
        stats = pool.stats()
        assert (stats["processes"], stats["idle"], stats["waiting"]) == (1, 1, 0)
    pool.close()


# JavaScript


CHILD_STEPS: list[tuple[Any, str]] = [
    (ChildProcess, "memory"),
    (ChildProcess, "call"),
    (ChildPool, "_start"),
    (ChildPool, "_take_in"),
    (ChildPool, "_give_back"),
    (ChildPool, "_is_worn"),
    (ChildPool, "_keep"),
    (ChildPool, "_ensure_keeper"),
    (ChildPool, "_needed"),
    (ChildPool, "_until_expiry"),
]


@pytest.mark.parametrize(
    ("where", "name"), CHILD_STEPS, ids=[f"{where.__name__}.{name}" for where, name in CHILD_STEPS]
)
def test_no_place_of_a_child_process_stays_taken(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    settings = PoolSettings(min_size=0, max_size=1)
    with (
        JavaScriptPortal(sandbox=Sandbox(isolation="process", pool=settings)) as portal,
        Consumer([portal]) as consumer,
    ):
        left = raising_once(monkeypatch, where, name, MemoryError())
        same = JSFunction("function same({number}) { return number }", "same")
        try:
            address = portal.apply(same)  # it starts a child
        except (PortalError, MemoryError):
            address = portal.apply(same)

        def call(number: int) -> None:
            assert consumer.call_at(address, {"number": number}, timeout=WAIT) == number

        errors = [attempt(call, number) for number in range(4)]
        eventually(lambda: not left)
        assert sum(error is not None for error in errors) <= 1
        call(5)
        (stats,) = portal.stats()["engines"].values()
        assert (stats["children"], stats["idle"], stats["waiting"]) == (1, 1, 0)


@pytest.mark.parametrize("name", ["_start", "_start_up_to", "_replace", "_needed"])
def test_a_child_process_that_was_killed_is_replaced_whatever_step_raises(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = PoolSettings(min_size=1, max_size=1)
    with (
        JavaScriptPortal(sandbox=Sandbox(isolation="process", pool=settings, limits=Limits(time=2.0))) as portal,
        Consumer([portal]) as consumer,
    ):
        endless = portal.apply(JSFunction("function endless() { for (;;); }", "endless"))
        same = portal.apply(JSFunction("function same({number}) { return number }", "same"))
        assert consumer.call_at(same, {"number": 1}, timeout=WAIT) == 1
        raising_once(monkeypatch, ChildPool, name, MemoryError(), thread="portal-")
        with pytest.raises(PortalError):
            consumer.call_at(endless, timeout=WAIT)

        def is_replaced() -> bool:
            (stats,) = portal.stats()["engines"].values()
            return (stats["children"], stats["idle"], stats["waiting"]) == (1, 1, 0)

        eventually(is_replaced)
        assert consumer.call_at(same, {"number": 2}, timeout=WAIT) == 2
