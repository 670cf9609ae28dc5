"""PortalRegistry: resolve addresses by scheme."""

from __future__ import annotations

import pytest

from portal import LocalPortal, PortalRegistry, RegistryError, Service, TestingPortal, TransportError
from portal.address import Address
from portal.registry.portals import resolve_first


def one() -> int:
    return 1


def two() -> int:
    return 2


def test_portals_by_scheme() -> None:
    with LocalPortal() as first, LocalPortal() as second:
        registry = PortalRegistry([first])
        registry.register(second)
        first.apply(one)
        second.apply(two)
        first.apply_service(Service("s", [one]))
        assert registry.schemes() == ["local"]
        assert registry.portals() == [second, first]
        assert registry.resolve("local://one")() == 1
        assert registry.resolve("local://two")() == 2
        assert registry.resolve_service("local://s")["one"]() == 1
        with pytest.raises(RegistryError):
            registry.resolve("local://three")
        with pytest.raises(RegistryError):
            registry.resolve_service("local://t")
        with pytest.raises(RegistryError) as caught:
            registry.register(first)
        assert caught.value.kind == "conflict"
        registry.unregister(first)
        with pytest.raises(RegistryError):
            registry.unregister(first)
        with pytest.raises(RegistryError):
            registry.resolve("local://one")
        registry.unregister(second)
        with pytest.raises(RegistryError, match="no portal is registered for local://; registered: none"):
            registry.resolve("local://two")


def test_the_newest_portal_is_asked_first_and_every_portal_of_a_scheme_has_a_turn() -> None:
    def forty_two() -> int:
        return 42

    with LocalPortal() as first, LocalPortal() as second, TestingPortal() as testing:
        registry = PortalRegistry([first, second, testing])
        first.apply(one)
        first.apply(forty_two)
        second.apply(one)
        assert registry.get("local") == (second, first)
        assert registry.resolve("local://one").portal is second  # type: ignore[attr-defined]
        assert registry.resolve("local://forty_two").portal is first  # type: ignore[attr-defined]
        with pytest.raises(RegistryError, match="no portal is registered for http://; registered: local://, test://"):
            registry.get("http")


def test_only_a_registry_error_passes_the_address_on() -> None:
    class Unreachable(LocalPortal):
        def resolve_function(self, address: Address | str) -> None:  # type: ignore[override]
            raise TransportError("no connection")

    address = Address.parse("local://one")
    with LocalPortal() as empty, LocalPortal() as local, Unreachable() as unreachable:
        local.apply(one)
        assert resolve_first([empty, local], address)() == 1
        with pytest.raises(RegistryError):
            resolve_first([local, empty], Address.parse("local://two"))
        with pytest.raises(TransportError):
            resolve_first([unreachable, local], address)
