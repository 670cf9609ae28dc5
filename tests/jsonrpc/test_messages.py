"""JSON-RPC 2.0 messages; the examples are those of section 7 of the specification."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import errors
from portal.errors import (
    CallTimeout,
    Fault,
    FunctionError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    SerializationError,
    ValidationError,
)
from portal.jsonrpc import messages as jsonrpc
from portal.jsonrpc.messages import Answer, Invalid, Request


def from_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise SerializationError(str(error)) from None


def methods(name: str, params: Any) -> Any:
    if name == "subtract":
        return params["minuend"] - params["subtrahend"] if isinstance(params, dict) else params[0] - params[1]
    if name == "sum":
        return sum(params)
    if name == "get_data":
        return ["hello", 5]
    if name in ("update", "notify_sum", "notify_hello"):
        return None
    raise RegistryError("Method not found")


def serve(text: str) -> Any:
    """A server of the methods in the specification's examples; None where it sends nothing."""
    found = jsonrpc.decode(text.encode(), from_json)
    answers = []
    for message in found.messages:
        if isinstance(message, Invalid):
            answers.append(jsonrpc.error_response(message.id, message.error))
            continue
        assert isinstance(message, Request)
        try:
            answer = jsonrpc.response(message.id, methods(message.method, message.params))
        except PortalError as error:
            answer = jsonrpc.error_response(message.id, error)
        if not message.notification:
            answers.append(answer)
    if not answers:
        return None
    return answers if found.is_batch else answers[0]


def ok(result: Any, number: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": result, "id": number}


def bad(code: int, number: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": code, "id": number}


SUBTRACT = '{"jsonrpc": "2.0", "method": "subtract", "params": '
MIXED = """[
    {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
    {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
    {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
    {"foo": "boo"},
    {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
    {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
]"""

EXAMPLES = {
    "positional": (SUBTRACT + '[42, 23], "id": 1}', ok(19, 1)),
    "positional, other order": (SUBTRACT + '[23, 42], "id": 2}', ok(-19, 2)),
    "named": (SUBTRACT + '{"subtrahend": 23, "minuend": 42}, "id": 3}', ok(19, 3)),
    "named, other order": (SUBTRACT + '{"minuend": 42, "subtrahend": 23}, "id": 4}', ok(19, 4)),
    "notification with params": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "notification of an unknown method": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "method not found": ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', bad(-32601, "1")),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', bad(-32700)),
    "invalid request": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', bad(-32600)),
    "batch, invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        bad(-32700),
    ),
    "empty array": ("[]", bad(-32600)),
    "invalid batch": ("[1]", [bad(-32600)]),
    "invalid batch of three": ("[1,2,3]", [bad(-32600)] * 3),
    "mixed batch": (MIXED, [ok(7, "1"), ok(19, "2"), bad(-32600), bad(-32601, "5"), ok(["hello", 5], "9")]),
    "batch of notifications": (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        ' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
}


def codes_only(answer: Any) -> Any:
    """The answer with its error's number for the error: words are ours."""
    if isinstance(answer, list):
        return [codes_only(one) for one in answer]
    if answer is not None and "error" in answer:
        assert answer["error"]["message"]
        return answer | {"error": answer["error"]["code"]}
    return answer


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_specification(name: str) -> None:
    text, wanted = EXAMPLES[name]
    assert codes_only(serve(text)) == wanted


def one(value: Any, **options: Any) -> Any:
    found = jsonrpc.classify(value, **options)
    assert not found.is_batch
    (message,) = found.messages
    return message


CALL = {"jsonrpc": "2.0", "method": "m"}


@pytest.mark.parametrize("number", ["a", "", 7, -1, 1.5, 10**30, None])
def test_an_id_comes_back_as_it_is(number: Any) -> None:
    assert one(CALL | {"id": number}) == Request(number, "m", {})


@pytest.mark.parametrize("number", [True, False, [], {}, [1], "\ud800", float("inf"), float("nan")])
def test_what_is_no_id_is_answered_under_null(number: Any) -> None:
    message = one(CALL | {"id": number})
    assert isinstance(message, Invalid)
    assert message.id is None
    assert message.error.rpc_code == -32600


def test_without_an_id_it_is_a_notification() -> None:
    assert one(CALL) == Request(None, "m", {}, notification=True)


def test_meta_is_carried() -> None:
    meta = {"timeout": 5}
    assert one(CALL | {"id": 1, "meta": meta}).meta == meta
    assert one(jsonrpc.request(1, "m", meta=meta)) == Request(1, "m", {}, meta=meta)


@pytest.mark.parametrize(
    "changes",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2.0},
        {"jsonrpc": None},
        {"method": None},
        {"method": 3},
        {"method": "\udfff"},
        {"params": None},
        {"params": "bar"},
        {"params": 0},
        {"meta": []},
        {"meta": None},
    ],
)
def test_a_wrong_member_is_answered_under_the_id(changes: dict[str, Any]) -> None:
    message = one(CALL | {"id": 9} | changes)
    assert isinstance(message, Invalid)
    assert (message.id, message.error.rpc_code) == (9, -32600)


