"""WebSocketClient, with servers of the package `websockets` that speak JSON-RPC."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from portal import Address, CallContext, CallTimeout, ConfigError, TransportError, function
from portal.errors import CallCancelled, FunctionError, ProtocolError, RegistryError, ValidationError
from portal.network.function import RemoteFunction
from portal.websocket.client.backoff import Reconnect
from portal.websocket.client.client import WebSocketClient
from portal.websocket.client.exchange import Exchange
from portal.websocket.client.lifecycle import ConnectionState
from portal.websocket.client.reader import shared_reader
from portal.websocket.events import OutgoingCall
from tests.support.ports import free_port
from tests.support.websocket_peer import websocket_peer

WAIT = 20.0


@function(idempotent=True)
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@function
def subtract(a: float, b: float) -> float:
    """Subtract."""
    return a - b


@function
def count_to(limit: int) -> Iterator[int]:
    """Count."""
    yield from range(limit)


class Server:
    """A JSON-RPC server: it responds to each call in a thread of its own, so that calls overtake each other."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.connections: list[Any] = []
        self.hold = threading.Event()
        self.held = threading.Semaphore(0)
        self.changed = threading.Condition()

    def handle(self, connection: Any) -> None:
        with self.changed:
            self.connections.append(connection)
        threads = []
        try:
            for text in connection:
                request = json.loads(text)
                with self.changed:
                    self.seen.append(request)
                    self.changed.notify_all()
                thread = threading.Thread(target=self.respond, args=(connection, request))
                thread.start()
                threads.append(thread)
        finally:
            self.hold.set()
            for thread in threads:
                thread.join(WAIT)

    def respond(self, connection: Any, request: dict[str, Any]) -> None:
        if "id" not in request:
            return
        try:
            reply = {"result": self.result(connection, request["method"], request.get("params", {}), request)}
        except ConnectionClosed:
            return
        except LookupError as error:
            reply = {"error": {"code": -32601, "message": str(error)}}
        except ValueError as error:
            reply = {"error": {"code": 7, "message": str(error)}}
        try:
            connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}))
        except ConnectionClosed:
            return

    def result(self, connection: Any, method: str, params: Any, request: dict[str, Any]) -> Any:
        if method == "rpc.describe":
            known = {"add": add, "count_to": count_to, "hold": add, "hold_once": subtract, "fail": add}
            return known[params["path"]].schema.to_dict()
        if method == "add":
            return params["a"] + params["b"]
        if method in ("hold", "hold_once"):
            self.held.release()
            assert self.hold.wait(WAIT)
            return params["a"]
        if method == "fail":
            raise ValueError("no")
        if method == "count_to":
            for item in range(params["limit"]):
                note = {"jsonrpc": "2.0", "method": "rpc.item", "params": {"id": request["id"], "data": item}}
                connection.send(json.dumps(note))
            if params["limit"] == 40:
                self.wait_for("rpc.credit")
            if params["limit"] == 7:
                assert self.hold.wait(WAIT)
            return None
        raise LookupError(method)

    def wait_for(self, method: str, number: int = 1) -> list[dict[str, Any]]:
        """Wait until a method was called so often; return its calls."""
        with self.changed:
            found = lambda: [one for one in self.seen if one["method"] == method]  # noqa: E731
            assert self.changed.wait_for(lambda: len(found()) >= number, WAIT)
            return found()

    def drop(self) -> None:
        """End the connections without a close frame."""
        for connection in self.connections:
            connection.socket.shutdown(2)
        self.connections.clear()


@contextmanager
def serving(**options: Any) -> Iterator[tuple[Server, WebSocketClient, str]]:
    server = Server()
    client = WebSocketClient(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.01), **options)
    try:
        with websocket_peer(server.handle) as port:
            try:
                yield server, client, f"ws://127.0.0.1:{port}"
            finally:
                server.hold.set()
                client.close()
    finally:
        client.close()


