from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal import ConfigError, Consumer, FunctionError, HTTPPortal, LocalPortal, Portal, RegistryError, Service
from portal import function as make
from portal import service as mark
from portal.service import ServiceState


@mark(name="users", version="2")
class Users:
    """People."""

    limit = 3

    def __init__(self) -> None:
        self.names: list[str] = []
        self.log: list[str] = []

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")

    def add(self, name: str) -> int:
        """Add one."""
        self.names.append(name)
        return len(self.names)

    @make(idempotent=True, tags=["read"])
    def get(self, index: int) -> str:
        return self.names[index]

    @staticmethod
    def double(n: int) -> int:
        return 2 * n

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    def each(self) -> Iterator[str]:
        yield from self.names

    @property
    def size(self) -> int:
        raise AssertionError("a property is not looked at")

    def _private(self) -> None:
        raise AssertionError("not published")


def test_public_methods_become_functions() -> None:
    group = Service.of(Users())
    assert set(group.functions) == {"add", "get", "double", "kind", "each"}
    assert (group.name, group.version, group.description) == ("users", "2", "People.")
    assert group["get"].schema.idempotent
    assert group["get"].schema.tags == ("read",)
    assert group["each"].streaming
    assert group["add"]("Ann") == 1
    assert group["get"](0) == "Ann"
    assert Service.of(group) is group
    assert "users stopped" in repr(group)
    with pytest.raises(RegistryError):
        group["nobody"]


def test_a_class_stays_a_class() -> None:
    @mark
    class Plain:
        def one(self) -> int:
            return 1

    assert Plain().one() == 1
    assert Service.of(Plain)["one"]() == 1
    assert Service.of(Plain).name == "plain"


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_published_whole(kind: type[Portal]) -> None:
    users = Users()
    with kind() as portal, Consumer([portal]) as consumer:
        address = portal.apply_service(users)
        assert users.log == ["start"]
        assert consumer.call_at(address.child("add"), {"name": "Ann"}) == 1
        assert list(consumer.stream_at(address.child("each"))) == ["Ann"]
        remote = portal.resolve_service(address)
        assert remote.version == "2"
        assert remote["get"](index=0) == "Ann"
        with pytest.raises(FunctionError):
            remote["get"](index=9)
        assert portal.services()[address].state is ServiceState.RUNNING
        assert portal.health()["services"] == {"users": "running"}
        with pytest.raises(RegistryError):
            portal.apply_service(Users())
        with pytest.raises(RegistryError):
            portal.resolve_service(address.child("nobody"))
        portal.remove(address)
        assert users.log == ["start", "stop"]
        with pytest.raises(RegistryError):
            consumer.call_at(address.child("add"), {"name": "Bob"})
        assert portal.functions() == {}


def test_nothing_stays_published_when_a_start_fails() -> None:
    def fail() -> None:
        raise OSError("no disk")

    group = Service("shop", [Users.double], on_start=fail)
    with LocalPortal() as portal:
        with pytest.raises(OSError, match="no disk"):
            portal.apply_service(group)
        assert portal.functions() == {}
        assert portal.services() == {}
    assert group.status()["state"] == "error"
    assert group.status()["error"] == "OSError: no disk"


def test_the_life_of_a_service() -> None:
    seen: list[ServiceState] = []
    group = Service("s", on_start=lambda: seen.append(group.state), on_stop=lambda: seen.append(group.state))
    assert group.state is ServiceState.STOPPED
    group.stop()
    with group:
        group.start()
        assert group.state is ServiceState.RUNNING
    assert group.state is ServiceState.STOPPED
    assert seen == [ServiceState.STARTING, ServiceState.STOPPING]


def test_after_an_error_a_start_tries_again() -> None:
    outcomes: list[Any] = [ValueError("once"), None]

    def start() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    group = Service("s", on_start=start)
    with pytest.raises(ValueError, match="once"):
        group.start()
    group.stop()
    assert group.state is ServiceState.ERROR
    group.start()
    assert group.status()["error"] is None


def test_one_of_many_starts_it() -> None:
    entered, gate, times = threading.Event(), threading.Event(), []

    def start() -> None:
        times.append(1)
        entered.set()
        gate.wait(10)

    group = Service("s", on_start=start)
    threads = [threading.Thread(target=group.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    with pytest.raises(TimeoutError, match="still starting"):
        group.stop(timeout=0.01)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert times == [1]
    assert group.state is ServiceState.RUNNING


def test_what_is_no_service() -> None:
    for wrong in (3, object, lambda: None):
        with pytest.raises(ConfigError):
            Service.of(wrong)
    with pytest.raises(ConfigError):
        mark(3)  # type: ignore[call-overload]
    with pytest.raises(RegistryError):
        Service("a/b")
    with pytest.raises(RegistryError):
        Service("s", [Users.double, Users.double])


def test_a_method_keeps_the_schemas_that_it_was_given() -> None:
    class Shop:
        @make(input={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, output=str)
        def twice(self, **given: Any) -> Any:
            return str(2 * given["n"])

        @make(output={"type": "array", "items": {"type": "integer"}})
        def numbers(self, stop: int = 2) -> Any:
            return [*range(stop)]

    shop = Service.of(mark(Shop))
    assert shop["twice"].schema.input["required"] == ["n"]
    assert shop["twice"].schema.output == {"type": "string"}
    assert shop["twice"](n=3) == "6"
    assert list(shop["numbers"].schema.input["properties"]) == ["stop"]
    assert shop["numbers"].schema.output["items"] == {"type": "integer"}
    assert shop["numbers"]() == [0, 1]
