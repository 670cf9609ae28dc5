"""ServiceProxy: the functions of a service as attributes of an object."""

from __future__ import annotations

import pydoc
from collections.abc import Iterator
from typing import Any

import pytest

from portal import Address, Consumer, HTTPPortal, LocalPortal, RegistryError, Service, ValidationError, WebSocketPortal
from portal import function as make
from portal.consumer.objects.service_proxy import UnknownFunctionError, service_proxy


def level(sku: str) -> int:
    """Return how many are in stock.

    More words.
    """
    return len(sku)


@make(name="stock-level")
def stock_level(sku: str) -> int:
    """Return the same by another name."""
    return len(sku)


def skus(number: int) -> Iterator[str]:
    """Stream article numbers."""
    for one in range(number):
        yield f"PEN-{one}"


PORTALS: dict[str, Any] = {"local": LocalPortal, "http": HTTPPortal, "ws": WebSocketPortal}


def warehouse(*functions: Any) -> Service:
    return Service("warehouse", functions or (level, stock_level, skus), description="The stock of a shop.")


@pytest.fixture(params=sorted(PORTALS))
def portal(request: pytest.FixtureRequest) -> Iterator[Any]:
    with PORTALS[request.param]() as portal:
        yield portal


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as consumer:
        yield consumer


def test_functions_are_attributes(portal: Any, consumer: Consumer) -> None:
    address = portal.apply_service(warehouse())
    proxy = consumer.service(address)
    assert proxy.level(sku="PEN") == proxy.level("PEN") == 3
    assert proxy["stock-level"](sku="PEN") == 3
    assert proxy["level@1"](sku="PEN") == 3
    assert list(proxy.skus(number=2)) == ["PEN-0", "PEN-1"]
    assert proxy.level is proxy.level
    assert list(proxy) == ["level", "skus", "stock-level"]
    assert {"level", "skus"} <= set(dir(proxy))
    assert "stock-level" not in dir(proxy)
    assert repr(proxy) == f"<ServiceProxy {address}: level, skus, stock-level>"


def test_help_lists_the_functions(portal: Any, consumer: Consumer) -> None:
    proxy = consumer.service(portal.apply_service(warehouse()))
    text = pydoc.plain(pydoc.render_doc(proxy))
    for line in ("The stock of a shop.", "level", "Return how many are in stock.", "Stream article numbers."):
        assert line in text
    assert "More words." not in text


def test_a_mistake_fails_before_anything_is_sent(portal: Any, consumer: Consumer) -> None:
    calls = []

    def count(number: int) -> int:
        calls.append(number)
        return number

    proxy = consumer.service(portal.apply_service(warehouse(count, level)))
    with pytest.raises(ValidationError, match="/number"):
        proxy.count(number="3")
    with pytest.raises(ValidationError, match="/amount"):
        proxy.count(amount=3)
    with pytest.raises(UnknownFunctionError, match=r"has no function 'levels'; did you mean level\?") as caught:
        proxy.levels(sku="PEN")
    assert isinstance(caught.value, RegistryError)
    assert (caught.value.name, caught.value.kind) == ("levels", "not_found")
    assert not hasattr(proxy, "nothing")
    assert not hasattr(proxy, "_private")
    with pytest.raises(UnknownFunctionError, match=r"has no function 'x'; it has count, level"):
        proxy["x"]
    assert calls == []


def test_other_addresses_are_rejected(portal: Any, consumer: Consumer) -> None:
    address = portal.apply(level)
    with pytest.raises(RegistryError, match="there is no service"):
        consumer.service(address)


def test_a_proxy_follows_a_redeployment() -> None:
    with LocalPortal() as local, Consumer([local]) as consumer:
        address = local.apply_service(warehouse(level))
        proxy = consumer.service(address)
        assert proxy.level(sku="PEN") == 3

        def replaced(sku: str, place: str = "here") -> str:
            return sku + place

        local.remove(address)
        local.apply_service(warehouse(make(name="level")(replaced)))
        assert proxy.level(sku="PEN") == "PENhere"


def test_an_unknown_name_asks_again_when_the_list_is_old_enough() -> None:
    now, lists = [0.0], [{"level": ""}, {"level": "", "count": ""}]
    fetched = []

    def fetch() -> dict[str, str]:
        fetched.append(now[0])
        return lists[min(len(fetched), 2) - 1]

    resolved: list[str] = []

    def resolve(address: Address) -> Any:
        resolved.append(str(address))
        return level

    proxy = service_proxy(Address.parse("http://h/api/warehouse"), "", fetch, resolve, clock=lambda: now[0])
    assert proxy.__doc__ is not None
    assert proxy.__doc__.startswith("The service at http://h/api/warehouse.\n\nFunctions:")
    with pytest.raises(UnknownFunctionError):
        _ = proxy.count
    now[0] = 6.0
    assert proxy.count is level
    assert proxy["count@2"] is level
    with pytest.raises(UnknownFunctionError):
        _ = proxy.other
    assert fetched == [0.0, 6.0]
    assert resolved == ["http://h/api/warehouse/count", "http://h/api/warehouse/count@2"]
