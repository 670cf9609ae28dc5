"""JSON-RPC over HTTP: the endpoint behind a real listener."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from portal import CallContext, Service, function
from portal._internal.json_encoder import encode_json
from portal.calls.dispatcher import Dispatcher
from portal.calls.middleware import Call
from portal.catalogue import Catalogue
from portal.errors import AuthorizationError, PortalError
from portal.http.messages.call_headers import context_of
from portal.http.server.rpc import RPCEndpoint
from portal.network.problem import problem_of
from portal.serving import Listener, Request, Response

WAIT = 10.0


def add(a: float, b: float = 1.0) -> float:
    return a + b


def fail() -> None:
    raise ValueError("the password is hunter2")


def forbid() -> None:
    raise AuthorizationError("not yours")


def unsendable() -> None:
    raise PortalError("half a \ud800 pair")


def anything(value: Any) -> Any:
    return value


def patient(context: CallContext) -> bool:
    done = threading.Event()
    context.on_cancel(done.set)
    return done.wait(WAIT)


def count(to: int) -> Iterator[int]:
    yield from range(to)


seen: list[CallContext] = []
threads: list[int] = []
ran: list[int] = []


def where() -> bool:
    threads.append(threading.get_ident())
    return True


def note(value: int) -> None:
    ran.append(value)


@function(timeout=0.2)
def brief(context: CallContext) -> bool:
    return patient(context)


def who(context: CallContext) -> str:
    seen.append(context)
    return context.request_id


def publish() -> Catalogue:
    catalogue = Catalogue()
    for one in (add, fail, forbid, unsendable, anything, patient, count, who, where, note):
        catalogue.add(function(one))
    catalogue.add(brief)
    catalogue.add(function(version="2")(add))
    catalogue.add(function(name="dotted.name")(add))
    for member in Service("orders", [function(name="price")(add)]).functions.values():
        catalogue.add(member, ("orders",))
    return catalogue


@pytest.fixture(scope="module")
def dispatcher() -> Iterator[Dispatcher]:
    def sign(call: Call, call_next: Callable[[Call], Any]) -> Any:
        call.reply["x-signed-by"] = "middleware"
        call.reply["x-request-id"] = "mine"
        return call_next(call)

    made = Dispatcher([sign])
    yield made
    made.close()


def message(method: str, params: Any = None, number: Any = 1) -> dict[str, Any]:
    found = {"jsonrpc": "2.0", "method": method, "id": number}
    return found if params is None else found | {"params": params}


# behind a listener


class App:
    def __init__(self, endpoint: RPCEndpoint) -> None:
        self.endpoint = endpoint

    def handle(self, request: Request) -> Response:
        try:
            return self.endpoint.respond(request, context_of(request.headers, monotonic()))
        except PortalError as error:
            return Response(error.status, [], encode_json(problem_of(error, debug=False)))


@pytest.fixture(scope="module")
def port(dispatcher: Dispatcher) -> Iterator[int]:
    listener = Listener()
    endpoint = RPCEndpoint(publish(), dispatcher, discover=lambda: {"openrpc": "1.3.2"})
    listener.mount("/api/rpc", App(endpoint))
    listener.start()
    yield listener.port
    listener.stop(1.0)


def post(port: int, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/api/rpc", data, {"Content-Type": "application/json"} | names)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return (
        answer.status,
        {name.lower(): value for name, value in answer.getheaders()},
        json.loads(text) if text else None,
    )


def test_a_call_over_http(port: int) -> None:
    status, headers, answer = post(port, message("orders.price", {"a": 1, "b": 2}), X_Request_ID="r-1")
    assert (status, answer) == (200, {"jsonrpc": "2.0", "result": 3.0, "id": 1})
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "r-1"
    assert headers["x-signed-by"] == "middleware"


def test_a_batch_over_http_keeps_the_order_and_each_error(port: int) -> None:
    body = [
        message("add", [1, 2], 1),
        message("fail", number=2),
        {"jsonrpc": "2.0", "method": "add", "params": [1]},
        message("add", ["x"], 3),
        message("forbid", number=4),
        5,
        message("unsendable", number=6),
        message("count", [3], 7),
        message("nothing", number=8),
    ]
    status, headers, answers = post(port, body)
    assert status == 200
    assert [(row["id"], row.get("error", {}).get("code", row.get("result"))) for row in answers] == [
        (1, 3.0),
        (2, -32000),
        (3, -32602),
        (4, -32003),
        (None, -32600),
        (6, -32603),
        (7, -32600),
        (8, -32601),
    ]
    assert "hunter2" not in json.dumps(answers)
    assert "x-signed-by" not in headers


def test_notifications_over_http_are_204(port: int) -> None:
    status, headers, answer = post(port, {"jsonrpc": "2.0", "method": "add", "params": [1, 2]})
    assert (status, answer) == (204, None)
    assert "content-type" not in headers


def test_invalid_json_gets_status_200_and_an_error(port: int) -> None:
    status, _, answer = post(port, b"{")
    assert (status, answer["error"]["code"], answer["id"]) == (200, -32700, None)
    assert post(port, b"")[2]["error"]["code"] == -32700


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json-rpc", 200),
        ("application/vnd.x+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_the_content_type_must_be_json(port: int, kind: str, status: int) -> None:
    assert post(port, message("add", [1]), Content_Type=kind)[0] == status


def test_each_call_has_its_own_context(port: int) -> None:
    seen.clear()
    _, _, answers = post(port, [message("who", number=1), message("who", number=2)], X_Request_ID="r-2")
    assert [row["result"] for row in answers] == ["r-2", "r-2"]
    first, second = seen
    assert first is not second
    assert first.parent is second.parent


def test_the_deadline_covers_the_batch(port: int) -> None:
    begun = monotonic()
    _, _, answers = post(port, [message("add", [1], 0), message("patient"), message("patient")], X_Portal_Timeout="300")
    assert monotonic() - begun < WAIT / 2
    assert answers[0]["result"] == 2.0
    assert [row["error"]["code"] for row in answers[1:]] == [-32004, -32004]


def test_calls_with_the_deadline_of_their_request_run_in_one_thread(port: int) -> None:
    threads.clear()
    _, _, answers = post(port, [message("where", number=n) for n in range(5)], X_Portal_Timeout="60000")
    assert [row["result"] for row in answers] == [True] * 5
    assert len(set(threads)) == 1


def test_at_the_deadline_each_message_has_a_response_in_order(port: int) -> None:
    ran.clear()
    messages = [
        message("add", [1], 0),
        message("where", number=None),
        message("patient", number=2),
        {"jsonrpc": "1.0", "id": 3, "method": "add"},
        message("note", [7], 4),
        {"jsonrpc": "2.0", "method": "note", "params": [8]},
        message("nothing", number=6),
    ]
    _, headers, answers = post(port, messages, X_Portal_Timeout="500", X_Request_ID="r-9")
    assert headers["x-request-id"] == "r-9"
    found = {row["id"]: row for row in answers}
    assert [row["id"] for row in answers] == [0, None, 2, 3, 4, 6]
    assert found[0]["result"] == 2.0
    assert found[2]["error"]["data"]["code"] == found[4]["error"]["data"]["code"] == "timeout"
    assert found[2]["error"]["data"].get("delivery") != "not_sent"
    assert found[4]["error"]["data"]["delivery"] == "not_sent"
    assert found[3]["error"]["code"] == -32600
    assert post(port, message("add", [1]))[2]["result"] == 2.0
    assert ran == []


def test_a_single_message_gets_its_response_at_the_deadline(port: int) -> None:
    begun = monotonic()
    _, _, answer = post(port, message("patient"), X_Portal_Timeout="300")
    assert monotonic() - begun < WAIT / 2
    assert answer["error"]["code"] == -32004


def test_a_batch_of_notifications_gets_no_content_at_the_deadline(port: int) -> None:
    quiet = {"jsonrpc": "2.0", "method": "patient"}
    status, _, _ = post(port, [quiet, quiet], X_Portal_Timeout="300")
    assert status == 204


def test_the_timeout_of_one_function_does_not_end_the_batch(port: int) -> None:
    _, _, answers = post(port, [message("brief"), message("add", [1], 2)], X_Portal_Timeout="60000")
    assert answers[0]["error"]["code"] == -32004
    assert answers[1]["result"] == 2.0


def test_discovery(port: int) -> None:
    assert post(port, message("rpc.discover"))[2]["result"] == {"openrpc": "1.3.2"}


def test_without_a_document_there_is_no_discovery(dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    listener.mount("/api/rpc", App(RPCEndpoint(publish(), dispatcher, debug=True)))
    listener.start()
    try:
        with caplog.at_level(logging.CRITICAL):
            assert post(listener.port, message("rpc.discover"))[2]["error"]["code"] == -32601
            error = post(listener.port, message("fail"))[2]["error"]
    finally:
        listener.stop(1.0)
    assert "hunter2" in error["message"]
    assert "ValueError" in error["data"]["stack"]


@pytest.mark.parametrize("value", ["\ud800", "\x00", "é", 10**40])
def test_unusual_values_get_a_response(port: int, value: Any) -> None:
    status, _, answer = post(port, message("anything", [value]))
    assert status == 200
    assert answer.get("result") == value or answer["error"]["code"] == -32602
