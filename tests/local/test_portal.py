from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import (
    AddressError,
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    LocalPortal,
    RegistryError,
    Service,
    function,
)


def thread_name() -> str:
    return threading.current_thread().name


def add(a: int, b: int) -> int:
    return a + b


def test_a_portal_accepts_calls_without_a_start() -> None:
    portal = LocalPortal()
    address = portal.apply(add)
    assert str(address).startswith("local://add/")
    assert portal.resolve_function(address)(1, 2) == 3
    portal.close()


def test_a_call_without_a_deadline_runs_in_the_thread_of_the_caller() -> None:
    with LocalPortal() as portal:
        found = portal.resolve_function(portal.apply(thread_name))
        assert found() == threading.current_thread().name
        assert found.invoke({}, CallContext.for_call(30)) != threading.current_thread().name


def test_with_an_executor_every_call_runs_there() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor, LocalPortal(executor=executor) as portal:
        found = portal.resolve_function(portal.apply(thread_name))
        assert found().startswith("mine")
        assert found.invoke({}, CallContext.for_call(30)).startswith("mine")


def test_a_call_ends_at_its_deadline() -> None:
    release = threading.Event()

    def wait() -> bool:
        return release.wait(30)

    with LocalPortal() as portal:
        found = portal.resolve_function(portal.apply(wait))
        with pytest.raises(CallTimeout):
            found.invoke({}, CallContext.for_call(0.05))
        release.set()


def test_a_removed_function_is_rejected_also_where_it_was_resolved() -> None:
    with LocalPortal() as portal:
        address = portal.apply(add)
        found = portal.resolve_function(address)
        assert found(1, 2) == 3
        portal.remove(address)
        for call in (lambda: found(1, 2), lambda: portal.resolve_function(address)):
            with pytest.raises(RegistryError) as caught:
                call()
            assert caught.value.kind == "not_found"


def test_an_address_of_another_scheme_is_rejected() -> None:
    with LocalPortal() as portal, pytest.raises(AddressError, match="must be local, got http"):
        portal.resolve_function("http://127.0.0.1/api/add")


def test_the_first_call_starts_a_service() -> None:
    started: list[str] = []
    portal = LocalPortal()
    address = portal.apply_service(Service("shop", [function(add)], on_start=lambda: started.append("shop")))
    found = portal.resolve_function(address.child("add"))
    assert started == []
    assert [found(1, 2), found(3, 4)] == [3, 7]
    assert started == ["shop"]
    portal.close()


def test_a_service_that_fails_to_start_is_started_by_the_next_call() -> None:
    outcomes = iter([OSError("no database"), None])

    def start() -> None:
        if (error := next(outcomes)) is not None:
            raise error

    portal = LocalPortal()
    address = portal.apply_service(Service("shop", [function(add)], on_start=start)).child("add")
    with pytest.raises(FunctionError, match="service shop failed to start: OSError: no database"):
        portal.resolve_function(address)(1, 2)
    assert portal.resolve_function(address)(1, 2) == 3
    portal.close()


def test_stats_count_calls() -> None:
    def fail() -> None:
        raise ValueError("no")

    with LocalPortal() as portal, Consumer([portal]) as consumer:
        for address, params in ((portal.apply(add), {"a": 1, "b": 2}), (portal.apply(fail), {})):
            try:
                consumer.call_at(address, params)
            except FunctionError:
                continue
        stats = portal.stats()
    assert (stats["functions"], stats["calls"], stats["failed"]) == (2, 2, 1)
