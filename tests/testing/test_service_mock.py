from __future__ import annotations

import pytest

from portal import ConfigError, Consumer, RegistryError, Service, TestingPortal, ValidationError, function, service
from portal.consumer import Client
from portal.testing.service_mock import MockedService, members_of


@service(name="warehouse")
class Warehouse:
    def __init__(self, database: object) -> None:
        raise AssertionError("a mock needs no database")

    @function(idempotent=True)
    def level(self, sku: str) -> int:
        """Return how many are left."""
        raise AssertionError("the real one must not be called")

    def move(self, sku: str, number: int = 1) -> None:
        raise AssertionError("the real one must not be called")

    def address(self) -> str:
        raise AssertionError("the real one must not be called")


def test_the_functions_of_a_service_class(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    warehouse = portal_testing.mock(Warehouse)
    warehouse.level.returns(7)
    warehouse["address"].returns("Dock 3")
    portal_testing.expect("warehouse/level").with_params(sku="PEN").times(1)
    assert portal_consumer.call_at("test://warehouse/level", {"sku": "PEN"}) == 7
    assert portal_consumer.call_at("test://warehouse/address") == "Dock 3"
    with pytest.raises(ValidationError):
        portal_consumer.call_at("test://warehouse/level", {"sku": 3})
    assert str(warehouse.address) == "test://warehouse"
    assert list(warehouse) == ["address", "level", "move"]
    assert "level" in dir(warehouse)
    assert "level" in repr(warehouse)


def test_an_unknown_function_is_named(portal_testing: TestingPortal) -> None:
    warehouse = portal_testing.mock(Warehouse)
    with pytest.raises(RegistryError, match="no function levle"):
        warehouse["levle"]
    with pytest.raises(AttributeError, match="no function levle"):
        warehouse.levle  # noqa: B018
    with pytest.raises(AttributeError):
        warehouse._levle  # noqa: B018


def test_functions_of_a_service_by_name(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    level = portal_testing.mock("warehouse/level").returns(7)
    portal_testing.mock("warehouse/move").returns(None)
    assert str(level.address) == "test://warehouse/level/1"
    assert portal_consumer.call_at("test://warehouse/level", {"sku": "PEN"}) == 7
    assert portal_consumer.call_at("test://warehouse/move") is None
    found = portal_testing.resolve_service("test://warehouse")
    assert sorted(found.functions) == ["level", "move"]
    portal_testing.remove("test://warehouse")
    with pytest.raises(RegistryError):
        portal_consumer.call_at("test://warehouse/level", {"sku": "PEN"})


def test_a_function_beside_those_of_a_real_service(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    def stock(sku: str) -> int:
        return 3

    portal_testing.apply_service(Service("shop", [stock]))
    portal_testing.mock("shop/price").returns(12)
    assert portal_consumer.call_at("test://shop/stock", {"sku": "PEN"}) == 3
    assert portal_consumer.call_at("test://shop/price") == 12
    with pytest.raises(RegistryError, match="is published already; change the mock that the first mock"):
        portal_testing.mock("shop/stock")


def test_members_of_a_service() -> None:
    given = Service("shop", [])
    assert members_of(given) is given
    assert members_of(abs) is None
    assert members_of("shop/stock") is None
    found = members_of(Warehouse)
    assert found is not None
    assert found.name == "warehouse"


def test_a_mocked_service_gets_each_function_once() -> None:
    mocked = MockedService("shop")
    member = function(name="stock")(lambda: None)
    mocked.include(member)
    mocked.include(function(name="stock", version="2")(lambda: None))
    assert mocked.functions == {"stock": member}


def test_a_client_is_not_a_service(portal_testing: TestingPortal) -> None:
    class Shop(Client):
        """A client that `portal stub` wrote."""

    for source in (Shop, Shop("local://shop")):
        with pytest.raises(ConfigError, match='the name of a function, such as "warehouse/level", not a client'):
            portal_testing.mock(source)
