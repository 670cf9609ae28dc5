"""Functions that a Consumer resolved: the same arguments and results at every address, with its middleware."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal import (
    AddressError,
    Consumer,
    Function,
    HTTPPortal,
    LocalPortal,
    RegistryError,
    ValidationError,
    WebSocketPortal,
    function,
    service,
)
from portal.calls.middleware import Call


@dataclass(frozen=True)
class Receipt:
    """A receipt."""

    number: int
    total: Decimal
    day: date | None = None


@function
def pay(total: Decimal, day: date) -> Receipt:
    """Pay."""
    return Receipt(1, total, day)


@function
def receipts(number: int) -> Iterator[Receipt]:
    """Stream receipts."""
    for one in range(number):
        yield Receipt(one, Decimal(one))


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@service(name="till")
class Till:
    """A till."""

    def total(self) -> int:
        """Return the total."""
        return 3


PORTALS: dict[str, Any] = {"local": LocalPortal, "http": HTTPPortal, "ws": WebSocketPortal}


@pytest.fixture(params=sorted(PORTALS))
def portal(request: pytest.FixtureRequest) -> Iterator[Any]:
    with PORTALS[request.param]() as portal:
        yield portal


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as consumer:
        yield consumer


DAY = date(2026, 1, 31)
JSON_DATA = {"number": 1, "total": "1.50", "day": "2026-01-31"}


def test_results_are_json_data_without_a_type(portal: Any, consumer: Consumer) -> None:
    found = consumer.resolve(portal.apply(pay))
    assert found(total=Decimal("1.50"), day=DAY) == JSON_DATA
    assert found.submit(Decimal("1.50"), DAY).result(30) == JSON_DATA
    assert repr(found) == f"<Function pay@1 at {found.address} returning JSON data>"
    stream = consumer.resolve(portal.apply(receipts))
    assert list(stream(number=2)) == [{"number": one, "total": str(one), "day": None} for one in range(2)]


def test_results_have_the_type_that_is_named(portal: Any, consumer: Consumer) -> None:
    found = consumer.resolve(portal.apply(pay), returns=Receipt)
    assert found(total=Decimal("1.50"), day=DAY) == Receipt(1, Decimal("1.50"), DAY)
    assert repr(found).endswith(" returning Receipt>")
    stream = consumer.resolve(portal.apply(receipts), returns=Receipt)
    assert list(stream(number=2)) == [Receipt(0, Decimal(0)), Receipt(1, Decimal(1))]
    assert list(stream.stream(1)) == [Receipt(0, Decimal(0))]
    optional = consumer.resolve(portal.apply(pay), returns=Receipt | None)
    assert repr(optional).endswith("Receipt | None>")


def test_a_result_of_another_type_is_rejected(portal: Any, consumer: Consumer) -> None:
    found = consumer.resolve(portal.apply(pay), returns=list[int])
    with pytest.raises(ValidationError, match="the result of pay does not fit returns=list"):
        found(total=Decimal("1.50"), day=DAY)


def test_a_call_of_scalars_gives_what_call_at_gives(portal: Any, consumer: Consumer) -> None:
    address = portal.apply(add)
    assert consumer.resolve(address)(a=1, b=2) == consumer.resolve(address)(1, 2) == 3
    assert consumer.resolve(address, returns=float)(a=1, b=2) == 3.0
    with pytest.raises(ValidationError, match="/a"):
        consumer.resolve(address)(a="1", b=2)


def test_the_middleware_of_the_consumer_is_around_each_call(portal: Any) -> None:
    names = []

    def note(call: Call, call_next: Any) -> Any:
        names.append((call.function.name, call.streaming))
        return call_next(call)

    with Consumer(middleware=[note]) as consumer:
        found = consumer.resolve(portal.apply(add), returns=int)
        assert found(a=1, b=2) == 3
        assert list(consumer.resolve(portal.apply(receipts))(number=1)) != []
    assert names == [("add", False), ("receipts", True)]


def test_the_address_of_a_service_is_rejected_with_the_method_to_use(portal: Any, consumer: Consumer) -> None:
    address = portal.apply_service(Till)
    for call in (consumer.resolve, consumer.call_at):
        with pytest.raises(RegistryError) as caught:
            call(address)
        if call is consumer.resolve or not portal.in_process:
            assert "there is a service at " in caught.value.message
            assert "Consumer.service(address)" in caught.value.hint
    with pytest.raises(RegistryError) as caught:
        consumer.resolve(address.child("nothing"))
    assert "service" not in caught.value.hint


def test_a_function_at_an_address_is_pickled_as_its_address(consumer: Consumer) -> None:
    with HTTPPortal() as http:
        address = http.apply(pay)
        found = consumer.resolve(address, returns=Receipt)
        again: Function = pickle.loads(pickle.dumps(found))
        assert again(total=Decimal("1.50"), day=DAY) == Receipt(1, Decimal("1.50"), DAY)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(consumer.resolve(address), Decimal("1.50"), DAY).result(120) == JSON_DATA


def test_a_function_of_a_consumer_with_settings_is_not_pickled() -> None:
    with HTTPPortal() as http, Consumer(auth="t0ken") as consumer:
        found = consumer.resolve(http.apply(pay))
        with pytest.raises(pickle.PicklingError, match="cannot be pickled; resolve its address in the other process"):
            pickle.dumps(found)


@pytest.mark.parametrize("target", ["shop/bill", ["http://127.0.0.1:9/api/pay", "http://127.0.0.1:19/api/pay"]])
def test_a_name_and_several_addresses_are_told_where_they_go(target: Any) -> None:
    with Consumer() as consumer:
        for method in (consumer.resolve, consumer.service):
            with pytest.raises(
                AddressError, match=r"; a name of a directory, or several addresses, go to Consumer\.call"
            ):
                method(target)
        with pytest.raises(AddressError) as caught:
            consumer.resolve("http://:80/api")
        assert "Consumer.call" not in caught.value.message
