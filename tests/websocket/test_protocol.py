"""Session: tables of what it does with each text, and two sessions joined by bytes."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import settings

from portal.errors import (
    CallCancelled,
    CallTimeout,
    ConfigError,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from portal.websocket.events import (
    CallEnded,
    CallReceived,
    CancelReceived,
    CreditReceived,
    Event,
    Ignored,
    IncomingCall,
    ItemReceived,
    Send,
    StrayCancelReceived,
)
from portal.websocket.protocol import Session
from tests.support.session_machine import TwoSessions, run_steps


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def message(**members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **members}


def sent(events: list[Event]) -> list[Any]:
    return [json.loads(event.text) for event in events if isinstance(event, Send)]


def call_of(events: list[Event]) -> IncomingCall:
    (event,) = events
    assert isinstance(event, CallReceived)
    return event.call


def answer(method: str, params: Any) -> Any:
    """The functions of the specification's examples."""
    if method == "subtract":
        return params["minuend"] - params["subtrahend"] if isinstance(params, dict) else params[0] - params[1]
    if method == "sum":
        return sum(params)
    if method == "get_data":
        return ["hello", 5]
    if method in ("update", "notify_sum", "notify_hello"):
        return None
    raise RegistryError("Method not found")


def serve(session: Session, data: bytes) -> Any:
    """Return what a server sends for one text; None if it sends nothing."""
    texts = []
    for event in session.receive(data, 0.0):
        if isinstance(event, Send):
            texts.append(event.text)
        elif isinstance(event, CallReceived):
            try:
                found = session.respond(event.call, answer(event.call.method, event.call.params))
            except PortalError as error:
                found = session.fail(event.call, error)
            texts += [found] if found is not None else []
    assert len(texts) <= 1
    return json.loads(texts[0]) if texts else None


def result(value: Any, call_id: Any) -> dict[str, Any]:
    return message(result=value, id=call_id)


def code_of(value: Any) -> Any:
    """The value with the whole error objects replaced by their codes."""
    if isinstance(value, list):
        return [code_of(one) for one in value]
    return {**value, "error": value["error"]["code"]} if isinstance(value, dict) and "error" in value else value


def failure(code: int, call_id: Any = None) -> dict[str, Any]:
    return message(error=code, id=call_id)


#: Section 7 of the specification.
EXAMPLES = [
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', result(19, 1)),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', result(-19, 2)),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}', result(19, 3)),
    ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', failure(RegistryError.rpc_code, "1")),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', failure(-32700)),
    ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', failure(-32600)),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
        failure(-32700),
    ),
    ("[]", failure(-32600)),
    ("[1]", [failure(-32600)]),
    ("[1,2,3]", [failure(-32600)] * 3),
    (
        """[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foobar", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]""",
        [
            failure(-32600),
            result(7, "1"),
            result(19, "2"),
            failure(RegistryError.rpc_code, "5"),
            result(["hello", 5], "9"),
        ],
    ),
    (
        """[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]""",
        None,
    ),
]


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize(("data", "expected"), EXAMPLES)
def test_the_examples_of_the_specification(data: str, expected: Any, kind: Any) -> None:
    session = Session()
    assert code_of(serve(session, kind(data))) == expected
    assert session.running == []


@pytest.mark.parametrize("call_id", [0, -1, 1.5, 2**70, "", "a", "é", None])
def test_ids_of_every_kind_come_back(call_id: Any) -> None:
    session = Session()
    call = call_of(session.receive(text(message(method="add", id=call_id)), 1.5))
    assert (call.id, call.arrived, call.notification) == (call_id, 1.5, False)
    assert json.loads(session.respond(call, 3) or b"") == result(3, call_id)


@pytest.mark.parametrize("call_id", [True, [], {}, [1]])
def test_other_ids_are_rejected_without_them(call_id: Any) -> None:
    (reply,) = sent(Session().receive(text(message(method="add", id=call_id)), 0.0))
    assert code_of(reply) == failure(-32600)


