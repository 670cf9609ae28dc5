"""An exception of a call within this process is freed at once, without the garbage collector.

So it is for functions of a LocalPortal, mocks, scripts, functions in worker processes, and the calls of a WebSocket
connection on the side of the server.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from portal import (
    AuthenticationError,
    BearerAuth,
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    Identity,
    JavaScriptPortal,
    JSFunction,
    LocalPortal,
    PortalError,
    TransportError,
    ValidationError,
    function,
    service,
)
from portal._internal.closing import run_all
from portal._internal.openssl import repeat_operation
from portal.calls.singleflight import SingleFlight
from portal.javascript import Grant, HostAPI
from portal.testing import TestingPortal
from tests.support.failing_functions import FUNCTIONS, Declined
from tests.support.garbage import cyclic_exceptions
from tests.support.raising import fails
from tests.support.websocket_server import Server

Row = Callable[[], object]


@function(executor="processes")
def decline_elsewhere() -> None:
    """Raise a PortalError in another process."""
    raise Declined("declined")


@function(executor="processes")
def break_elsewhere() -> None:
    """Raise what is not a PortalError in another process."""
    raise RuntimeError("a fault")


@function
def unsendable() -> None:
    """Raise an error with a member that is not JSON data."""
    raise WithMember(object())


class WithMember(PortalError):
    code = "errors_in_this_process_with_member"
    members = ("member",)

    def __init__(self, member: object = None, **common: Any) -> None:
        super().__init__("declined", **common)
        self.member = member


@service
class Unready:
    """A service that does not start."""

    def on_start(self) -> None:
        raise RuntimeError("not ready")

    def work(self) -> None:
        """Do nothing."""


def read(stream: Callable[..., Iterable[Any]], *args: Any) -> None:
    for _ in stream(*args):
        pass


def local_rows(stack: ExitStack, consumer: Consumer) -> dict[str, Row]:
    portal = LocalPortal()
    at = {one.name: str(portal.apply(one)) for one in (*FUNCTIONS, unsendable, decline_elsewhere, break_elsewhere)}
    unready = str(portal.apply_service(Unready()))
    call = consumer.call_at
    return {
        "local: own error": partial(fails, Declined, call, at["decline"]),
        "local: own error, native": partial(fails, Declined, consumer.resolve(at["decline"])),
        "local: own error, with a deadline": partial(fails, Declined, call, at["decline"], timeout=10.0),
        "local: stream, with a deadline": lambda: fails(
            Declined, read, partial(consumer.stream_at, timeout=10.0), at["stop_early"]
        ),
        "local: unexpected exception": partial(fails, FunctionError, call, at["break_down"]),
        "local: unexpected exception, native": partial(fails, FunctionError, consumer.resolve(at["break_down"])),
        "local: invalid parameters": partial(fails, ValidationError, call, at["take"], {"number": "x"}),
        "local: invalid parameters, native": partial(fails, ValidationError, consumer.resolve(at["take"]), number="x"),
        "local: unsendable": partial(fails, PortalError, call, at["unsendable"]),
        "local: unsendable, native": partial(fails, PortalError, consumer.resolve(at["unsendable"])),
        "local: unknown": partial(fails, PortalError, call, "local://absent"),
        "local: deadline": partial(fails, CallTimeout, call, at["hang"], timeout=0.02),
        "local: stream": partial(fails, Declined, read, consumer.stream_at, at["stop_early"]),
        "local: service does not start": partial(fails, FunctionError, call, f"{unready}/work"),
        "process: own error": partial(fails, Declined, call, at["decline_elsewhere"]),
        "process: own error, native": partial(fails, Declined, decline_elsewhere),
        "process: unexpected exception": partial(fails, FunctionError, call, at["break_elsewhere"]),
    }


def mock_rows(stack: ExitStack, consumer: Consumer) -> dict[str, Row]:
    portal = stack.enter_context(TestingPortal())
    raises, fails_, drops = (portal.mock(name) for name in ("raises", "fails", "drops"))
    raises.raises(ValueError("no"))
    fails_.fails(1.0)
    drops.drops_after_execution()
    declined = str(portal.apply(FUNCTIONS[0]))
    stream = str(portal.apply(next(one for one in FUNCTIONS if one.name == "stop_early")))

    server = stack.enter_context(TestingPortal(base="http://errors.example/api"))
    received = str(server.apply(FUNCTIONS[0]))
    received_stream = str(server.apply(next(one for one in FUNCTIONS if one.name == "stop_early")))

    def forgotten(call: Row) -> None:
        call()
        portal.reset()  # the history keeps errors
        server.reset()

    rows: dict[str, Row] = {
        "mock: raises": partial(fails, PortalError, consumer.call_at, str(raises.address)),
        "mock: fails": partial(fails, TransportError, consumer.call_at, str(fails_.address)),
        "mock: drops": partial(fails, TransportError, consumer.call_at, str(drops.address)),
        "mock: function": partial(fails, Declined, consumer.call_at, declined),
        "mock: stream": partial(fails, Declined, read, consumer.stream_at, stream),
        "mock server: function": partial(fails, Declined, consumer.call_at, received),
        "mock server: stream": partial(fails, Declined, read, consumer.stream_at, received_stream),
    }
    return {name: partial(forgotten, row) for name, row in rows.items()}


def script_rows(stack: ExitStack, consumer: Consumer) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    local = LocalPortal()
    local.apply(FUNCTIONS[0])
    caller = stack.enter_context(Consumer([local])).call_at
    for engine, module in (("quickjs", "quickjs"), ("v8", "py_mini_racer"), ("js2py", "js2py")):
        if importlib.util.find_spec(module) is None:
            continue
        host = HostAPI(grants=(Grant("local://decline"),))
        portal = stack.enter_context(JavaScriptPortal(engine=engine, host=host, caller=caller))
        throw = str(portal.apply(JSFunction("function stop() { throw new Error('no') }", "stop")))
        loop = str(portal.apply(JSFunction("function spin() { while (true) {} }", "spin", timeout=0.05)))
        code = "function ask() { return portal.call('local://decline', {}) }"
        asks = str(portal.apply(JSFunction(code, "ask")))
        rows[f"{engine}: call of the script"] = partial(fails, PortalError, consumer.call_at, asks)
        rows[f"{engine}: throw"] = partial(fails, PortalError, consumer.call_at, throw)
        rows[f"{engine}: time limit"] = partial(fails, PortalError, consumer.call_at, loop)
    return rows


def connection_rows(stack: ExitStack, consumer: Consumer) -> dict[str, Row]:
    peer = Server(FUNCTIONS).connect()

    def row(method: str, params: dict[str, Any] | None = None, **options: Any) -> Row:
        def call() -> None:
            ended = peer.call(method, params or {}, **options)
            assert ended.error is not None
            ended.call.tag = None  # which refers to `ended`
            peer.sent.clear()

        return call

    return {
        "connection: own error": row("decline"),
        "connection: unexpected exception": row("break_down"),
        "connection: invalid parameters": row("take", {"number": "x"}),
        "connection: unknown function": row("absent"),
        "connection: stream": row("stop_early", credit=10),
        "connection: unknown topic": row("rpc.subscribe", {"topic": "absent"}),
    }


def other_rows(stack: ExitStack, consumer: Consumer) -> dict[str, Row]:
    def stop(argument: object = None) -> None:
        raise OSError("no")

    def repeat() -> None:
        try:
            stop()
        except OSError as error:
            repeat_operation(stop, None, error)

    guarded = Server(auth=BearerAuth({"token": Identity("ann")}))
    return {
        "shared call": lambda: fails(OSError, SingleFlight().run, "key", CallContext(), "shared", stop),
        "steps": partial(fails, OSError, run_all, stop, stop),
        "repeated operation": partial(fails, OSError, repeat),
        "handshake": partial(fails, AuthenticationError, guarded.connect),
    }


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, Row]]:
    with ExitStack() as stack:
        consumer = stack.enter_context(Consumer())
        found: dict[str, Row] = {}
        for make in (local_rows, mock_rows, script_rows, connection_rows, other_rows):
            found |= make(stack, consumer)
        yield found


def test_exceptions_of_failed_calls_are_freed_at_once(rows: dict[str, Row]) -> None:
    found = {name: cyclic_exceptions(row) for name, row in rows.items()}
    lines = [f"{name}: {line}" for name, some in found.items() for line in some[:4]]
    assert not lines, "\n".join(lines)
