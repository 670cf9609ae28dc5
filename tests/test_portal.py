from __future__ import annotations

import gc
from typing import Any

import pytest

from portal import Address, ConfigError, RegistryError, Service, function
from portal.function import Function
from portal.portal import Portal, Resolver, announce, in_process_portals, is_unstarted, topology


@function
def add(a: int, b: int) -> int:
    return a + b


class Echo(Resolver):
    """The least that a resolver has."""

    schemes = ("echo",)

    def resolve_function(self, address: Address | str) -> Function:
        return add


class Shelf(Portal):
    """A portal that keeps functions at shelf:// addresses."""

    schemes = ("shelf",)
    in_process = True

    def __init__(self, bind_error: Exception | None = None) -> None:
        super().__init__()
        self.bind_error = bind_error

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local("shelf", path)

    def _bind(self) -> None:
        if self.bind_error is not None:
            raise self.bind_error

    def resolve_function(self, address: Address | str) -> Function:
        return self._catalogue.get(Address.of(address).segments, None).function


def test_a_resolver_without_services_or_a_listing_says_so() -> None:
    echo = Echo()
    with pytest.raises(RegistryError, match="there is no service at echo://shop"):
        echo.resolve_service("echo://shop")
    with pytest.raises(RegistryError, match="echo:// has no listing"):
        echo.list_at("echo://x")
    echo.close()
    echo.close()


def test_publish_resolve_and_remove() -> None:
    with Shelf() as shelf:
        address = shelf.apply(add)
        assert shelf.functions() == {address: add.schema}
        assert shelf.resolve_function(address) is add
        shelf.remove(address)
        assert shelf.functions() == {}
        with pytest.raises(RegistryError):
            shelf.remove(address)


def test_a_service_is_published_as_a_whole_or_not_at_all() -> None:
    with Shelf() as shelf:
        address = shelf.apply_service(Service("shop", [add]))
        assert str(address) == "shelf://shop"
        assert shelf.resolve_service(address)["add"](1, 2) == 3
        with pytest.raises(RegistryError, match="another service shop is published"):
            shelf.apply_service(Service("shop", [add]))
        shelf.remove(address)
        assert (shelf.functions(), shelf.services()) == ({}, {})

    broken = Shelf(OSError("no port"))
    for publish in (lambda: broken.apply(add), lambda: broken.apply_service(Service("shop", [add]))):
        with pytest.raises(OSError, match="no port"):
            publish()
        assert (broken.functions(), broken.services()) == ({}, {})


def test_a_service_is_rejected_as_a_function() -> None:
    with Shelf() as shelf, pytest.raises(ConfigError, match=r"apply_service\(Service\)"):
        shelf.apply(Service("shop", [add]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metadata", "address"),
    [
        (None, "shelf://add"),
        ({"service": "shop"}, "shelf://shop/add"),
        ({"version": "2"}, "shelf://add@2"),
        ({"service": "shop", "version": "2", "id": "3f2a9c51"}, "shelf://shop/add@2/3f2a9c51"),
    ],
)
def test_generate_address(metadata: dict[str, Any] | None, address: str) -> None:
    assert str(Shelf().generate_address("add", metadata)) == address


def test_the_life_of_a_portal_and_its_services() -> None:
    events: list[str] = []
    shelf = Shelf()
    shelf.apply_service(
        Service("shop", [add], on_start=lambda: events.append("start"), on_stop=lambda: events.append("stop"))
    )
    assert events == []
    with shelf:
        shelf.start()
        assert shelf.health() == {"status": "up", "functions": 1, "services": {"shop": "running"}}
        assert shelf.stats() == {"functions": 1}
    assert events == ["start", "stop"]
    assert (shelf.closed, shelf.accepting, shelf.health()["status"]) == (True, False, "down")
    shelf.close()
    with pytest.raises(RegistryError, match="this Shelf is closed; make a new one"):
        shelf.apply(add)


def test_a_failed_start_stops_the_started_services() -> None:
    events: list[str] = []

    def fail() -> None:
        raise OSError("no database")

    shelf = Shelf()
    shelf.apply_service(Service("one", [add], on_stop=lambda: events.append("stop one")))
    shelf.apply_service(Service("two", [add], on_start=fail))
    with pytest.raises(OSError, match="no database"):
        shelf.start()
    assert events == ["stop one"]
    shelf.close()


def test_each_change_of_what_is_published_changes_the_topology() -> None:
    shelf, versions = Shelf(), [topology.version]

    def changed() -> bool:
        versions.append(topology.version)
        return versions[-1] > versions[-2]

    address = shelf.apply(add)
    assert changed()
    shelf.remove(address)
    assert changed()
    shelf.stop()
    assert changed()
    shelf.close()
    assert changed()


def test_consumers_find_announced_portals_until_they_are_closed() -> None:
    first, second = Shelf(), Shelf()
    for shelf in (first, second):
        announce(shelf)
    assert in_process_portals("shelf") == [second, first]
    second.close()
    assert in_process_portals("shelf") == [first]
    del first, shelf
    gc.collect()
    assert in_process_portals("shelf") == []


def test_an_address_of_a_portal_that_was_not_started_is_known() -> None:
    class Server(Shelf):
        schemes = ("server",)
        in_process = False
        accepting = False  # type: ignore[assignment]

    server, address = Server(), Address.parse("server://add")
    assert not is_unstarted(address)
    announce(server)
    assert is_unstarted(address)
    assert not is_unstarted(Address.parse("shelf://add"))
    assert in_process_portals("server") == []
    server.close()
    assert not is_unstarted(address)