def test_an_id_in_use_is_rejected_without_the_id() -> None:
    """With the id, the response would seem to be that of the call that runs."""
    session = Session()
    call = call_of(session.receive(text(message(method="add", id=1)), 0.0))
    (reply,) = sent(session.receive(text(message(method="add", id=1.0)), 0.0))
    assert code_of(reply) == failure(-32600)
    assert session.running == [call]


def test_calls_whose_id_is_null_run_side_by_side() -> None:
    session = Session()
    calls = [call_of(session.receive(text(message(method="add", id=None)), 0.0)) for _ in range(3)]
    assert [json.loads(session.respond(call, n) or b"") for n, call in enumerate(calls)] == [
        result(n, None) for n in range(3)
    ]


def test_a_call_beyond_the_limit_is_rejected_and_a_notification_ignored() -> None:
    session = Session(max_calls=1)
    call = call_of(session.receive(text(message(method="add")), 0.0))
    (reply,) = sent(session.receive(text(message(method="add", id=2)), 0.0))
    assert code_of(reply) == failure(OverloadedError.rpc_code, 2)
    (ignored,) = session.receive(text(message(method="add")), 0.0)
    assert isinstance(ignored, Ignored)
    assert ignored.reason == "overload"
    assert session.respond(call, None) is None
    call_of(session.receive(text(message(method="add", id=2)), 0.0))


def test_deep_parameters_are_rejected() -> None:
    deep = "[" * 70 + "]" * 70
    (reply,) = sent(Session().receive(f'{{"jsonrpc":"2.0","method":"add","id":1,"params":{deep}}}', 0.0))
    assert code_of(reply) == failure(ValidationError.rpc_code, 1)


def test_more_containers_than_are_decoded_are_rejected() -> None:
    (reply,) = sent(Session().receive("[" + "[]," * 200_000 + "[]]", 0.0))
    assert code_of(reply) == failure(-32600)


@pytest.mark.parametrize("credit", [-1, True, "1", 1.0, 10**9])
def test_a_wrong_credit_is_rejected(credit: Any) -> None:
    (reply,) = sent(Session().receive(text(message(method="count", id=1, meta={"credit": credit})), 0.0))
    assert code_of(reply) == failure(ValidationError.rpc_code, 1)


@pytest.mark.parametrize("params", [{"id": 99}, {"id": "x"}, [99]], ids=["number", "text", "position"])
def test_an_unknown_call_is_not_cancelled(params: Any) -> None:
    session = Session()
    call_id = params["id"] if isinstance(params, dict) else params[0]
    assert session.receive(text(message(method="rpc.cancel", params=params)), 0.0) == [StrayCancelReceived(call_id)]
    assert sent(session.receive(text(message(method="rpc.cancel", params=params, id=1)), 0.0)) == [result(False, 1)]


@pytest.mark.parametrize("method", ["rpc.cancel", "rpc.credit", "rpc.item", "rpc.event", "rpc.gap", "rpc.complete"])
def test_wrong_parameters_of_reserved_methods(method: str) -> None:
    session = Session()
    (ignored,) = session.receive(text(message(method=method, params={"id": [], "x": 1})), 0.0)
    assert isinstance(ignored, Ignored)
    assert (ignored.reason, type(ignored.error)) == ("invalid", ValidationError)
    (reply,) = sent(session.receive(text(message(method=method, params={}, id=1)), 0.0))
    assert code_of(reply) == failure(ValidationError.rpc_code, 1)


def test_a_ping_gets_its_response() -> None:
    session = Session()
    assert sent(session.receive(text(message(method="rpc.ping", id="p")), 0.0)) == [result({}, "p")]
    assert session.receive(text(message(method="rpc.ping")), 0.0) == []
    batch = [message(method="rpc.ping", id=1), message(method="rpc.ping", id=2)]
    assert sent(session.receive(text(batch), 0.0)) == [[result({}, 1), result({}, 2)]]


