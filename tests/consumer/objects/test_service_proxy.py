"""ServiceProxy: the functions of a service as attributes of an object."""

from __future__ import annotations

import multiprocessing
import pickle
import pydoc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from portal import Address, Consumer, HTTPPortal, LocalPortal, RegistryError, Service, ValidationError, WebSocketPortal
from portal import function as make
from portal.consumer.objects.service_proxy import ServiceProxy, UnknownFunctionError


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
    assert "The stock of a shop." in text
    for signature, words in (
        ("level(sku: str) -> int", "Return how many are in stock."),
        ("skus(number: int) -> collections.abc.Iterator[str]", "Stream article numbers."),
        ("stock-level(sku: str) -> int", "Return the same by another name."),
    ):
        assert f"    {signature}\n        {words}\n" in f"{text}\n"
    assert "More words." not in text
    assert (ServiceProxy.__doc__ or "").startswith("The functions of a service at an address")


def test_help_of_a_service_whose_server_is_gone_lists_names() -> None:
    with Consumer() as consumer:
        with HTTPPortal() as http:
            proxy = consumer.service(http.apply_service(warehouse()))
        text = pydoc.plain(pydoc.render_doc(proxy))
    assert "    level\n        Return how many are in stock.\n" in text


def test_help_leaves_out_the_signature_of_a_function_that_is_gone() -> None:
    with LocalPortal() as local, Consumer([local]) as consumer:
        address = local.apply_service(warehouse(level))
        proxy = ServiceProxy(address, "", lambda: {"count": "Count.", "level": ""}, consumer.resolve)
        assert proxy.__doc__ == (
            f"The service at {address}.\n\nFunctions:\n\ncount\n    Count.\n\nlevel(sku: str) -> int"
        )


def call_level(proxy: ServiceProxy) -> Any:
    return proxy.level(sku="PEN")


def test_a_proxy_is_pickled_as_its_address(consumer: Consumer) -> None:
    with HTTPPortal() as http:
        proxy = consumer.service(http.apply_service(warehouse()))
        again = pickle.loads(pickle.dumps(proxy))
        assert repr(again) == repr(proxy)
        assert again.level(sku="PEN") == 3
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(call_level, proxy).result(120) == 3


def test_a_proxy_of_a_consumer_with_settings_is_not_pickled() -> None:
    with HTTPPortal() as http, Consumer(auth="t0ken") as consumer:
        proxy = consumer.service(http.apply_service(warehouse()))
        with pytest.raises(pickle.PicklingError, match=r"its consumer has settings; call Consumer\.service\("):
            pickle.dumps(proxy)


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

    proxy = ServiceProxy(Address.parse("http://h/api/warehouse"), "", fetch, resolve, clock=lambda: now[0])
    with pytest.raises(UnknownFunctionError):
        _ = proxy.count
    now[0] = 6.0
    assert proxy.count is level
    assert proxy["count@2"] is level
    with pytest.raises(UnknownFunctionError):
        _ = proxy.other
    assert fetched == [0.0, 6.0]
    assert resolved == ["http://h/api/warehouse/count", "http://h/api/warehouse/count@2"]
