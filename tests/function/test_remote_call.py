"""The far side of a call in another process."""

from __future__ import annotations

import threading

from portal import AuthorizationError, CallContext, FunctionError, Identity
from portal.function.remote_call import Reference, context_to_dict, is_remote, run_call
from tests.support import placed_functions as placed


def facts(**options: object) -> dict[str, object]:
    return context_to_dict(CallContext(**options))  # type: ignore[arg-type]


def test_a_reference_finds_the_callable_itself() -> None:
    reference = Reference.of(placed.add.target)
    assert reference == Reference("tests.support.placed_functions", "add")
    assert reference is not None
    assert reference.find() is placed.add.target
    assert Reference.of(lambda: 1) is None
    assert Reference.of(threading.Lock()) is None


def test_the_context_is_sent_without_what_cannot_be() -> None:
    found = facts(metadata={"tenant": "a", "request": object()}, identity=Identity("ann"), deadline=None)
    assert found["metadata"] == {"tenant": "a"}
    assert found["remaining"] is None


def test_each_outcome_of_a_call_has_its_kind() -> None:
    def add(a: int, b: int) -> int:
        assert is_remote.get()
        return a + b

    assert run_call(add, {"a": 1, "b": 2}, facts(), None) == ("ok", 3)
    assert not is_remote.get()
    assert CallContext.current() is None
    assert run_call(add, {"a": 1, "b": 2}, facts(deadline=0.0), None) == ("late", None)
    kind, text = run_call(Reference("nowhere.at.all", "x"), {}, facts(), None)
    assert kind == "absent"
    assert "nowhere" in text


def test_errors_are_made_portable() -> None:
    kind, error = run_call(placed.fail.target, {"kind": "portal"}, facts(), None)
    assert kind == "error"
    assert isinstance(error, AuthorizationError)
    assert isinstance(run_call(placed.fail.target, {"kind": "own"}, facts(), None)[1], placed.ShopClosed)
    for kind in ("unpicklable", "exit"):
        assert isinstance(run_call(placed.fail.target, {"kind": kind}, facts(), None)[1], FunctionError)


def test_a_parameter_gets_the_context() -> None:
    def who(context: CallContext) -> str:
        return context.request_id

    assert run_call(who, {}, facts(request_id="r9"), "context") == ("ok", "r9")