def test_other_reserved_methods_are_calls_of_the_owner() -> None:
    call = call_of(Session().receive(text(message(method="rpc.subscribe", params={"topic": "t"}, id=1)), 0.0))
    assert (call.method, call.params) == ("rpc.subscribe", {"topic": "t"})


# two sessions


class Joined:
    """A client and a server, joined by the texts that they send."""

    def __init__(self, **server: Any) -> None:
        self.client, self.server = Session(), Session(**server)

    def call(self, method: str, params: Any = None, **options: Any) -> tuple[Any, IncomingCall]:
        call, data = self.client.call(method, params, **options)
        return call, call_of(self.server.receive(data, 0.0))

    def end(self, data: bytes | None) -> CallEnded:
        assert data is not None
        (event,) = self.client.receive(data, 0.0)
        assert isinstance(event, CallEnded)
        return event


@pytest.mark.parametrize("params", [None, {}, [], {"a": 1}, [1, "é", None]])
def test_a_call_and_its_result(params: Any) -> None:
    both = Joined()
    call, incoming = both.call("add", params, tag="tag", meta={"timeout": 5})
    assert (incoming.method, incoming.params, incoming.meta) == (
        "add",
        {} if params is None else params,
        {"timeout": 5},
    )
    end = both.end(both.server.respond(incoming, {"x": [1]}, meta={"request_id": "r"}))
    assert end == CallEnded(call, {"x": [1]}, None, {"request_id": "r"})
    assert (call.tag, call.ended, both.client.pending, both.server.running) == ("tag", True, [], [])


def test_an_error_comes_back_as_its_class() -> None:
    both = Joined()
    _, incoming = both.call("add")
    end = both.end(both.server.fail(incoming, FunctionError("no", type="KeyError", private=True)))
    assert isinstance(end.error, FunctionError)
    assert "no" not in end.error.message
    debug = Joined(debug=True)
    _, incoming = debug.call("add")
    end = debug.end(debug.server.fail(incoming, FunctionError("no", type="KeyError", private=True)))
    assert end.error is not None
    assert "no" in end.error.message


def test_a_result_that_json_cannot_carry_leaves_the_call_running() -> None:
    both = Joined()
    _, incoming = both.call("add")
    with pytest.raises(SerializationError) as caught:
        both.server.respond(incoming, float("nan"))
    assert both.server.running == [incoming]
    assert isinstance(both.end(both.server.fail(incoming, caught.value)).error, SerializationError)


def test_parameters_that_json_cannot_carry_leave_no_call_behind() -> None:
    session = Session()
    with pytest.raises(SerializationError):
        session.call("add", [float("nan")])
    with pytest.raises(SerializationError):
        session.call_batch([("add", [1], None), ("add", [{1}], None)])  # type: ignore[list-item]
    assert session.pending == []


def test_too_many_pending_calls_are_rejected() -> None:
    session = Session(max_pending=2)
    session.call("add")
    with pytest.raises(OverloadedError):
        session.call_batch([("add", None, None), ("add", None, None)])
    assert len(session.pending) == 1


def test_responses_may_overtake() -> None:
    both = Joined(max_calls=5000)
    pairs = [both.call("add", [n]) for n in range(5000)]
    for call, incoming in reversed(pairs):
        assert both.end(both.server.respond(incoming, call.id)) == CallEnded(call, call.id, None)


def test_a_second_response_is_ignored() -> None:
    both = Joined()
    _, incoming = both.call("add")
    data = both.server.respond(incoming, 1)
    both.end(data)
    assert data is not None
    assert both.client.receive(data, 0.0) == [Ignored("late", 1)]
    assert both.server.respond(incoming, 2) is None
    assert both.server.fail(incoming, PortalError("no")) is None


@pytest.mark.parametrize("call_id", [1, "x", None, 2.5, 0])
def test_a_response_to_no_call_is_ignored(call_id: Any) -> None:
    assert Session().receive(text(result(1, call_id)), 0.0) == [Ignored("unknown", call_id)]


