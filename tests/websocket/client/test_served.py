"""The functions that a client publishes: its server calls them over the client's connection."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from portal import CallContext, Consumer, WebSocketPortal, function
from portal.errors import (
    CallTimeout,
    ConfigError,
    FunctionError,
    OverloadedError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.websocket import WebSocketClient


def add(a: float, b: float) -> float:
    return a + b


def confirm(text: str) -> str:
    return f"{text}: yes"


def fails() -> None:
    raise KeyError("secret")


def who(context: CallContext) -> str:
    return context.request_id


class Connected:
    """A server and a client that has made a call, so that the server can call back."""

    def __init__(self, portal: WebSocketPortal, *functions: Any) -> None:
        self.portal = portal
        self.consumer = Consumer(websocket=WebSocketClient(functions=functions))
        self.address = portal.apply(add)
        assert self.consumer.call_at(self.address, {"a": 1, "b": 2}) == 3
        self.id = portal.list_clients()[0]["id"]

    def call(self, method: str, params: Any = None, timeout: float = 20) -> Any:
        return self.portal.call_client(self.id, method, params, timeout=timeout).result(20)


@pytest.fixture
def connected() -> Iterator[Connected]:
    with WebSocketPortal() as portal:
        made = Connected(portal, confirm, fails, who)
        yield made
        made.consumer.close()


@pytest.mark.parametrize("params", [{"text": "sure?"}, ["sure?"]])
def test_the_server_calls_a_function_of_its_client(connected: Connected, params: Any) -> None:
    assert connected.call("confirm", params) == "sure?: yes"


def test_both_directions_at_once(connected: Connected) -> None:
    futures = [connected.portal.call_client(connected.id, "confirm", [str(n)]) for n in range(50)]
    calls = [{"a": n, "b": n} for n in range(50)]
    assert list(connected.consumer.map_at(connected.address, calls)) == [2.0 * n for n in range(50)]
    assert [future.result(20) for future in futures] == [f"{n}: yes" for n in range(50)]


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("confirm", {}, ValidationError),
        ("confirm", [1], ValidationError),
        ("nothing", {}, RegistryError),
        ("fails", {}, FunctionError),
    ],
)
def test_errors_come_back_as_their_class(connected: Connected, method: str, params: Any, error: Any) -> None:
    with pytest.raises(error) as caught:
        connected.call(method, params)
    assert "secret" not in str(caught.value)


def test_a_client_without_functions_rejects_calls() -> None:
    with WebSocketPortal() as portal:
        made = Connected(portal)
        with pytest.raises(RegistryError, match="publishes no function confirm"):
            made.call("confirm", ["x"])
        made.consumer.close()


def test_a_function_may_call_the_server_that_called_it() -> None:
    with WebSocketPortal() as portal:

        def double(n: float) -> Any:
            return made.consumer.call_at(made.address, {"a": n, "b": n})

        made = Connected(portal, function(double))
        assert made.call("double", [4]) == 8.0
        made.consumer.close()


def test_a_client_that_does_not_respond_in_time() -> None:
    release, cancelled = threading.Event(), threading.Event()

    def wait(context: CallContext) -> bool:
        context.on_cancel(cancelled.set)
        return release.wait(30)

    with WebSocketPortal() as portal:
        made = Connected(portal, wait)
        with pytest.raises(CallTimeout):
            made.call("wait", timeout=0.05)
        assert cancelled.wait(20)  # the server has told the client
        release.set()
        made.consumer.close()


def test_a_lost_connection_ends_the_call_on_both_sides() -> None:
    started, cancelled = threading.Event(), threading.Event()

    def wait(context: CallContext) -> bool:
        context.on_cancel(cancelled.set)
        started.set()
        return cancelled.wait(30)

    with WebSocketPortal() as portal:
        made = Connected(portal, wait)
        future: Future[Any] = portal.call_client(made.id, "wait")
        assert started.wait(20)
        portal.disconnect(made.id, code=1012)
        with pytest.raises(TransportError) as caught:
            future.result(20)
        assert caught.value.may_have_executed
        assert cancelled.wait(20)
        # The response of the old call must not become that of the new connection's first call.
        assert made.consumer.call_at(made.address, {"a": 1, "b": 2}, timeout=20) == 3
        made.consumer.close()


def test_no_thread_is_free(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OverloadedError("no thread is free")

    monkeypatch.setattr("portal.websocket.client.served.ServedFunctions.run", full)
    with pytest.raises(OverloadedError):
        connected.call("confirm", ["x"])


def test_streams_and_other_objects_are_rejected() -> None:
    def count() -> Iterator[int]:
        yield 1

    for functions in ([count], [5]):
        with pytest.raises(ConfigError):
            WebSocketClient(functions=functions)  # type: ignore[list-item]


def test_a_client_that_publishes_nothing_loads_no_server() -> None:
    code = (
        "import sys; from portal.websocket import WebSocketClient; WebSocketClient();"
        "print([name for name in sys.modules if name.startswith(('portal.serving', 'portal.websocket.server'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
