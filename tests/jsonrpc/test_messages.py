"""JSON-RPC 2.0 messages, with the examples of section 7 of the specification."""

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
from portal.jsonrpc.messages import Invalid, JSONRPCResponse, Request


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
    """Return the response of a server with the methods of the specification's examples; None if it sends nothing."""
    found = jsonrpc.decode(text.encode(), from_json)
    responses = []
    for message in found.messages:
        if isinstance(message, Invalid):
            responses.append(jsonrpc.error_response(message.id, message.error))
            continue
        assert isinstance(message, Request)
        try:
            response = jsonrpc.response(message.id, methods(message.method, message.params))
        except PortalError as error:
            response = jsonrpc.error_response(message.id, error)
        if not message.notification:
            responses.append(response)
    if not responses:
        return None
    return responses if found.is_batch else responses[0]


def result_of(result: Any, number: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": result, "id": number}


def error_of(code: int, number: Any = None) -> dict[str, Any]:
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
    "positional": (SUBTRACT + '[42, 23], "id": 1}', result_of(19, 1)),
    "positional, other order": (SUBTRACT + '[23, 42], "id": 2}', result_of(-19, 2)),
    "named": (SUBTRACT + '{"subtrahend": 23, "minuend": 42}, "id": 3}', result_of(19, 3)),
    "named, other order": (SUBTRACT + '{"minuend": 42, "subtrahend": 23}, "id": 4}', result_of(19, 4)),
    "notification with params": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "notification of an unknown method": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "method not found": ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', error_of(-32601, "1")),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error_of(-32700)),
    "invalid request": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', error_of(-32600)),
    "batch, invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        error_of(-32700),
    ),
    "empty array": ("[]", error_of(-32600)),
    "invalid batch": ("[1]", [error_of(-32600)]),
    "invalid batch of three": ("[1,2,3]", [error_of(-32600)] * 3),
    "mixed batch": (
        MIXED,
        [result_of(7, "1"), result_of(19, "2"), error_of(-32600), error_of(-32601, "5"), result_of(["hello", 5], "9")],
    ),
    "batch of notifications": (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        ' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
}


def codes_only(response: Any) -> Any:
    """Return the response with the code of its error in place of the error; the specification leaves messages open."""
    if isinstance(response, list):
        return [codes_only(element) for element in response]
    if response is not None and "error" in response:
        assert response["error"]["message"]
        return response | {"error": response["error"]["code"]}
    return response


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_specification(name: str) -> None:
    text, expected = EXAMPLES[name]
    assert codes_only(serve(text)) == expected


def one(value: Any, **options: Any) -> Any:
    found = jsonrpc.classify(value, **options)
    assert not found.is_batch
    (message,) = found.messages
    return message


CALL = {"jsonrpc": "2.0", "method": "m"}


@pytest.mark.parametrize("number", ["a", "", 7, -1, 1.5, 10**30, None])
def test_ids_are_kept(number: Any) -> None:
    assert one(CALL | {"id": number}) == Request(number, "m", {})


@pytest.mark.parametrize("number", [True, False, [], {}, [1], "\ud800", float("inf"), float("nan")])
def test_an_invalid_id_becomes_null(number: Any) -> None:
    message = one(CALL | {"id": number})
    assert isinstance(message, Invalid)
    assert message.id is None
    assert message.error.rpc_code == -32600


def test_a_message_without_id_is_a_notification() -> None:
    assert one(CALL) == Request(None, "m", {}, notification=True)


def test_meta_is_kept() -> None:
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
def test_an_invalid_member_is_reported_with_the_id(changes: dict[str, Any]) -> None:
    message = one(CALL | {"id": 9} | changes)
    assert isinstance(message, Invalid)
    assert (message.id, message.error.rpc_code) == (9, -32600)


def test_the_size_of_a_batch_is_limited() -> None:
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
    for responses in (False, True):
        found = jsonrpc.classify(value, responses=responses)
        assert found.messages
        assert all(isinstance(message, Request | JSONRPCResponse | Invalid) for message in found.messages)


# responses


def test_a_request_and_a_notification() -> None:
    assert jsonrpc.request(1, "m", {"a": 1}) == {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": 1}
    assert jsonrpc.request(1, "m", [1], notification=True) == {"jsonrpc": "2.0", "method": "m", "params": [1]}


def test_a_response_is_valid_only_if_responses_are_expected() -> None:
    assert one(result_of(3, 1), responses=True) == JSONRPCResponse(1, 3)
    assert isinstance(one(result_of(3, 1)), Invalid)


def test_an_error_response_has_the_error() -> None:
    message = one(jsonrpc.error_response(1, CallTimeout("late", timeout=2.0)), responses=True)
    assert isinstance(message.error, CallTimeout)
    assert message.error.timeout == 2.0


@pytest.mark.parametrize("members", [{}, {"result": 1, "error": {"code": 1, "message": ""}}])
def test_a_response_without_exactly_one_of_result_and_error_is_invalid(members: dict[str, Any]) -> None:
    assert isinstance(one({"jsonrpc": "2.0", "id": 1} | members, responses=True), Invalid)


CLASSES = [
    getattr(errors, name)
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), PortalError)
]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("debug", [False, True])
def test_every_error_comes_back_as_its_class(cls: type[PortalError], debug: bool) -> None:
    error = cls("words", context={"request_id": "r-1"})
    response = json.loads(json.dumps(jsonrpc.error_response("a", error, debug=debug)))
    assert response["id"] == "a"
    assert response["error"]["code"] == cls.rpc_code
    back = jsonrpc.error_from(response["error"])
    assert type(back) is cls
    assert (back.message, back.code, back.status, back.request_id) == ("words", cls.code, error.status, "r-1")
    assert back.retryable == error.retryable
    assert (back.stack is not None) is debug


def test_members_of_errors_are_kept() -> None:
    fault = Fault("/a", "must be a number", "type", "number", "'3'")
    back = jsonrpc.error_from(jsonrpc.error_response(1, ValidationError(errors=[fault]))["error"])
    assert isinstance(back, ValidationError)
    assert back.errors == (fault,)
    back = jsonrpc.error_from(jsonrpc.error_response(1, RateLimitError("", retry_after=3.5))["error"])
    assert isinstance(back, RateLimitError)
    assert back.retry_after == 3.5


def test_the_message_of_a_functions_exception_is_sent_only_with_debug() -> None:
    error = FunctionError("ValueError: hunter2", type="ValueError", context={"operation": "fail"}, private=True)
    hidden = jsonrpc.error_response(1, error)
    assert "hunter2" not in json.dumps(hidden)
    assert hidden["error"]["message"] == "fail failed; the server's log has the reason"
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
def test_an_error_of_another_library_is_mapped_by_its_number(number: int, cls: type[PortalError]) -> None:
    for data in ({}, {"data": "words"}, {"data": {"code": 7}}):
        back = jsonrpc.error_from({"code": number, "message": "no"} | data)
        assert type(back) is cls
        assert back.message == "no"
        assert back.context["rpc_code"] == number
    assert str(number) in jsonrpc.error_from({"code": number}).message


@pytest.mark.parametrize("value", [None, "text", [], {}, {"code": "1"}, {"code": True}, {"code": 1.5}])
def test_a_malformed_error_object_is_a_protocol_error(value: Any) -> None:
    assert type(jsonrpc.error_from(value)) is ProtocolError
