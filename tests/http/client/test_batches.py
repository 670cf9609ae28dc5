"""JSONRPCBatches: which calls have an outcome by a batch, whatever the server sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from portal import (
    Address,
    AuthenticationError,
    AuthorizationError,
    CallCancelled,
    CallContext,
    CallTimeout,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.function import ResolvedFunction
from portal.http.client.batches import JSONRPCBatches, endpoints_of, may_be_batched
from portal.http.client.request import ClientRequest
from portal.http.client.result import ReceivedResponse
from portal.jsonrpc.messages import error_response, response
from portal.schema import FunctionSchema

SCHEMA = FunctionSchema("add", idempotent=True)
ADDRESS = Address.parse(f"http://shop.example/api/add/{SCHEMA.fingerprint}")
PARAMS = [{"n": number} for number in range(4)]


class Server:
    """Responds to each request with what `respond` returns for the messages in it, or raises."""

    def __init__(self, respond: Callable[[list[dict[str, Any]]], Any]) -> None:
        self.respond = respond
        self.requests: list[ClientRequest] = []

    def exchange(self, request: ClientRequest) -> ReceivedResponse:
        self.requests.append(request)
        assert isinstance(request.body, bytes)
        return ReceivedResponse(200, {}, json.dumps(self.respond(json.loads(request.body))).encode())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def encode(function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> bytes:
    if params.get("n") == "bad":
        raise ValidationError("not a number")
    return json.dumps(params).encode()


def batches(server: Server, *, accepts: bool = True, clock: Clock | None = None) -> JSONRPCBatches:
    return JSONRPCBatches(encode, server.exchange, lambda one, other: accepts, clock or Clock())


def function_at(address: Address = ADDRESS, schema: FunctionSchema = SCHEMA) -> ResolvedFunction:
    return ResolvedFunction(None, schema=schema, address=address)  # type: ignore[arg-type]


def call(respond: Callable[[list[dict[str, Any]]], Any]) -> tuple[dict[int, Any] | None, Server]:
    server = Server(respond)
    return batches(server).call(function_at(), PARAMS, CallContext()), server


def squares(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [response(one["id"], one["params"]["n"] ** 2) for one in messages]


def raising(error: PortalError) -> Callable[[Any], Any]:
    def respond(messages: Any) -> Any:
        raise error

    return respond


def test_each_call_has_its_result() -> None:
    found, server = call(squares)
    assert found == {0: 0, 1: 1, 2: 4, 3: 9}
    [request] = server.requests
    assert str(request.address) == "http://shop.example/api/rpc"
    assert json.loads(request.body or b"")[0]["method"] == f"add/{SCHEMA.fingerprint}"  # type: ignore[arg-type]


def test_the_order_of_the_responses_does_not_matter() -> None:
    assert call(lambda messages: squares(messages)[::-1])[0] == {0: 0, 1: 1, 2: 4, 3: 9}


def test_each_call_has_its_error() -> None:
    def respond(messages: list[dict[str, Any]]) -> Any:
        found = squares(messages)
        found[1] = error_response(1, FunctionError("unlucky"))
        found[2] = error_response(2, AuthorizationError("not yours"))
        return found

    found, _ = call(respond)
    assert found is not None
    assert [found[0], found[3]] == [0, 9]
    assert isinstance(found[1], FunctionError)
    assert isinstance(found[2], AuthorizationError)
    assert found[1].address == str(ADDRESS)


@pytest.mark.parametrize(
    "error",
    [
        CallTimeout("late"),
        OverloadedError("full"),
        AuthenticationError("who"),
        RegistryError("gone"),
        ProtocolError("too long", status=413, delivery="executed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_call_may_owe_to_its_batch_is_made_alone(error: PortalError) -> None:
    found, _ = call(lambda messages: [*squares(messages)[:3], error_response(3, error)])
    assert found == {0: 0, 1: 1, 2: 4}


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        None,
        "text",
        [None, 1, "x", []],
        {"jsonrpc": "2.0", "id": 0, "result": 1},
        [{"id": True, "result": 1}, {"id": "0", "result": 1}, {"id": 1.0, "result": 1}, {"result": 1}],
        [{"id": 4, "result": 1}, {"id": -1, "result": 1}, {"id": 10**30, "result": 1}],
        [{"id": 0}],
    ],
    ids=repr,
)
def test_what_the_server_did_not_answer_is_made_alone(data: Any) -> None:
    assert call(lambda messages: data)[0] == {}


def test_an_error_that_is_not_an_object_is_an_error_of_its_call() -> None:
    found, _ = call(lambda messages: [{"id": 0, "error": None}, *squares(messages)[1:]])
    assert found is not None
    assert isinstance(found[0], ProtocolError)


@pytest.mark.parametrize(
    "error",
    [TransportError("reset"), CallTimeout("late"), OverloadedError("full"), ProtocolError("too long", status=413)],
    ids=lambda error: type(error).__name__,
)
def test_a_batch_that_fails_for_the_moment_is_tried_again(error: PortalError) -> None:
    server = Server(raising(error))
    sent = batches(server)
    assert sent.call(function_at(), PARAMS, CallContext()) == {}
    server.respond = squares
    assert sent.call(function_at(), PARAMS, CallContext()) == {0: 0, 1: 1, 2: 4, 3: 9}


@pytest.mark.parametrize(
    "error",
    [RegistryError("404"), ProtocolError("405", status=405), AuthorizationError("403"), ValidationError("422")],
    ids=str,
)
def test_a_server_that_takes_no_batches_is_left_alone_for_a_minute(error: PortalError) -> None:
    clock, server = Clock(), Server(raising(error))
    sent = batches(server, clock=clock)
    assert sent.call(function_at(), PARAMS, CallContext()) == {}
    tried = len(server.requests)
    assert sent.call(function_at(), PARAMS, CallContext()) is None
    assert len(server.requests) == tried
    clock.now = 61.0
    server.respond = squares
    assert sent.call(function_at(), PARAMS, CallContext()) == {0: 0, 1: 1, 2: 4, 3: 9}


def test_a_cancelled_batch_raises() -> None:
    with pytest.raises(CallCancelled):
        call(raising(CallCancelled("cancelled")))


def test_the_function_of_a_service_is_found() -> None:
    server = Server(squares)
    address = Address.parse(f"http://shop.example/api/billing/add/{SCHEMA.fingerprint}")

    def exchange(request: ClientRequest) -> ReceivedResponse:
        if str(request.address) != "http://shop.example/api/rpc":
            server.requests.append(request)
            raise RegistryError("404")
        return server.exchange(request)

    sent = JSONRPCBatches(encode, exchange, lambda one, other: True)
    for _ in range(2):
        assert sent.call(function_at(address), PARAMS, CallContext()) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert [str(one.address) for one in server.requests] == [
        "http://shop.example/api/billing/rpc",
        "http://shop.example/api/rpc",
        "http://shop.example/api/rpc",
    ]


def test_a_server_that_does_not_know_the_method_takes_no_batches() -> None:
    sent = batches(Server(lambda messages: [error_response(one["id"], RegistryError("no method")) for one in messages]))
    assert sent.call(function_at(), PARAMS, CallContext()) == {}
    assert sent.call(function_at(), PARAMS, CallContext()) is None


def test_parameters_that_do_not_fit_are_not_sent() -> None:
    server = Server(squares)
    found = batches(server).call(function_at(), [{"n": 1}, {"n": "bad"}, {"n": 2}], CallContext())
    assert found is not None
    assert (found[0], found[2]) == (1, 4)
    assert isinstance(found[1], ValidationError)
    assert [len(json.loads(one.body or b"")) for one in server.requests] == [2]  # type: ignore[arg-type]


def test_a_request_has_a_bounded_size() -> None:
    server = Server(lambda messages: [response(one["id"], len(one["params"]["text"])) for one in messages])
    params = [{"text": "x" * 30_000}] * 5 + [{"text": "y" * 200_000}]
    found = batches(server).call(function_at(), params, CallContext())
    assert found == dict.fromkeys(range(4), 30_000)  # a call that has no company is made alone
    assert all(len(one.body or b"") < 70_000 for one in server.requests)


def test_a_request_has_at_most_a_hundred_calls() -> None:
    server = Server(squares)
    found = batches(server).call(function_at(), [{"n": 2}] * 250, CallContext())
    assert found == dict.fromkeys(range(250), 4)
    assert [len(json.loads(one.body or b"")) for one in server.requests] == [100, 100, 50]  # type: ignore[arg-type]


def test_another_credential_is_sent_to_no_other_address() -> None:
    server = Server(squares)
    assert batches(server, accepts=False).call(function_at(), PARAMS, CallContext()) is None
    assert server.requests == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (FunctionSchema("f", idempotent=True), True),
        (FunctionSchema("f"), False),
        (FunctionSchema("f", idempotent=True, streaming=True), False),
        (FunctionSchema("f", idempotent=True, max_body=100), False),
    ],
)
def test_which_functions_are_called_in_batches(schema: FunctionSchema, expected: bool) -> None:
    assert may_be_batched(schema) is expected
    server = Server(squares)
    found = batches(server).call(function_at(schema=schema), PARAMS, CallContext())
    assert (found is not None) is expected
    assert bool(server.requests) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h/api/add/{id}", [("http://h/api/rpc", "add/{id}"), ("http://h/rpc", "api/add/{id}")]),
        ("http://h/api/add", [("http://h/api/rpc", "add"), ("http://h/rpc", "api/add")]),
        ("http://h/add/{id}", [("http://h/rpc", "add/{id}")]),
        ("http://h/add", [("http://h/rpc", "add")]),
        ("http://h/x%2Fy/add/{id}", [("http://h/x%2Fy/rpc", "add/{id}"), ("http://h/rpc", "x/y/add/{id}")]),
        (
            "http://[::1]:81/api/add/0123abcd",
            [("http://[::1]:81/api/rpc", "add/0123abcd"), ("http://[::1]:81/rpc", "api/add/0123abcd")],
        ),
        ("http://h/api/add@2", []),
        ("http://h/api/add?version=2", []),
        ("http://h/", []),
    ],
)
def test_where_the_endpoint_may_be(text: str, expected: list[tuple[str, str]]) -> None:
    identifier = SCHEMA.fingerprint
    found = endpoints_of(Address.parse(text.format(id=identifier)), SCHEMA)
    assert [(str(one.address), one.method) for one in found] == [
        (address, method.format(id=identifier)) for address, method in expected
    ]
