"""Client: the base class of the clients that `portal stub` writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from portal import Consumer, HTTPPortal, LocalPortal, Service, ValidationError, function
from portal.consumer import OMIT, Client


class Color(Enum):
    """A color of the client."""

    RED = "red"


@dataclass
class Part:
    """A part of the client."""

    name: str
    price: Decimal
    color: Color | None = field(default=None, metadata=OMIT)
    parts: list[Part] | None = field(default=None, metadata=OMIT)


class Shop(Client):
    """A client as it is written."""

    ADDRESS = "local://shop"

    def sell(self, part: Part, day: dt.date, limit: int | None = None) -> Part:
        """Sell."""
        return self._call("sell", {"part": part, "day": day, "limit": limit}, returns=Part, omit=("limit",))

    def codes(self, by: dict[int, UUID]) -> Iterator[UUID]:
        """Stream codes."""
        return self._stream("codes", {"by": by}, returns=UUID)

    def clear(self, note: str | None) -> None:
        """Clear."""
        self._call("clear", {"note": note}, returns=None)


@dataclass
class ServerPart:
    """A part of the server."""

    name: str
    price: Decimal
    color: str = "red"
    parts: list[ServerPart] = field(default_factory=list)


notes: list[str | None] = []


def sell(part: ServerPart, day: dt.date, limit: int = 3) -> ServerPart:
    return ServerPart(f"{part.name} {day:%d} {limit}", part.price, part.color, part.parts)


def codes(by: dict[int, UUID]) -> Iterator[UUID]:
    yield from by.values()


def clear(note: str | None) -> None:
    notes.append(note)


PORTALS: dict[str, Any] = {"local": LocalPortal, "http": HTTPPortal}


@pytest.fixture(params=sorted(PORTALS))
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with PORTALS[request.param]() as portal, Consumer() as consumer:
        yield Shop(portal.apply_service(Service("shop", [sell, codes, clear])), consumer)


DAY = dt.date(2026, 1, 31)


def test_values_of_the_module_are_sent_and_come_back(shop: Shop) -> None:
    part = Part("pen", Decimal("1.50"), Color.RED, [Part("cap", Decimal("0.10"))])
    sold = shop.sell(part, DAY)
    assert (sold.name, sold.price, sold.color) == ("pen 31 3", Decimal("1.50"), Color.RED)
    assert sold.parts == [Part("cap", Decimal("0.10"), Color.RED, [])]
    assert shop.sell(part, DAY, limit=1).name == "pen 31 1"
    one = UUID(int=1)
    assert list(shop.codes({7: one})) == [one]


def test_none_is_sent_where_it_is_a_value(shop: Shop) -> None:
    notes.clear()
    shop.clear(None)
    shop.clear("x")
    assert notes == [None, "x"]


def test_wrong_values_are_rejected(shop: Shop) -> None:
    with pytest.raises(ValidationError, match="/part/name"):
        shop.sell(Part(3, Decimal(1)), DAY)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="/day"):
        shop.sell(Part("x", Decimal(1)), "never")  # type: ignore[arg-type]


def test_a_client_without_arguments_calls_the_address_of_its_module() -> None:
    with LocalPortal() as local:
        local.apply_service(Service("shop", [sell, codes, clear]))
        client = Shop()
        assert client.sell(Part("pen", Decimal(1)), DAY).name == "pen 31 3"
        assert repr(client) == "<Shop local://shop>"


def test_functions_without_a_service() -> None:
    class Functions(Client):
        ADDRESS = "local://"

        def double(self, number: int) -> int:
            return self._call("double", {"number": number}, returns=int)

    def double(number: int) -> int:
        return 2 * number

    with LocalPortal() as local:
        local.apply(function(double))
        assert Functions().double(2) == 4
