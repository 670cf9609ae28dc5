"""A compiled call has the outcome of a general one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import CallContext, Consumer, FunctionError, LocalPortal, RegistryError, Service, ValidationError, function
from portal.errors import PortalError
from portal.local.fast_path import general_call


@pytest.fixture
def local() -> Iterator[LocalPortal]:
    with LocalPortal() as portal:
        yield portal


def resolved(local: LocalPortal, target: Any) -> Any:
    return Consumer([local]).resolve(local.apply(target))


def add(a: float, b: float = 4.0) -> float:
    return a + b


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"a": 1.0, "b": 2.0}),
        ((), {"a": 1, "b": 2.0}),
        ((), {"a": 1.0}),
        ((1.0,), {"b": 2.0}),
        ((1.0, 2.0), {}),
        ((), {"a": True, "b": 2.0}),
        ((), {"a": float("inf"), "b": 2.0}),
        ((), {"a": float("nan"), "b": 2.0}),
        ((), {"a": "1", "b": 2.0}),
        ((), {"a": 1.0, "c": 2.0}),
        ((), {"a": 1.0, "b": 2.0, "c": 2.0}),
        ((), {}),
        ((1.0,), {"a": 1.0}),
        ((), {"a": 1.7e308, "b": 1.7e308}),
    ],
)
def test_a_compiled_call_has_the_outcome_of_a_general_one(local: LocalPortal, args: Any, kwargs: Any) -> None:
    def outcome(call: Any) -> Any:
        try:
            return call()
        except PortalError as error:
            return type(error), error.message, getattr(error, "errors", None)

    fast = resolved(local, add)
    assert outcome(lambda: fast(*args, **kwargs)) == outcome(lambda: general_call(fast, args, kwargs))


def test_parameters_may_have_any_name(local: LocalPortal) -> None:
    def names(target: int, context: int, result: int, args: int, resolved: int, value0: int) -> int:
        return target + context + result + args + resolved + value0

    got = resolved(local, names)
    assert got(target=1, context=2, result=3, args=4, resolved=5, value0=6) == 21


@pytest.mark.parametrize(
    ("target", "kwargs", "result"),
    [
        (lambda: None, {}, None),
        (lambda a: a, {"a": [1]}, [1]),
    ],
)
def test_without_hints(local: LocalPortal, target: Any, kwargs: Any, result: Any) -> None:
    assert resolved(local, function(name="named")(target))(**kwargs) == result


def test_each_call_has_a_context_and_calls_inside_are_nested(local: LocalPortal) -> None:
    seen: list[CallContext] = []

    def inner(number: int) -> int:
        seen.append(CallContext.current())  # type: ignore[arg-type]
        return number

    called = resolved(local, inner)

    def outer(number: int) -> int:
        seen.append(CallContext.current())  # type: ignore[arg-type]
        return called(number=number)

    assert resolved(local, outer)(number=7) == 7
    assert called(number=8) == 8
    first, nested, alone = seen
    assert nested.parent is first
    assert alone.parent is None
    assert CallContext.current() is None


def test_a_removed_function_is_rejected(local: LocalPortal) -> None:
    address = local.apply(add)
    got = Consumer([local]).resolve(address)
    assert got(a=1.0, b=2.0) == 3.0
    local.remove(address)
    with pytest.raises(RegistryError):
        got(a=1.0, b=2.0)


@pytest.mark.parametrize("as_service", [False, True])
def test_a_call_during_a_removal_does_not_keep_the_function(
    local: LocalPortal, monkeypatch: pytest.MonkeyPatch, as_service: bool
) -> None:
    address = local.apply_service(Service("sums", [add])) if as_service else local.apply(add)
    called = Consumer([local]).resolve(address.child("add") if as_service else address)
    during: list[float] = []
    step = "discard" if as_service else "remove"
    original = getattr(local._catalogue, step)

    def remove_after_call(*args: Any) -> Any:  # as if another thread called just before the function is removed
        during.append(called(a=1.0, b=2.0))
        return original(*args)

    monkeypatch.setattr(local._catalogue, step, remove_after_call)
    local.remove(address)
    assert during == [3.0]
    with pytest.raises(RegistryError):
        called(a=1.0, b=2.0)


def test_a_function_that_is_removed_while_it_is_resolved_is_rejected(
    local: LocalPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, entry_at = local.apply(add), local.entry_at

    def find_then_remove(wanted: Any) -> Any:  # as if another thread removed the function just after it is found
        entry = entry_at(wanted)
        monkeypatch.undo()
        local.remove(address)
        return entry

    monkeypatch.setattr(local, "entry_at", find_then_remove)
    called = local.resolve_function(address)
    with pytest.raises(RegistryError):
        called(a=1.0, b=2.0)


def test_failures_are_counted_and_say_that_the_function_ran(local: LocalPortal) -> None:
    def fail(kind: int) -> float:
        if kind == 0:
            raise ValueError("no")
        if kind == 1:
            raise ValidationError("mine")
        return "text"  # type: ignore[return-value]

    got = resolved(local, fail)
    for kind, expected in enumerate([FunctionError, ValidationError, FunctionError]):
        with pytest.raises(expected) as raised:
            got(kind=kind)
        assert raised.value.executed
        assert raised.value.request_id
    assert local.stats()["calls"] == local.stats()["failed"] == 3
    assert local.stats()["running"] == 0


def test_a_result_of_another_type_is_converted_to_the_hint(local: LocalPortal) -> None:
    def whole(number: int) -> float:
        return number

    assert resolved(local, whole)(number=3) == 3.0
