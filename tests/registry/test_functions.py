"""FunctionRegistry: register, look up, call, and use from many threads."""

from __future__ import annotations

import os
import random
import threading
from typing import Any

import pytest

from portal import FunctionRegistry, RegistryError, ValidationError, function
from portal.errors import CallTimeout, FunctionError

OPERATIONS = int(os.environ.get("PORTAL_REGISTRY_OPERATIONS", "100000"))


def add(a: float, b: float) -> float:
    """Add."""
    return a + b


def test_register_get_list_count() -> None:
    registry = FunctionRegistry()
    member = registry.register(add)
    assert registry.get("add") is member
    assert registry.exists("add")
    assert "add" in registry
    assert 3 not in registry
    assert [schema.name for schema in registry.list()] == ["add"]
    assert registry.count() == len(registry) == 1
    assert list(registry) == [member]
    assert registry.unregister("add") is member
    assert not registry.exists("add")


def test_a_second_function_of_a_name_is_rejected() -> None:
    registry = FunctionRegistry()
    member = registry.register(add)
    assert registry.register(member) is member
    with pytest.raises(RegistryError) as caught:
        registry.register(add)
    assert caught.value.kind == "conflict"


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a@1", "a?", "..", "x" * 201])
def test_an_invalid_name_is_rejected(name: str) -> None:
    with pytest.raises(RegistryError) as caught:
        FunctionRegistry().register(function(name=name or " ")(add))
    assert caught.value.kind == "invalid"


def test_names_may_have_hyphens() -> None:
    registry = FunctionRegistry()
    registry.register(function(name="my-func")(add))
    assert registry.get("my-func").name == "my-func"
    with pytest.raises(RegistryError, match="did you mean my-func"):
        registry.get("my-funk")


def test_a_version_or_a_range_chooses_the_function() -> None:
    registry = FunctionRegistry()
    for version in ("1", "2", "1.5", "10"):
        registry.register(function(version=version)(add))
    assert registry.get("add").schema.version == "10"
    assert registry.get("add", "1").schema.version == "1"
    assert registry.get("add", "1.0").schema.version == "1"
    assert registry.get("add", ">=1,<2").schema.version == "1.5"
    assert registry.get("add@2").schema.version == "2"
    with pytest.raises(RegistryError):
        registry.get("add", ">=11")
    with pytest.raises(RegistryError) as caught:
        registry.get("add", "newest")
    assert caught.value.kind == "invalid"
    registry.unregister("add", "10")
    assert registry.get("add").schema.version == "2"
    assert registry.clear() == 3
    with pytest.raises(RegistryError):
        registry.unregister("add")


def test_a_registered_function_is_called_and_validated_by_name() -> None:
    registry = FunctionRegistry()
    registry.register(add)
    assert registry.call("add", {"a": 1, "b": 2}) == 3.0
    assert registry.call_typed("add", {"a": 1, "b": 2}, float) == 3.0
    with pytest.raises(ValidationError):
        registry.call_typed("add", {"a": 1, "b": 2}, str)
    registry.validate("add", {"a": 1, "b": 2})
    with pytest.raises(ValidationError):
        registry.validate("add", {"a": 1})
    with pytest.raises(RegistryError):
        registry.call("missing", {})


def test_a_call_times_out_or_fails() -> None:
    registry, gate = FunctionRegistry(), threading.Event()
    registry.register(function(name="wait")(lambda: gate.wait(10)))
    registry.register(function(name="fail")(lambda: 1 / 0))
    with pytest.raises(CallTimeout):
        registry.call("wait", {}, timeout=0.01)
    with pytest.raises(FunctionError) as caught:
        registry.call("fail", {}, timeout=10)
    assert caught.value.type == "ZeroDivisionError"
    gate.set()
    registry.close()


def test_sixteen_threads_register_and_call_at_once() -> None:
    registry = FunctionRegistry()
    registry.register(add)
    workers = 16
    rounds = OPERATIONS // (workers * 12)  # each round registers 3, calls 6 and unregisters 3
    failures: list[BaseException] = []
    calls = [0] * workers

    def work(number: int) -> None:
        chance = random.Random(number)
        versions = [function(name=f"own{number}", version=str(v))(add) for v in range(1, 4)]
        try:
            for _ in range(rounds):
                for version in versions:
                    registry.register(version)
                    a = chance.random()
                    assert registry.call(version.name, {"a": a, "b": 1.0}) == a + 1.0
                    assert registry.call("add", {"a": a, "b": 2.0}) == a + 2.0
                    calls[number] += 2
                for version in chance.sample(versions, 3):
                    assert registry.unregister(version.name, version.schema.version) is version
                assert not registry.exists(f"own{number}")
        except BaseException as error:
            failures.append(error)

    threads: list[Any] = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert registry.count() == 1
    assert registry._dispatcher.stats() == {"calls": sum(calls), "failed": 0, "running": 0, "expired": 0}