def resolve(client: WebSocketClient, base: str, name: str) -> RemoteFunction:
    return RemoteFunction(client, Address.parse(f"{base}/{name}"))


def test_a_call_and_its_schema() -> None:
    with serving() as (server, client, base):
        remote = resolve(client, base, "add")
        assert remote(a=1, b=2) == 3
        call = server.wait_for("add")[0]
        assert call["params"] == {"a": 1, "b": 2}
        assert set(call["meta"]) == {"request_id", "timeout"}
        assert remote.schema.description == "Add two numbers."


def test_many_threads_share_one_connection_and_overtake() -> None:
    with serving() as (server, client, base):
        remote, hold = resolve(client, base, "add"), resolve(client, base, "hold")
        with ThreadPoolExecutor(17) as pool:
            slow = pool.submit(hold, a=7, b=0)
            assert server.held.acquire(timeout=WAIT)
            results = list(pool.map(lambda number: remote(a=number, b=1), range(200)))
            assert not slow.done()
            server.hold.set()
            assert slow.result(WAIT) == 7
        assert results == [number + 1 for number in range(200)]
        assert len(server.connections) == 1


def test_errors_of_the_server() -> None:
    with serving() as (_, client, base):
        with pytest.raises(FunctionError, match="no") as caught:
            resolve(client, base, "fail")(a=1, b=2)
        assert caught.value.address == f"{base}/fail"
        assert caught.value.request_id
        with pytest.raises(RegistryError):
            resolve(client, base, "unknown")
        with pytest.raises(ValidationError):
            resolve(client, base, "add").invoke({"a": "x"}, CallContext())


def test_the_caller_does_not_wait_beyond_its_deadline_and_cancels() -> None:
    with serving() as (server, client, base):
        hold = resolve(client, base, "hold")
        with pytest.raises(CallTimeout) as caught:
            hold.invoke({"a": 1, "b": 2}, CallContext.for_call(0.05))
        assert caught.value.may_have_executed
        assert "hold did not respond within 0.0" in str(caught.value), "as a server says it"
        assert caught.value.timeout == pytest.approx(0.05, abs=0.05)
        call = server.wait_for("hold")[0]
        assert server.wait_for("rpc.cancel")[0]["params"] == {"id": call["id"]}
        assert resolve(client, base, "add")(a=1, b=2) == 3  # a late response does no harm


def test_a_cancelled_context_ends_the_call() -> None:
    with serving() as (server, client, base):
        hold, context = resolve(client, base, "hold"), CallContext()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(hold.invoke, {"a": 1, "b": 2}, context)
            assert server.held.acquire(timeout=WAIT)
            context.cancel()
            with pytest.raises(CallCancelled):
                running.result(WAIT)
        server.wait_for("rpc.cancel")
        with pytest.raises(CallCancelled):
            hold.invoke({"a": 1, "b": 2}, context)


def test_a_stream_with_credit() -> None:
    with serving() as (server, client, base):
        items = resolve(client, base, "count_to").iterate({"limit": 40}, CallContext.for_call(WAIT))
        assert list(items) == list(range(40))
        call = server.wait_for("count_to")[0]
        assert call["meta"]["credit"] == 64
        assert server.wait_for("rpc.credit")[0]["params"] == {"id": call["id"], "items": 32}


def test_a_stream_beyond_its_credit_fails() -> None:
    with serving() as (_, client, base):
        items = resolve(client, base, "count_to").iterate({"limit": 500_000}, CallContext.for_call(WAIT))
        next(items)
        with pytest.raises((ProtocolError, TransportError)):
            for _ in items:
                pass


def test_a_stream_that_is_closed_cancels_the_call() -> None:
    with serving() as (server, client, base):
        items = resolve(client, base, "count_to").iterate({"limit": 7}, CallContext.for_call(WAIT))
        assert next(items) == 0
        items.close()
        assert list(items) == []
        server.wait_for("rpc.cancel")
        abandoned = resolve(client, base, "count_to").iterate({"limit": 7}, CallContext.for_call(WAIT))
        next(abandoned)
        del abandoned
        server.wait_for("rpc.cancel", 2)


