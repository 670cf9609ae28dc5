from __future__ import annotations

import gc
import json
import threading
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portal import ConfigError, Consumer, HTTPPortal, LocalPortal, RegistryError, Service, function
from portal.directory import Instance, Watch
from portal.directory.base import OnChange
from portal.resilience import Policy
from tests.support.waiting import eventually


@function
def add(a: float, b: float) -> float:
    return a + b


@function
def charge() -> None: ...


class MemoryDirectory:
    """A directory that the test changes."""

    problem: str | None = None

    def __init__(self, **names: list[Any]) -> None:
        self.names = {name: tuple(map(Instance.of, found)) for name, found in names.items()}
        self.watches: list[OnChange] = []

    def instances(self, name: str) -> tuple[Instance, ...]:
        return self.names.get(name, ())

    def watch(self, name: str, on_change: OnChange) -> Watch:
        self.watches.append(on_change)
        on_change(self.instances(name))
        return _Watch(self, on_change)

    def change(self, name: str, *instances: Any) -> None:
        self.names[name] = tuple(map(Instance.of, instances))
        for on_change in self.watches:
            on_change(self.names[name])


class _Watch:
    def __init__(self, directory: MemoryDirectory, on_change: OnChange) -> None:
        self.directory, self.on_change = directory, on_change

    def close(self) -> None:
        if self.on_change in self.directory.watches:
            self.directory.watches.remove(self.on_change)


PARAMS = {"a": 1, "b": 2}


def test_a_name_is_called_through_the_directory() -> None:
    with HTTPPortal() as one, HTTPPortal() as other:
        directory = MemoryDirectory(add=[one.apply(add)])
        with Consumer(directory=directory) as consumer:
            assert consumer.call("add", PARAMS) == 3
            directory.change("add", other.apply(add))
            one.stop()
            assert consumer.call("add", PARAMS) == 3
            assert len(directory.watches) == 1
            with pytest.raises(RegistryError, match="no instance of sub is registered"):
                consumer.call("sub")
            directory.change("add")
            with pytest.raises(RegistryError, match="there is no instance of add"):
                consumer.call("add", PARAMS)
        assert directory.watches == []


def test_an_unknown_name_says_why_the_list_may_be_wrong() -> None:
    directory = MemoryDirectory()
    with Consumer(directory=directory) as consumer:
        with pytest.raises(RegistryError, match=r"^no instance of add is registered$"):
            consumer.call("add", {})
        directory.problem = "2 records have no valid signature"
        with pytest.raises(RegistryError, match="no instance of add is registered; 2 records have no valid signature"):
            consumer.call("add", {})


@pytest.mark.parametrize("kind", ["memory", "file", "sqlite"])
def test_a_misspelt_name_is_told_the_right_one(kind: str, tmp_path: Path) -> None:
    url = {"memory": "memory://misspelt", "file": f"file://{tmp_path}/d", "sqlite": f"sqlite:///{tmp_path}/d"}[kind]
    with ExitStack() as stack:
        if kind == "file":
            names = {"billing/*": ["http://127.0.0.1:9/api"], "orders/charge": ["http://127.0.0.1:9/api/charge"]}
            (tmp_path / "d").write_text(json.dumps(names))
        else:
            portal = stack.enter_context(HTTPPortal(name="shop", directory=url))
            portal.apply_service(Service("orders", [charge]))
        consumer = stack.enter_context(Consumer(directory=url))
        eventually(lambda: bool(consumer._directory.instances("orders/charge")))  # type: ignore[union-attr]
        with pytest.raises(RegistryError, match="no instance of orders/chrage is registered") as caught:
            consumer.call("orders/chrage", {})
        assert caught.value.hint == "did you mean orders/charge?"
        with pytest.raises(RegistryError) as caught:
            consumer.call("nothing-like-it", {})
        assert not caught.value.hint


def test_a_name_needs_a_directory() -> None:
    with pytest.raises(ConfigError, match=r"consumer\.directory must be set to call 'add' by its name"):
        Consumer().call("add")
    with pytest.raises(ConfigError, match=r"consumer\.directory must be a Directory: an object with problem"):
        Consumer(directory=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [5, [], [5], None])
def test_a_wrong_target_is_rejected(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="target must be the name of a function, or a list of addresses"):
        Consumer().call(wrong)


def test_a_target_may_be_of_texts_addresses_and_instances() -> None:
    with LocalPortal() as portal:
        address = portal.apply(add)
        consumer = Consumer()
        for target in ([str(address)], (address,), [Instance(address, weight=2)], address):
            assert consumer.call(target, PARAMS) == 3


def test_a_group_is_kept_for_its_target_and_balance() -> None:
    with LocalPortal() as portal:
        address = portal.apply(add)
        consumer = Consumer()
        kind, other = consumer._stages.of(None).kind, consumer._stages.of(Policy(balance="weighted")).kind
        groups = consumer._groups
        assert groups.get([address], kind) is groups.get((address,), kind)
        assert groups.get([address], kind) is not groups.get([address], other)
        assert groups.peek([address], kind) is groups.get([address], kind)
        assert groups.peek([address, address], kind) is not groups.peek([address, address], kind), "it is not kept"
        assert not groups.get([address], kind).is_remote
        assert groups.get(["http://127.0.0.1:1/api/add"], kind).is_remote


def test_groups_are_bounded_in_number() -> None:
    consumer = Consumer()
    kind = consumer._stages.of(None).kind
    first = weakref.ref(consumer._groups.get(["http://first/api/add"], kind))
    for number in range(1024):
        consumer._groups.get([f"http://h{number}/api/add"], kind)
    gc.collect()
    assert first() is None


def test_threads_that_make_a_group_at_once_share_one() -> None:
    consumer = Consumer()
    kind = consumer._stages.of(None).kind
    gate = threading.Barrier(8)
    found: list[Any] = []

    def get() -> None:
        gate.wait(60)
        found.append(consumer._groups.get(["http://one/api/add"], kind))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_changed_fingerprint_drops_the_cached_schema() -> None:
    with HTTPPortal() as portal:
        address = portal.apply(add)
        directory = MemoryDirectory(add=[Instance(address, fingerprint="11111111")])
        with Consumer(directory=directory) as consumer:
            assert consumer.call("add", PARAMS) == 3
            functions, text = consumer._functions, str(address)
            before = functions.get(text)
            directory.change("add", Instance(address, fingerprint="11111111", weight=2))
            assert functions.get(text) is before
            directory.change("add", Instance(address, fingerprint="22222222"))
            assert functions.get(text) is not before
