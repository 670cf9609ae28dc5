"""Handlers of signals that raise at any point of a call: what the call has taken comes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from portal import CallContext, Consumer, LocalPortal
from portal.idempotency import Idempotency
from portal.javascript import PoolSettings
from portal.javascript.engines.quickjs import QuickJSEngine
from portal.javascript.pool.children import ChildPool
from portal.javascript.pool.runner import Runner
from portal.javascript.pool.threads import ThreadRunner
from portal.processes import ProcessPool
from portal.processes.jobs import Job
from portal.resilience import AdaptiveLimit, Bulkhead
from tests.support.interrupts import SoftTimeLimit, interrupted_everywhere
from tests.support.javascript import CHILD, PATIENT, no_host, program

WAIT = 20.0


@contextmanager
def raised_by_signal() -> Iterator[None]:
    """Raise the exception of the handler where it was made the cause of another one."""
    try:
        yield
    except SoftTimeLimit:
        raise
    except Exception as error:
        seen: BaseException | None = error
        while seen is not None and not isinstance(seen, SoftTimeLimit):
            seen = seen.__cause__ or seen.__context__
        if seen is None:
            raise
        raise SoftTimeLimit from error


def add(a: float, b: float) -> float:
    return a + b


@pytest.mark.parametrize(
    ("middleware", "modules"),
    [
        (Bulkhead(1), ("resilience/bulkhead.py", "resilience/admission.py")),
        (Bulkhead(1, key=lambda call: "one"), ("resilience/bulkhead.py", "resilience/admission.py", "keyed.py")),
        (AdaptiveLimit(initial=1, maximum=1), ("resilience/adaptive_limit.py", "resilience/gradient.py")),
        (
            AdaptiveLimit(initial=1, maximum=1, partition=lambda call: "ann"),
            ("resilience/adaptive_limit.py", "_internal/conditions.py"),
        ),
    ],
)
def test_a_place_comes_back(middleware: Bulkhead | AdaptiveLimit, modules: tuple[str, ...]) -> None:
    with LocalPortal(middleware=[middleware]) as portal, Consumer() as consumer:
        address = portal.apply(add)

        def work() -> None:
            with raised_by_signal():
                consumer.call_at(address, {"a": 1, "b": 2})

        raised = 0
        for is_raised in interrupted_everywhere(work, *modules):
            raised += is_raised
            assert [one["running"] for one in middleware.stats().values()] in ([], [0])
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        assert raised > 10


def test_an_idempotency_key_does_not_stay_claimed_and_its_call_does_not_run_twice() -> None:
    runs: dict[int, int] = {}

    def pay(number: int) -> int:
        runs[number] = runs.get(number, 0) + 1
        return number

    middleware, numbers = Idempotency(wait=0), count()
    with LocalPortal(middleware=[middleware]) as portal, Consumer() as consumer:
        address, number = portal.apply(pay), 0

        def call() -> None:
            consumer.call_at(address, {"number": number}, idempotency_key=f"key-{number}")

        def work() -> None:
            nonlocal number
            number = next(numbers)
            with raised_by_signal():
                call()

        raised = 0
        modules = ("idempotency/middleware.py", "idempotency/memory.py", "idempotency/claims.py")
        for is_raised in interrupted_everywhere(work, *modules):
            raised += is_raised
            before = runs.get(number, 0)
            said = "a result"
            try:
                call()
            except Exception as error:  # of the first call, or that its response was not kept
                said = str(error)
            assert "still running" not in said
            assert runs[number] == max(before, 1)
        assert raised > 40
        store = middleware._store
        assert not store._running  # type: ignore[attr-defined]
        assert sum(share.entries for share in store._shares.values()) == len(store)  # type: ignore[attr-defined]


def test_a_process_comes_back() -> None:
    pool = ProcessPool(1)
    job = Job("getpid", os.getpid, ())
    pool.run(job, CallContext.for_call(WAIT))

    def work() -> None:
        with raised_by_signal():
            pool.run(job, CallContext.for_call(WAIT))

    try:
        for _ in interrupted_everywhere(work, "processes/pool.py", "_internal/closing.py"):
            assert pool.run(job, CallContext.for_call(WAIT)) in pool.pids()
            assert pool.stats()["idle"] == pool.stats()["processes"] == 1
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("make", "module"),
    [
        (lambda: ThreadRunner(QuickJSEngine, PoolSettings(max_size=1)), "pool/threads.py"),
        (lambda: ChildPool(CHILD, PoolSettings(min_size=0, max_size=1)), "pool/children.py"),
    ],
)
@pytest.mark.parametrize("is_warm", [False, True])
def test_a_javascript_context_comes_back(make: Callable[[], Runner], module: str, is_warm: bool) -> None:
    one = program("() => 1")
    pool = make()

    def call() -> str:
        return pool.run(one, "{}", PATIENT, no_host, WAIT)

    def work() -> None:
        with raised_by_signal():
            call()

    try:
        for _ in interrupted_everywhere(work, module, "_internal/closing.py"):
            assert call() == "1"
            if not is_warm:
                pool.close()
                pool = make()
    finally:
        pool.close()