def test_calls_and_streams_are_not_mixed_up() -> None:
    with serving() as (_, client, base):
        with pytest.raises(ProtocolError, match="is a stream"):
            resolve(client, base, "count_to").invoke({"limit": 1}, CallContext())
        with pytest.raises(ProtocolError, match="is not a stream"):
            resolve(client, base, "add").iterate({"a": 1, "b": 2}, CallContext())


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with serving(max_message_size=1000, validate=False) as (server, client, base):
        remote = resolve(client, base, "add")
        with pytest.raises(ProtocolError, match="at most 1000 bytes") as caught:
            remote.invoke({"a": "x" * 1000, "b": ""}, CallContext())
        assert caught.value.delivery == "not_sent"
        assert remote.invoke({"a": 1, "b": 2}, CallContext()) == 3
        assert len(server.wait_for("add")) == 1


def test_a_server_that_was_never_reached_fails_the_call_at_once() -> None:
    client = WebSocketClient()
    with pytest.raises(TransportError, match="cannot connect to") as caught:
        client.get(Address.parse(f"ws://127.0.0.1:{free_port()}/ws"))
    assert caught.value.delivery == "not_sent"
    assert caught.value.retryable
    client.close()


def test_a_lost_connection_comes_back_for_the_next_call() -> None:
    with serving() as (server, client, base):
        remote = resolve(client, base, "add")
        assert remote(a=1, b=2) == 3
        server.drop()
        assert remote(a=2, b=2) == 4  # idempotent: it is sent once more if the connection was not yet known as lost


def test_a_call_in_flight_fails_if_it_may_have_been_executed() -> None:
    with serving() as (server, client, base):
        once = resolve(client, base, "hold_once")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(once, a=1, b=2)
            assert server.held.acquire(timeout=WAIT)
            server.drop()
            with pytest.raises(TransportError) as caught:
                running.result(WAIT)
        assert caught.value.may_have_executed
        assert not caught.value.retryable


def test_an_idempotent_call_in_flight_is_sent_once_more() -> None:
    with serving() as (server, client, base):
        hold = resolve(client, base, "hold")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(hold, a=5, b=0)
            assert server.held.acquire(timeout=WAIT)
            server.drop()  # the server then lets the first one end; its response goes nowhere
            assert running.result(WAIT) == 5
        assert len(server.wait_for("hold", 2)) == 2


def test_a_call_that_is_not_sent_waits_for_the_server_to_come_back() -> None:
    lost = threading.Event()

    def note(address: Address, old: ConnectionState, new: ConnectionState) -> None:
        if new is ConnectionState.IDLE:
            lost.set()

    client = WebSocketClient(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.01, patience=WAIT), on_state=note)
    first, second = Server(), Server()
    with websocket_peer(first.handle) as port:
        base = f"ws://127.0.0.1:{port}"
        remote = resolve(client, base, "add")
        assert remote(a=1, b=2) == 3
        link = client._links.all()[0]
        first.drop()
        assert lost.wait(WAIT)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(remote, a=3, b=4)
        expiring = pool.submit(remote.invoke, {"a": 3, "b": 4}, CallContext.for_call(0.05))
        with pytest.raises(CallTimeout) as caught:
            expiring.result(WAIT)
        assert caught.value.delivery == "not_sent"
        assert link.last_error is not None
        assert not waiting.done()
        with websocket_peer(second.handle, port=port):
            assert waiting.result(WAIT) == 7
            client.close()


def test_states_are_observable() -> None:
    seen: list[tuple[ConnectionState, ConnectionState]] = []
    closed = threading.Event()

    def note(address: Address, old: ConnectionState, new: ConnectionState) -> None:
        seen.append((old, new))
        if new is ConnectionState.CLOSED:
            closed.set()

    with serving(on_state=note) as (_, client, base):
        resolve(client, base, "add")(a=1, b=2)
        assert client.connections() == [(Address.parse(f"{base}/"), ConnectionState.OPEN)]
        client.close()
        assert closed.wait(WAIT)
    assert {new for _, new in seen} == {ConnectionState.CONNECTING, ConnectionState.OPEN, ConnectionState.CLOSED}


