"""A chunk of calls, as a worker runs it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("cloudpickle", reason="the package distributed is not installed")

from portal import AuthorizationError, CallContext, FunctionError, ValidationError, function
from portal.cluster.causes import unpack_error
from portal.cluster.chunk import run_chunk
from portal.cluster.packing import pack_function
from portal.function.remote_call import context_to_dict
from tests.support import cluster_functions as functions


def facts(**options: Any) -> dict[str, Any]:
    return context_to_dict(CallContext(**options))


def test_outcomes_come_in_order() -> None:
    _, data = pack_function(functions.fail)
    outcomes = run_chunk(data, [{"kind": "portal"}, {"kind": 5}, {"kind": "other"}], facts()).outcomes
    assert [kind for kind, _ in outcomes] == ["error"] * 3
    assert [type(unpack_error(error)) for _, error in outcomes] == [AuthorizationError, ValidationError, FunctionError]
    assert run_chunk(pack_function(functions.square)[1], [{"n": 2}, {"n": 3}], facts()).outcomes == [
        ("ok", 4),
        ("ok", 9),
    ]


def test_calls_after_the_deadline_do_not_run() -> None:
    _, data = pack_function(functions.square)
    assert run_chunk(data, [{"n": 2}] * 2, facts(deadline=0.0)).outcomes == [("late", None)] * 2


def test_a_function_that_cannot_be_loaded() -> None:
    [(kind, text)] = run_chunk(b"no pickle", [{}], facts()).outcomes
    assert kind == "absent"
    assert text


def test_a_result_that_cannot_be_sent_costs_one_call() -> None:
    from portal.cluster import chunk

    outcomes = chunk._picklable([("ok", 1), ("ok", threading.Lock())])
    assert outcomes[0] == ("ok", 1)
    assert outcomes[1][0] == "error"


def test_the_context_is_current() -> None:
    @function
    def request_id() -> str:
        context = CallContext.current()
        assert context is not None
        return context.request_id

    assert run_chunk(pack_function(request_id)[1], [{}], facts(request_id="r5")).outcomes == [("ok", "r5")]
