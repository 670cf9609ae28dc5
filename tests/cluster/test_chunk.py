"""A chunk of calls, as a worker runs it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import AuthorizationError, CallContext, FunctionError, ValidationError, function
from portal.cluster.causes import unpack_error
from portal.cluster.chunk import PackedCall, pack_call, run_chunk
from portal.cluster.packing import pack_function
from portal.errors import SerializationError
from portal.function.remote_call import context_to_dict
from tests.support import cluster_functions as functions


def facts(**options: Any) -> dict[str, Any]:
    return context_to_dict(CallContext(**options))


def packed(*params: dict[str, Any]) -> list[PackedCall]:
    return [pack_call(one, CallContext(request_id=f"r{number}")) for number, one in enumerate(params)]


def test_outcomes_come_in_order() -> None:
    _, data = pack_function(functions.fail)
    outcomes = run_chunk(data, packed({"kind": "portal"}, {"kind": 5}, {"kind": "other"}), facts()).outcomes
    assert [kind for kind, _ in outcomes] == ["error"] * 3
    assert [type(unpack_error(error)) for _, error in outcomes] == [AuthorizationError, ValidationError, FunctionError]
    assert run_chunk(pack_function(functions.square)[1], packed({"n": 2}, {"n": 3}), facts()).outcomes == [
        ("ok", 4),
        ("ok", 9),
    ]


def test_calls_after_the_deadline_do_not_run() -> None:
    _, data = pack_function(functions.square)
    assert run_chunk(data, packed({"n": 2}, {"n": 2}), facts(deadline=0.0)).outcomes == [("late", None)] * 2


def test_a_function_that_cannot_be_loaded() -> None:
    [(kind, text)] = run_chunk(b"no pickle", packed({}), facts()).outcomes
    assert kind == "absent"
    assert text


def test_a_result_that_cannot_be_sent_costs_one_call() -> None:
    from portal.cluster import chunk

    outcomes, _ = chunk._picklable([("ok", 1), ("ok", threading.Lock())])
    assert outcomes[0] == ("ok", 1)
    assert outcomes[1][0] == "error"


def test_each_call_has_a_context_of_its_own() -> None:
    @function(timeout=60.0)
    def context_of() -> list[Any]:
        context = CallContext.current()
        assert context is not None
        assert context.remaining() is not None
        return [context.request_id, context.traceparent, dict(context.baggage), context.idempotency_key]

    data = pack_function(context_of)[1]
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    calls = [pack_call({}, CallContext(request_id="r0", traceparent=trace)), *packed({})]
    found = run_chunk(data, calls, facts(request_id="chunk", baggage={"shop": "7"}, idempotency_key="k"))
    assert found.outcomes == [("ok", ["r0", trace, {"shop": "7"}, "k"]), ("ok", ["r0", None, {"shop": "7"}, "k"])]
    assert found.size > 0


def test_parameters_that_cannot_be_sent() -> None:
    with pytest.raises(SerializationError, match="cannot be sent to a cluster") as caught:
        pack_call({"lock": threading.Lock()}, CallContext())
    assert not caught.value.may_have_executed
