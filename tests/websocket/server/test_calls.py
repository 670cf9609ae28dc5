"""Calls of clients: the same outcome as over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal import BearerAuth, CallContext, Identity, RateLimit, RequireScopes, function
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    CallCancelled,
    CallTimeout,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    SerializationError,
    ValidationError,
)
from portal.serving import Response
from portal.websocket.events import CallEnded
from tests.support.websocket_server import Server

AUTH = BearerAuth({"ann-token": Identity("ann", frozenset({"read"})), "bob-token": Identity("bob")})


def add(a: float, b: float = 1) -> float:
    return a + b


def fails() -> None:
    raise KeyError("secret")


def who(context: CallContext) -> Any:
    return None if context.identity is None else context.identity.name


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("add", {"a": 1, "b": 2}),
        ("add", [1, 2]),
        ("add", {"a": 2}),
        ("add", [2]),
        ("add@1", [1, 2]),
        (f"add/{function(add).schema.fingerprint}", [1, 2]),
    ],
)
def test_a_function_is_called(method: str, params: Any) -> None:
    assert Server([add]).connect().result(method, params) == 3


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("add", {"a": "1"}, ValidationError),
        ("add", {"c": 1}, ValidationError),
        ("add", [1, 2, 3], ValidationError),
        ("ad", {}, RegistryError),
        ("add@7", {}, RegistryError),
        ("add@x", {}, RegistryError),
        ("rpc.nothing", {}, RegistryError),
        ("rpc.discover", {}, RegistryError),
        ("x" * 10_000, {}, RegistryError),
        ("fails", {}, FunctionError),
        ("count", {"meta": 1}, ValidationError),
    ],
)
def test_errors_come_back_as_their_class(method: str, params: Any, error: type[PortalError]) -> None:
    def count() -> Iterator[int]:
        yield 1

    with pytest.raises(error) as caught:
        Server([add, fails, count]).connect().result(method, params)
    assert "secret" not in str(caught.value)
    assert caught.value.request_id


def test_similar_functions_are_named() -> None:
    with pytest.raises(RegistryError, match="add"):
        Server([add]).connect().result("ad")


def test_the_context_is_that_of_the_client() -> None:
    seen: list[CallContext] = []

    def note(context: CallContext) -> None:
        seen.append(context)

    meta = {"request_id": "r1", "timeout": 60_000, "idempotency_key": "k"}
    Server([note]).connect().result("note", meta=meta)
    assert (seen[0].request_id, seen[0].idempotency_key) == ("r1", "k")
    assert 50 < (seen[0].remaining() or 0) < 61


@pytest.mark.parametrize("meta", [{"timeout": -1}, {"timeout": "5"}, {"idempotency_key": ""}, {"timeout": True}])
def test_a_malformed_context_is_rejected(meta: Any) -> None:
    with pytest.raises(ProtocolError):
        Server([add]).connect().result("add", [1], meta=meta)


def test_a_call_that_expired_in_the_queue_does_not_run() -> None:
    ran: list[int] = []
    with pytest.raises(CallTimeout) as caught:
        Server([function(name="run")(lambda: ran.append(1))]).connect().result("run", meta={"timeout": 0})
    assert (caught.value.delivery, ran) == ("not_sent", [])


def test_the_response_comes_at_the_deadline() -> None:
    release = threading.Event()
    peer = Server([function(name="wait")(lambda: release.wait(30))]).connect()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(peer.call("wait", meta={"timeout": 20})))
    arrived = threading.Event()
    send = peer._send
    peer._send = lambda text: (send(text), arrived.set())  # type: ignore[assignment]
    thread.start()
    assert arrived.wait(20)
    assert peer.sent[0]["error"]["code"] == CallTimeout.rpc_code
    release.set()
    thread.join(20)
    assert len(peer.sent) == 1
    assert isinstance(found[0].error, CallTimeout)


def test_a_cancelled_call_sees_it() -> None:
    started = threading.Event()
    ended: list[bool] = []

    def wait(context: CallContext) -> int:
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)
        started.set()
        ended.append(cancelled.wait(20))
        return 5

    peer = Server([wait]).connect()
    call, text = peer.caller.call("wait")
    thread = threading.Thread(target=peer.receive, args=(text,))
    thread.start()
    assert started.wait(20)
    for event in peer.caller.cancel(call):
        if hasattr(event, "text"):
            peer.receive(event.text)
    thread.join(20)
    assert ended == [True]
    assert peer.sent[0]["error"]["code"] == CallCancelled.rpc_code


def test_a_lost_connection_cancels_its_calls() -> None:
    peer = Server([add]).connect()
    contexts: list[CallContext] = []

    def lose(context: CallContext) -> None:
        contexts.append(context)
        peer.lose()

    peer.server.catalogue.add(function(lose))
    peer.call("lose")
    assert contexts[0].cancelled


def test_no_worker_is_free() -> None:
    peer = Server([add]).connect()
    peer.free = False
    with pytest.raises(OverloadedError):
        peer.result("add", [1])


def test_a_notification_gets_no_response() -> None:
    ran: list[int] = []
    peer = Server([function(name="note")(lambda: ran.append(1)), fails]).connect()
    for method in ("note", "fails", "unknown"):
        peer.receive(peer.caller.notify(method))
    assert (ran, peer.sent, peer.session.running) == ([1], [], [])


def test_a_result_that_json_cannot_carry() -> None:
    @function(validate_output="off")
    def odd() -> Any:
        return {1, 2}

    with pytest.raises(SerializationError) as caught:
        Server([odd]).connect().result("odd")
    assert caught.value.executed


# who calls


def test_the_identity_of_the_handshake_is_that_of_calls() -> None:
    peer = Server([who], auth=AUTH).connect(b"Authorization: Bearer ann-token\r\n")
    assert peer.result("who") == "ann"


@pytest.mark.parametrize(
    "meta",
    [
        {"authorization": "Bearer bob-token"},
        {"headers": {"Authorization": "Bearer bob-token"}},
    ],
)
def test_a_message_may_have_a_credential_of_its_own(meta: Any) -> None:
    peer = Server([who], auth=AUTH).connect(b"Authorization: Bearer ann-token\r\n")
    assert peer.result("who", meta=meta) == "bob"
    assert peer.result("who") == "ann"


@pytest.mark.parametrize(
    ("meta", "error"),
    [
        ({"authorization": "Bearer wrong"}, AuthenticationError),
        ({"authorization": "Basic x"}, AuthenticationError),
        ({"headers": {"x-other": "1"}}, AuthenticationError),
        ({"authorization": 5}, ValidationError),
        ({"authorization": "a\nb"}, ValidationError),
        ({"headers": "x"}, ValidationError),
        ({"headers": {"a": 1}}, ValidationError),
        ({"headers": {str(number): "x" for number in range(50)}}, ValidationError),
    ],
)
def test_a_wrong_credential_of_a_message_is_rejected(meta: Any, error: type[PortalError]) -> None:
    """The credential of the handshake does not take its place."""
    peer = Server([who], auth=AUTH).connect(b"Authorization: Bearer ann-token\r\n")
    with pytest.raises(error):
        peer.result("who", meta=meta)


def test_without_authenticators_there_is_no_identity() -> None:
    assert Server([who]).connect().result("who", meta={"authorization": "Bearer x"}) is None


def test_middleware_and_scopes_hold() -> None:
    server = Server([add], auth=AUTH, middleware=[RequireScopes("read")])
    peer = server.connect(b"Authorization: Bearer ann-token\r\n")
    assert peer.result("add", [1]) == 2
    with pytest.raises(AuthorizationError):
        peer.result("add", [1], meta={"authorization": "Bearer bob-token"})


def test_limits_hold_and_their_headers_come_back() -> None:
    peer = Server([add], middleware=[RateLimit("3/hour")]).connect()
    end = peer.call("add", [1])
    assert end.meta["headers"]["ratelimit"].startswith('"default";r=2;')
    peer.call("nothing")
    peer.call("rpc.describe", {"path": ""})
    with pytest.raises(RateLimitError) as caught:
        peer.result("add", [1])
    assert caught.value.retry_after


def test_guesses_in_messages_count_for_middleware_around_authentication() -> None:
    guesses: list[str] = []

    def count(request: Any, call_next: Any) -> Response:
        if len(guesses) >= 2:
            raise RateLimitError("too many", retry_after=9)
        response = call_next(request)
        if request.notes.get("guess"):
            guesses.append(request.peer)
        return response  # type: ignore[no-any-return]

    server = Server([who], auth=AUTH, request_middleware=[count])
    peer = server.connect(b"Authorization: Bearer ann-token\r\n")
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            peer.result("who", meta={"authorization": "Bearer wrong"})
    with pytest.raises(RateLimitError):
        peer.result("who", meta={"authorization": "Bearer wrong"})
    assert guesses == ["192.0.2.1"] * 2
    assert peer.result("who") == "ann"


def test_keys_are_of_the_function_and_the_client() -> None:
    server = Server([add], auth=AUTH)
    peer = server.connect(b"Authorization: Bearer ann-token\r\n")
    _, text = peer.caller.call("add", [1])
    (event,) = peer.session.receive(text, 0.0)
    prepared = server.calls.prepare(peer, event.call)  # type: ignore[union-attr]
    assert prepared.kind == ("add",)
    assert prepared.keys == (("function", "/ws/add"), ("client", "identity:ann"))
    for method in ("rpc.describe", "nothing"):
        _, text = peer.caller.call(method)
        (event,) = peer.session.receive(text, 0.0)
        assert server.calls.prepare(peer, event.call).keys == (("client", "identity:ann"),)  # type: ignore[union-attr]


def test_a_function_hides_a_reserved_method_of_its_name() -> None:
    peer = Server([function(name="rpc.describe")(lambda: "mine")]).connect()
    assert peer.result("rpc.describe") == "mine"


def test_calls_of_a_batch_have_their_own_outcomes() -> None:
    peer = Server([add, fails]).connect()
    calls, text = peer.caller.call_batch([("add", [1], None), ("fails", None, None), ("add", {"a": 5}, None)])
    peer.receive(text)
    assert len(peer.sent) == 1
    ends = [call.tag for call in calls]
    assert all(isinstance(end, CallEnded) for end in ends)
    assert [end.result for end in ends] == [2, None, 6]
    assert isinstance(ends[1].error, FunctionError)