@pytest.mark.parametrize(
    "members",
    [
        {"result": 1, "error": {"code": 1, "message": "no"}},
        {"error": "no"},
        {"error": {"code": "1"}},
        {"result": 1, "meta": 3},
        {"result": 1, "jsonrpc": "1.0"},
    ],
)
def test_a_malformed_response_ends_its_call(members: Any) -> None:
    session = Session()
    call, _ = session.call("add")
    (event,) = session.receive(text({"jsonrpc": "2.0", "id": 1, **members}), 0.0)
    assert isinstance(event, CallEnded)
    assert event.call is call
    assert isinstance(event.error, ProtocolError)


def test_a_malformed_response_gets_no_response() -> None:
    (ignored,) = Session().receive(text(message(id=1, result=1, error=1)), 0.0)
    assert isinstance(ignored, Ignored)


def test_an_object_that_is_neither_request_nor_response_does_not_end_a_call() -> None:
    session = Session()
    call, _ = session.call("add")
    (reply,) = sent(session.receive(text(message(id=1)), 0.0))
    assert code_of(reply) == failure(-32600, 1)
    assert session.pending == [call]


def test_a_batch_of_calls_has_one_text_each_way() -> None:
    both = Joined()
    calls, data = both.client.call_batch([("a", None, 1), ("b", [1], 2), ("c", {"x": 1}, 3)])
    incoming = [event.call for event in both.server.receive(data, 0.0) if isinstance(event, CallReceived)]
    assert both.server.respond(incoming[2], "c") is None
    assert both.server.fail(incoming[0], PortalError("a")) is None
    whole = both.server.respond(incoming[1], "b")
    assert whole is not None
    events = both.client.receive(whole, 0.0)
    assert [(event.call, event.result) for event in events if isinstance(event, CallEnded)] == [
        (calls[2], "c"),
        (calls[0], None),
        (calls[1], "b"),
    ]


def test_requests_and_responses_may_share_a_batch() -> None:
    session = Session()
    call, _ = session.call("add")
    events = session.receive(text([message(method="sub", id=1), result(3, 1), 7]), 0.0)
    received, ended = events
    assert isinstance(received, CallReceived)
    assert ended == CallEnded(call, 3, None)
    whole = json.loads(session.respond(received.call, 5) or b"")
    assert code_of(whole) == [failure(-32600), result(5, 1)]


def test_a_call_that_is_given_up_ends_once_and_its_response_is_late() -> None:
    both = Joined()
    call, incoming = both.call("add")
    cancel, end = both.client.cancel(call)
    assert isinstance(end, CallEnded)
    assert isinstance(end.error, CallCancelled)
    assert both.client.cancel(call) == []
    assert isinstance(cancel, Send)
    assert both.server.receive(cancel.text, 0.0) == [CancelReceived(incoming)]
    assert both.server.receive(cancel.text, 0.0) == []
    data = both.server.respond(incoming, "nobody wants this")
    assert data is not None
    assert b"nobody" not in data
    (ignored,) = both.client.receive(data, 0.0)
    assert isinstance(ignored, Ignored)
    assert ignored.reason == "late"


def test_a_call_ends_at_its_deadline_and_the_peer_is_told() -> None:
    both = Joined()
    call, incoming = both.call("add", deadline=5.0)
    assert both.client.next_deadline() == 5.0
    assert both.client.expire(4.9) == []
    cancel, end = both.client.expire(5.0)
    assert isinstance(end, CallEnded)
    assert (end.call, type(end.error)) == (call, CallTimeout)
    assert isinstance(cancel, Send)
    assert both.server.receive(cancel.text, 5.0) == [CancelReceived(incoming)]
    assert both.client.next_deadline() is None


