from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import Address, RegistryError, Service, function
from portal.catalogue import Catalogue
from portal.network.listing import Listing

BASE = Address.parse("http://127.0.0.1:8080/api")


@function
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function(version="2")
def count(stop: int) -> Iterator[int]:
    yield from range(stop)


@pytest.fixture
def listing() -> Listing:
    catalogue = Catalogue("fingerprint")
    catalogue.add(add)
    catalogue.add(count, ("shop",))
    services = {"shop": Service("shop", [count], description="Sells.")}
    return Listing(catalogue, services, lambda path: BASE.child(*path))


def test_the_list_of_functions_and_services(listing: Listing) -> None:
    found = listing.describe((), None, None)
    first, second = found["functions"]
    assert first == {
        "name": "add",
        "address": f"{BASE}/add/{add.schema.fingerprint}",
        "version": "1",
        "service": None,
        "description": "Add two numbers.",
        "fingerprint": add.schema.fingerprint,
        "streaming": False,
    }
    assert second["address"] == f"{BASE}/shop/count/{count.schema.fingerprint}"
    assert (second["service"], second["version"], second["streaming"]) == ("shop", "2", True)
    assert [service["name"] for service in found["services"]] == ["shop"]


def test_a_service_lists_its_functions(listing: Listing) -> None:
    found = listing.describe(("shop",), None, None)
    assert (found["name"], found["description"], found["state"]) == ("shop", "Sells.", "stopped")
    assert [row["name"] for row in found["functions"]] == ["count"]


def test_addresses_are_below_the_base_that_the_client_sees(listing: Listing) -> None:
    public = Address.parse("https://shop.example/calls")
    rows = listing.describe((), None, public)["functions"]
    assert [row["address"].partition("/calls/")[0] for row in rows] == ["https://shop.example"] * 2


def test_a_function_is_described_by_its_schema(listing: Listing) -> None:
    assert listing.describe(("add",), None, None) == add.schema.to_dict()
    assert listing.describe(("shop", "count"), ">=1", None) == count.schema.to_dict()


@pytest.mark.parametrize(("path", "version"), [(("ad",), None), (("add",), ">=2"), (("shop", "add"), None)])
def test_an_unknown_path_is_not_found(listing: Listing, path: tuple[str, ...], version: str | None) -> None:
    with pytest.raises(RegistryError) as caught:
        listing.describe(path, version, None)
    assert caught.value.kind == "not_found"


def test_lists_are_at_the_base_and_at_services(listing: Listing) -> None:
    assert [listing.is_list(path) for path in ((), ("shop",), ("add",), ("shop", "count"))] == [
        True,
        True,
        False,
        False,
    ]