def test_a_batch_is_bounded() -> None:
    whole = jsonrpc.classify([CALL] * jsonrpc.MAX_BATCH)
    assert whole.is_batch
    assert len(whole.messages) == jsonrpc.MAX_BATCH
    message = one([CALL] * (jsonrpc.MAX_BATCH + 1))
    assert isinstance(message, Invalid)
    assert "at most 100" in message.error.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["jsonrpc", "method", "params", "id", "meta", "result", "error"]),
                inner | st.just("2.0"),
            )
        ),
    )
)
def test_any_value_is_classified(value: Any) -> None:
    for answers in (False, True):
        found = jsonrpc.classify(value, answers=answers)
        assert found.messages
        assert all(isinstance(message, Request | Answer | Invalid) for message in found.messages)


# answers


def test_a_request_and_its_notification() -> None:
    assert jsonrpc.request(1, "m", {"a": 1}) == {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": 1}
    assert jsonrpc.request(1, "m", [1], notification=True) == {"jsonrpc": "2.0", "method": "m", "params": [1]}


def test_an_answer_is_one_only_where_answers_are_awaited() -> None:
    assert one(ok(3, 1), answers=True) == Answer(1, 3)
    assert isinstance(one(ok(3, 1)), Invalid)


def test_an_error_answer_holds_the_error() -> None:
    message = one(jsonrpc.error_response(1, CallTimeout("late", timeout=2.0)), answers=True)
    assert isinstance(message.error, CallTimeout)
    assert message.error.timeout == 2.0


@pytest.mark.parametrize("members", [{}, {"result": 1, "error": {"code": 1, "message": ""}}])
def test_an_answer_has_a_result_or_an_error(members: dict[str, Any]) -> None:
    assert isinstance(one({"jsonrpc": "2.0", "id": 1} | members, answers=True), Invalid)


CLASSES = [
    getattr(errors, name)
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), PortalError)
]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("debug", [False, True])
def test_every_error_comes_back_as_its_class(cls: type[PortalError], debug: bool) -> None:
    error = cls("words", context={"request_id": "r-1"})
    answer = json.loads(json.dumps(jsonrpc.error_response("a", error, debug=debug)))
    assert answer["id"] == "a"
    assert answer["error"]["code"] == cls.rpc_code
    back = jsonrpc.error_from(answer["error"])
    assert type(back) is cls
    assert (back.message, back.code, back.status, back.request_id) == ("words", cls.code, error.status, "r-1")
    assert back.retryable == error.retryable
    assert (back.stack is not None) is debug


def test_members_come_back() -> None:
    fault = Fault("/a", "must be a number", "type", "number", "'3'")
    back = jsonrpc.error_from(jsonrpc.error_response(1, ValidationError(errors=[fault]))["error"])
    assert isinstance(back, ValidationError)
    assert back.errors == (fault,)
    back = jsonrpc.error_from(jsonrpc.error_response(1, RateLimitError("", retry_after=3.5))["error"])
    assert isinstance(back, RateLimitError)
    assert back.retry_after == 3.5


def test_what_a_function_raised_stays_here_without_debug() -> None:
    error = FunctionError("ValueError: hunter2", type="ValueError", context={"operation": "fail"}, private=True)
    hidden = jsonrpc.error_response(1, error)
    assert "hunter2" not in json.dumps(hidden)
    assert hidden["error"]["message"] == "fail failed; the server's log says why"
    assert jsonrpc.error_from(hidden["error"]).executed
    shown = jsonrpc.error_from(jsonrpc.error_response(1, error, debug=True)["error"])
    assert isinstance(shown, FunctionError)
    assert (shown.message, shown.type) == ("ValueError: hunter2", "ValueError")


@pytest.mark.parametrize(
    ("number", "cls"),
    [
        (-32700, SerializationError),
        (-32600, ProtocolError),
        (-32601, RegistryError),
        (-32602, ValidationError),
        (-32603, PortalError),
        (-32000, FunctionError),
        (-32004, CallTimeout),
        (-32099, PortalError),
        (-32768, PortalError),
        (1, FunctionError),
        (-31999, FunctionError),
    ],
)
def test_a_foreign_peer_is_understood_by_the_number(number: int, cls: type[PortalError]) -> None:
    for data in ({}, {"data": "words"}, {"data": {"code": 7}}):
        back = jsonrpc.error_from({"code": number, "message": "no"} | data)
        assert type(back) is cls
        assert back.message == "no"
        assert back.context["rpc_code"] == number
    assert str(number) in jsonrpc.error_from({"code": number}).message


@pytest.mark.parametrize("value", [None, "text", [], {}, {"code": "1"}, {"code": True}, {"code": 1.5}])
def test_what_is_no_error_object_is_a_protocol_error(value: Any) -> None:
    assert type(jsonrpc.error_from(value)) is ProtocolError