def test_a_closed_client_connects_again_for_a_later_call() -> None:
    with serving() as (_, client, base):
        remote = resolve(client, base, "add")
        remote(a=1, b=2)
        client.close()
        client.close()
        assert remote(a=1, b=2) == 3


def test_the_reading_thread_is_one_for_all_clients() -> None:
    older = set(threading.enumerate())
    clients = [WebSocketClient() for _ in range(20)]
    server = Server()
    with websocket_peer(server.handle) as port:
        remotes = [resolve(client, f"ws://127.0.0.1:{port}", "add") for client in clients]
        assert [remote(a=1, b=1) for remote in remotes] == [2] * 20
        names = [one.name for one in threading.enumerate() if one not in older and "portal-websocket" in one.name]
        assert len(names) <= 1 + 8
        assert shared_reader()._loop.running
        for client in clients:
            client.close()


def is_own(value: Any, since: float) -> bool:
    """Whether a value is a context of the test below, and not of a thread that an earlier test has left."""
    if not isinstance(value, CallContext) or value.deadline is None:
        return False
    return since <= value.deadline - WAIT <= monotonic()


def test_calls_leave_no_cycles_of_references() -> None:
    # Only the garbage collector would free them, and its runs would take longer than the calls.
    client, server = WebSocketClient(), Server()
    with websocket_peer(server.handle) as port:
        remote = resolve(client, f"ws://127.0.0.1:{port}", "add")
        context = CallContext.for_call
        for number in range(20):
            remote.invoke({"a": number, "b": 1}, context(WAIT))
        gc.collect()
        began = monotonic()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(50):
                remote.invoke({"a": number, "b": 1}, context(WAIT))
            gc.collect()
            left = [one for one in gc.garbage if isinstance(one, Exchange | OutgoingCall) or is_own(one, began)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            client.close()
    assert left == []


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"connections": 0}, {"max_message_size": -1}, {"tls": "x"}, {"reconnect": 3}, {"heartbeat": 0},
     {"sessions": 1}, {"on_state": 5}, {"auth": 5}, {"deflate": True}, {"proxy": "nonsense"}],
)  # fmt: skip
def test_wrong_settings_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        WebSocketClient(**settings)


@pytest.mark.parametrize("since", ["e:7", {"epoch": "e", "offset": 7}, ("e",), ("e", True), (7, "e")])
def test_a_wrong_position_is_rejected_before_a_connection_is_made(since: Any) -> None:
    client = WebSocketClient()
    with pytest.raises(ConfigError, match=r"subscribe\.since must be the position of a subscription") as caught:
        client.subscribe(f"ws://127.0.0.1:{free_port()}/ws/ticks", since=since)
    assert caught.value.path == "subscribe.since"
    client.close()


def test_calls_of_one_function_are_made_together() -> None:
    with serving() as (server, client, base):
        params = [{"a": n, "b": 1} for n in range(20)]
        remotes = {name: resolve(client, base, name) for name in ("add", "hold", "hold_once", "count_to")}
        assert [remote.schema.idempotent for remote in remotes.values()] == [True, True, False, False]
        context = CallContext(deadline=monotonic() + WAIT)
        assert client.call_batch(remotes["add"], params, context) == {n: n + 1 for n in range(20)}
        assert client.call_batch(remotes["hold_once"], params, context) is None
        assert client.call_batch(remotes["count_to"], params, context) is None
        assert len(server.connections) == 1
        soon = CallContext(deadline=monotonic() + 0.05)
        assert client.call_batch(remotes["hold"], params, soon) == {}
        server.hold.set()
        assert client.call_batch(remotes["hold"], params, CallContext()) == {n: n for n in range(20)}
