"""A claim ends whatever step of its end raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import Consumer, LocalPortal
from portal import function as make
from portal._internal.redis_client import StoreUnavailable
from portal.address import Address
from portal.errors import FunctionError, PortalError, ProtocolError
from portal.idempotency import memory, middleware, outcomes
from portal.idempotency.claims import settle
from portal.idempotency.memory import MemoryOutcomes
from portal.idempotency.middleware import Idempotency
from portal.idempotency.outcomes import NOT_MADE
from portal.idempotency.store import Bounds, Claim, Found
from tests.support.clocks import Clock

CLAIM = Claim("k", "d" * 64, "token", "c")
ERRORS = [MemoryError(), RuntimeError("wrong"), RecursionError(), KeyboardInterrupt(), SystemExit(1)]
BY_NAME = {type(error).__name__: error for error in ERRORS}


class FaultyStore(MemoryOutcomes):
    """Raises errors in turn in `record` and `drop`."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__(60.0, Bounds(10, 10_000, 10, 10_000), Clock())
        self.errors = list(errors)
        assert self.claim(CLAIM) is None

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def record(self, claim: Claim, text: str) -> None:
        self._fail()
        super().record(claim, text)

    def drop(self, claim: Claim) -> None:
        self._fail()
        super().drop(claim)


def settled(store: MemoryOutcomes, make_text: Callable[[], str | None]) -> BaseException | None:
    try:
        settle(store, CLAIM, make_text)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("name", BY_NAME)
def test_a_text_that_cannot_be_made_leaves_the_fact_of_the_call(name: str) -> None:
    error, store = BY_NAME[name], FaultyStore()

    def fail() -> str:
        raise error

    raised = settled(store, fail)
    assert raised is (None if isinstance(error, Exception) else error)
    assert store.claim(CLAIM) == Found(CLAIM.digest, NOT_MADE)


@pytest.mark.parametrize("name", BY_NAME)
def test_an_outcome_that_the_store_does_not_take_leaves_the_fact_of_the_call(name: str) -> None:
    error, store = BY_NAME[name], FaultyStore(BY_NAME[name])
    raised = settled(store, lambda: "text")
    assert raised is (None if isinstance(error, Exception) else error)
    assert store.claim(CLAIM) == Found(CLAIM.digest, NOT_MADE)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_claim_that_cannot_be_dropped_at_once_is_dropped(name: str) -> None:
    error, store = BY_NAME[name], FaultyStore(BY_NAME[name])
    raised = settled(store, lambda: None)
    assert raised is (None if isinstance(error, Exception) else error)
    assert len(store) == 0


def test_a_store_that_takes_nothing_holds_no_claim() -> None:
    store = FaultyStore(RuntimeError("1"), RuntimeError("2"))
    assert settled(store, lambda: "text") is None
    assert len(store) == 0
    assert store.size == 0


def test_the_claim_in_a_lost_store_ends_with_its_lease() -> None:
    store = FaultyStore(StoreUnavailable())
    assert settled(store, lambda: "text") is None
    assert not store.errors


@make
def work(n: int = 0) -> int:
    if n < 0:
        raise ValueError("negative")
    return n


def called(consumer: Consumer, address: Address, number: int) -> Any:
    try:
        return consumer.call_at(address, {"n": number}, idempotency_key="key-1")
    except PortalError as error:
        return error


#: Each step between the end of the function and the end of its claim.
STEPS = [
    (middleware, "text_of_result", 1),
    (middleware, "text_of_error", -1),
    (middleware, "_is_kept", -1),
    (middleware.Idempotency, "_shorten", 1),
    (outcomes, "_encode", 1),
    (outcomes, "_encode_error", -1),
    (MemoryOutcomes, "record", 1),
    (memory, "_Done", 1),
]


@pytest.mark.parametrize(("where", "name", "number"), STEPS, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong")], ids=lambda error: type(error).__name__)
def test_no_step_leaves_a_claim_or_lets_the_function_run_twice(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, number: int, error: Exception
) -> None:
    ran: list[int] = []

    def count(call: Any, call_next: Any) -> Any:
        ran.append(1)
        return call_next(call)

    own = Idempotency(wait=0.0)
    original, faults = getattr(where, name), [error]

    def failing(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return original(*args)

    with LocalPortal(middleware=[own, count]) as portal, Consumer() as consumer:
        address = portal.apply(work)
        monkeypatch.setattr(where, name, failing)
        first = called(consumer, address, number)
        assert not faults
        assert isinstance(first, FunctionError) if number < 0 else first == number
        second = called(consumer, address, number)
        assert isinstance(second, ProtocolError)
        assert "was not kept" in str(second)
        assert ran == [1]
        assert own.counters()["idempotency_keys"] == 1
        assert not own._store._running  # type: ignore[attr-defined]
