"""ServiceRegistry: register services, and start and stop them together."""

from __future__ import annotations

import pytest

from portal import RegistryError, Service, ServiceRegistry


def logging_service(entries: list[str], name: str, fail: str = "") -> Service:
    def run_hook(hook: str) -> None:
        entries.append(f"{hook} {name}")
        if hook == fail:
            raise OSError(f"{hook} {name}")

    return Service(name, on_start=lambda: run_hook("start"), on_stop=lambda: run_hook("stop"))


def test_register_and_find() -> None:
    registry = ServiceRegistry()
    one = registry.register(Service("one"))
    assert registry.get("one") is one
    assert registry.exists("one")
    assert "one" in registry
    assert registry.count() == len(registry) == 1
    assert registry.list()[0]["state"] == "stopped"
    with pytest.raises(RegistryError) as caught:
        registry.register(Service("one"))
    assert caught.value.kind == "conflict"
    assert registry.unregister("one") is one
    for look_up in (registry.get, registry.unregister):
        with pytest.raises(RegistryError):
            look_up("one")
    registry.register(one)
    assert registry.clear() == 1


def test_start_and_stop_in_order() -> None:
    entries: list[str] = []
    registry = ServiceRegistry()
    for name in ("a", "b"):
        registry.register(logging_service(entries, name))
    registry.start()
    registry.stop()
    assert entries == ["start a", "start b", "stop b", "stop a"]


def test_a_failed_start_stops_the_services_started_before() -> None:
    entries: list[str] = []
    registry = ServiceRegistry()
    registry.register(logging_service(entries, "a"))
    registry.register(logging_service(entries, "b", fail="start"))
    with pytest.raises(OSError, match="start b"):
        registry.start()
    assert entries == ["start a", "start b", "stop a"]


def test_the_other_services_stop_after_one_fails_to_stop() -> None:
    entries: list[str] = []
    registry = ServiceRegistry()
    registry.register(logging_service(entries, "a"))
    registry.register(logging_service(entries, "b", fail="stop"))
    registry.start()
    with pytest.raises(OSError, match="stop b"):
        registry.stop()
    assert entries[-1] == "stop a"
