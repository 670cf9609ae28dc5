"""RPCMessages: bodies of JSON-RPC and their responses, without I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal import CallContext
from portal.calls.item_key import ItemKey
from portal.http.server.rpc_messages import RPCMessages, Run


def message(method: str, params: Any = None, number: Any = 1) -> dict[str, Any]:
    found = {"jsonrpc": "2.0", "method": method, "id": number}
    return found if params is None else found | {"params": params}


def handle(body: bytes, run: Run, context: CallContext) -> bytes | None:
    return RPCMessages(body, context).handle(run)


def plain_run(method: str, params: Any, context: CallContext) -> Any:
    if method == "boom":
        raise RuntimeError("a bug")
    if method == "key":
        return context.idempotency_key
    return params


def pure(body: Any, context: CallContext | None = None) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = handle(data, plain_run, context or CallContext())
    return None if response is None else json.loads(response)


def test_one_message_gets_one_response() -> None:
    assert pure(message("echo", {"a": 1})) == {"jsonrpc": "2.0", "result": {"a": 1}, "id": 1}


def test_a_batch_of_one_gets_a_list() -> None:
    assert [row["id"] for row in pure([message("echo", number="x")])] == ["x"]


def test_notifications_run_and_get_no_response() -> None:
    ran = []
    body = json.dumps([{"jsonrpc": "2.0", "method": "a"}, {"jsonrpc": "2.0", "method": "b"}]).encode()
    assert handle(body, lambda method, params, context: ran.append(method), CallContext()) is None
    assert ran == ["a", "b"]
    assert pure({"jsonrpc": "2.0", "method": "boom"}) is None


def test_a_bug_in_a_call_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    answer = pure(message("boom"), CallContext(request_id="r-7"))
    assert answer["error"]["code"] == -32603
    assert answer["error"]["message"] == "internal error"
    assert answer["error"]["data"]["request_id"] == "r-7"
    assert "a bug" in caplog.text


def test_the_error_for_invalid_json_has_the_request_id() -> None:
    answer = pure(b"{", CallContext(request_id="r-8"))
    assert (answer["error"]["code"], answer["id"]) == (-32700, None)
    assert answer["error"]["data"]["request_id"] == "r-8"


@pytest.mark.parametrize("method", ["echo", "boom"])
def test_the_depth_of_parameters_is_limited(method: str) -> None:
    deep = json.loads("[" * 64 + "]" * 64)
    assert pure(message("echo", deep))["result"] == deep
    error = pure(message(method, [deep]))["error"]
    assert error["code"] == -32602
    assert error["data"]["errors"][0]["rule"] == "depth"


def test_each_message_of_a_batch_has_its_own_idempotency_key() -> None:
    context = CallContext(idempotency_key="k")
    assert pure(message("key"), context)["result"] == "k"
    keys = [row["result"] for row in pure([message("key"), message("key")], context)]
    assert keys == [ItemKey.of("k", 0), ItemKey.of("k", 1)]
    assert pure(message("key"))["result"] is None


def test_each_message_of_a_batch_has_a_valid_key_even_with_the_longest_key() -> None:
    seen: list[str] = []

    def run(method: str, params: Any, context: CallContext) -> None:
        assert context.idempotency_key is not None
        seen.append(context.idempotency_key)

    batch = json.dumps([{"jsonrpc": "2.0", "id": n, "method": "m"} for n in range(12)]).encode()
    for last in "ab":
        handle(batch, run, CallContext(idempotency_key="k" * 254 + last))
    assert len(set(seen)) == 24
    assert max(map(len, seen)) <= 255
