"""Sessions: calls in flight when a connection is lost, against a scripted server."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from portal import Address, CallContext, TransportError, function
from portal.errors import RegistryError
from portal.network.function import RemoteFunction
from portal.websocket.client.backoff import Reconnect
from portal.websocket.client.client import WebSocketClient
from portal.websocket.client.session_resumption import Resumption
from tests.support.websocket_peer import websocket_peer

WAIT = 20.0


@function
def charge(amount: int) -> int:
    """Not idempotent."""
    return amount


class SessionServer:
    """A server that reads calls and responds to them when the test says so.

    Attributes:
        runs: the amounts of the calls that have run.
        reply: the response to rpc.resume with a session, or None to keep silent.
    """

    def __init__(self, reply: dict[str, Any] | None) -> None:
        self.reply = reply
        self.runs: list[int] = []
        self.resumes: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.connection: Any = None

    def handle(self, connection: Any) -> None:
        with self.changed:
            self.connection = connection
        try:
            for text in connection:
                self.on_request(connection, json.loads(text))
        except ConnectionClosed:
            return

    def on_request(self, connection: Any, request: dict[str, Any]) -> None:
        method, params = request["method"], request.get("params", {})
        with self.changed:
            if method == "rpc.resume":
                self.resumes.append(params)
            if method == "charge":
                self.runs.append(params["amount"])
            self.changed.notify_all()
        if method == "rpc.describe":
            self.respond(request["id"], charge.schema.to_dict())
        elif method == "rpc.resume" and "session" not in params:
            self.respond(request["id"], {"session": "s-1", "resumed": False, "keep": 30})
        elif method == "rpc.resume" and self.reply is not None:
            self.respond(request["id"], self.reply)
            for call_id in params["pending"]:
                if self.reply.get("resumed") and call_id not in self.reply.get("missing", []):
                    self.respond(call_id, 100 + call_id)
        elif method == "charge" and len(self.runs) > 1:
            self.respond(request["id"], params["amount"])

    def respond(self, call_id: int, result: Any) -> None:
        self.connection.send(json.dumps({"jsonrpc": "2.0", "id": call_id, "result": result}))

    def wait_for(self, condition: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT)

    def drop(self) -> None:
        self.connection.socket.shutdown(2)


def client_of(**options: Any) -> WebSocketClient:
    return WebSocketClient(reconnect=Reconnect(initial_backoff=0.001, max_backoff=0.01), **options)


def run_and_drop(server: SessionServer, **options: Any) -> Any:
    """Make a call, lose the connection while it runs, and return its result."""
    client = client_of(**options)
    try:
        with websocket_peer(server.handle) as port, ThreadPoolExecutor(1) as pool:
            remote = RemoteFunction(client, Address.parse(f"ws://127.0.0.1:{port}/charge"))
            running = pool.submit(remote.invoke, {"amount": 5}, CallContext.for_call(WAIT))
            server.wait_for(lambda: server.runs)
            server.drop()
            try:
                return running.result(WAIT)
            finally:
                client.close()
    finally:
        client.close()


def test_a_call_in_flight_gets_its_response_after_a_reconnect_and_runs_once() -> None:
    server = SessionServer({"session": "s-1", "resumed": True, "missing": []})
    assert run_and_drop(server) > 100
    assert server.runs == [5]
    assert server.resumes[0] == {}
    assert server.resumes[1]["session"] == "s-1"
    assert len(server.resumes[1]["pending"]) == 1


def test_a_call_that_never_reached_the_server_is_sent_again_with_its_id() -> None:
    server = SessionServer({"session": "s-1", "resumed": True})
    real = server.on_request

    def lose_first(connection: Any, request: dict[str, Any]) -> None:
        if request["method"] == "rpc.resume" and "session" in request["params"]:
            assert server.reply is not None
            server.reply["missing"] = request["params"]["pending"]
        real(connection, request)

    server.on_request = lose_first  # type: ignore[method-assign]
    assert run_and_drop(server) == 5
    assert server.runs == [5, 5]  # the server had said that the first one never came


@pytest.mark.parametrize("reply", [{"session": "s-2", "resumed": False}, {"session": "s-2"}, {"resumed": "yes"}])
def test_a_server_that_has_lost_the_session(reply: dict[str, Any]) -> None:
    with pytest.raises(TransportError) as caught:
        run_and_drop(SessionServer(reply))
    assert caught.value.may_have_executed
    assert not caught.value.retryable


def test_without_sessions_the_call_fails_when_the_connection_is_lost() -> None:
    server = SessionServer(None)
    with pytest.raises(TransportError) as caught:
        run_and_drop(server, sessions=False)
    assert caught.value.may_have_executed
    assert server.resumes == []


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_kept_for_the_time_that_the_server_says() -> None:
    clock = Clock()
    state = Resumption(True, clock)
    state.on_session({"session": "s", "keep": 30}, None)
    state.keep()
    clock.now = 120.0
    state.keep()  # a further failure does not prolong it
    assert (state.expires_at, state.has_expired()) == (130.0, False)
    clock.now = 130.0
    assert state.has_expired()
    state.forget()
    assert (state.session, state.expires_at) == (None, None)


@pytest.mark.parametrize("keep", [True, -1, "x", None])
def test_a_wrong_time_to_keep_is_ignored(keep: Any) -> None:
    state = Resumption(True, Clock())
    state.on_session({"session": "s", "keep": keep}, None)
    state.keep()
    assert state.expires_at == 160.0


@pytest.mark.parametrize("result", [None, [], {"session": 5}, {}])
def test_a_server_without_sessions(result: Any) -> None:
    state = Resumption(True, Clock())
    state.on_session(result, None)
    state.on_session(None, RegistryError("no such method"))
    assert state.session is None


@pytest.mark.parametrize(("code", "kept"), [(1006, True), (1001, True), (1011, True), (4409, False), (4403, False)])
def test_some_close_codes_end_the_session(code: int, kept: bool) -> None:
    state = Resumption(True, Clock())
    state.on_session({"session": "s"}, None)
    state.interrupt(code)
    assert (state.session is not None) is kept


def test_missing_calls_are_read() -> None:
    state = Resumption(True, Clock())
    assert state.on_resumed({"session": "s", "resumed": True, "missing": [1, "x", 3]}, None) == {1, 3}
    assert state.on_resumed({"session": "s", "resumed": True}, None) == set()
    assert state.on_resumed({"session": "s", "resumed": False}, None) is None
    assert state.session == "s"
    assert state.on_resumed(None, RegistryError("x")) is None
    assert state.session is None