def test_the_end_of_the_connection_ends_every_call() -> None:
    both = Joined()
    call, incoming = both.call("add")
    quiet = call_of(both.server.receive(both.client.notify("log", [1]), 0.0))
    lost = TransportError("lost")
    assert both.client.close(lost) == [CallEnded(call, None, lost)]
    assert both.client.close(lost) == []
    assert both.server.close(lost) == [CancelReceived(incoming), CancelReceived(quiet)]


def test_a_stream_sends_as_many_items_as_were_accepted() -> None:
    both = Joined()
    call, incoming = both.call("count", credit=2)
    assert incoming.credit == 2
    for n in range(2):
        data = both.server.item(incoming, n)
        assert data is not None
        assert both.client.receive(data, 0.0) == [ItemReceived(call, n)]
    assert (incoming.credit, call.credit) == (0, 0)
    more = both.client.grant(call, 3)
    assert more is not None
    assert both.server.receive(more, 0.0) == [CreditReceived(incoming, None, 3)]
    assert (incoming.credit, call.credit) == (3, 3)
    assert both.end(both.server.respond(incoming, None)) == CallEnded(call, None, None)
    assert both.client.grant(call, 1) is None
    assert both.server.item(incoming, 9) is None
    assert both.server.receive(more, 0.0) == []  # credit for a stream that has ended


def test_a_stream_without_credit_has_no_limit() -> None:
    both = Joined()
    call, incoming = both.call("count")
    assert (call.credit, incoming.credit) == (None, None)
    for n in range(100):
        data = both.server.item(incoming, n)
        assert data is not None
        assert both.client.receive(data, 0.0) == [ItemReceived(call, n)]


def test_more_items_than_were_accepted_end_the_call() -> None:
    both = Joined()
    call, incoming = both.call("count", credit=0)
    data = both.server.item(incoming, 1)
    assert data is not None
    cancel, end = both.client.receive(data, 0.0)
    assert isinstance(cancel, Send)
    assert isinstance(end, CallEnded)
    assert (end.call, type(end.error)) == (call, ProtocolError)
    assert both.client.receive(data, 0.0) == [Ignored("late", 1)]


def test_a_cancelled_stream_sends_no_items() -> None:
    both = Joined()
    call, incoming = both.call("count")
    cancel, _ = both.client.cancel(call)
    assert isinstance(cancel, Send)
    both.server.receive(cancel.text, 0.0)
    assert both.server.item(incoming, 1) is None


def test_credit_for_a_subscription_is_an_event() -> None:
    data = text(message(method="rpc.credit", params={"subscription": "ticks", "items": 5}))
    assert Session().receive(data, 0.0) == [CreditReceived(None, "ticks", 5)]


def test_either_side_may_call() -> None:
    """Both sides count from 1, so that the ids of the two directions are equal."""
    both = Joined()
    _, incoming = both.call("add")
    call, data = both.server.call("confirm", tag=incoming)
    confirm = call_of(both.client.receive(data, 0.0))
    reply = both.client.respond(confirm, True)
    assert reply is not None
    assert both.server.receive(reply, 0.0) == [CallEnded(call, True, None)]
    assert both.end(both.server.respond(incoming, 3)).result == 3


@pytest.mark.parametrize("name", ["max_calls", "max_pending", "max_batch_response"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1", None])
def test_wrong_limits_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"session.{name}"):
        Session(**{name: value})


LONG = bool(os.environ.get("PORTAL_LONG"))

TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(
    max_examples=500 if LONG else 25, stateful_step_count=200 if LONG else 50, deadline=None
)


@pytest.mark.parametrize("seed", range(10 if LONG else 2))
def test_many_steps_leave_nothing_behind(seed: int) -> None:
    """Each call has its one end, after 10,000 steps as well."""
    machine = run_steps(10_000 if LONG else 1000, seed)
    ends = machine.ends.values()
    assert len(ends) == sum(len(calls) for calls in machine.made)
    kinds = {type(end.error) for end in ends}
    assert {type(None), CallCancelled, CallTimeout, OverloadedError, PortalError} <= kinds  # the run met all of them
