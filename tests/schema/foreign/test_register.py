"""`register_type`: a class of your own in type hints."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from portal import ConfigError, Consumer, HTTPPortal, LocalPortal, ValidationError, function, register_type
from portal.schema import Schema


class Money:
    """An amount in a currency."""

    def __init__(self, amount: Decimal, currency: str = "EUR") -> None:
        self.amount, self.currency = amount, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    @classmethod
    def parse(cls, text: str) -> Money:
        """Return the amount that a text names."""
        amount, _, currency = text.partition(" ")
        if currency not in ("EUR", "USD"):
            raise ValueError(f"must be in EUR or USD, got {currency!r}")
        return cls(Decimal(amount), currency)


class Euro:
    """An amount in euro."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount


PATTERN = "^[0-9]+(\\.[0-9]{2})? [A-Z]{3}$"
register_type(Money, to_json=str, from_json=Money.parse, schema={"type": "string", "pattern": PATTERN})
register_type(Euro, to_json=lambda one: one.amount, from_json=Euro, schema=Decimal)


@function
def double(price: Money, fee: Money | None = None) -> list[Money]:
    """Double a price."""
    return [Money(price.amount * 2, price.currency)] + ([] if fee is None else [fee])


def test_a_registered_type_travels() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(double)
        assert consumer.call_at(address, {"price": "1.20 EUR"}) == ["2.40 EUR"]
        assert consumer.call_at(address, {"price": "1.20 EUR"}, returns=list[Money]) == [Money(Decimal("2.40"))]
        found = http.resolve_function(address)
        assert found(price=Money(Decimal("1.20")), fee=Money(Decimal(1))) == ["2.40 EUR", "1 EUR"]
        assert double(Money(Decimal("1.20"))) == [Money(Decimal("2.40"))]
        with pytest.raises(ValidationError, match="/price") as caught:
            consumer.call_at(address, {"price": "1.20"})
        assert caught.value.errors[0].rule == "pattern"
        with pytest.raises(ValidationError, match="must be in EUR or USD, got 'GBP'"):
            consumer.call_at(address, {"price": "1.20 GBP"})


def test_a_hint_says_what_the_json_data_is() -> None:
    schema = Schema.of(Euro)
    assert schema.json == Schema.of(Decimal).json
    assert schema.dump(Euro(Decimal("1.50"))) == "1.50"
    assert schema.load("1.50").amount == Decimal("1.50")
    with pytest.raises(ValidationError):
        schema.dump("1.50 EUR")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"kind": "Money"}, "register_type.kind"),
        ({"to_json": "str"}, "register_type.to_json"),
        ({"from_json": None}, "register_type.from_json"),
        ({"schema": {"type": "text"}}, ""),
        ({"kind": Money}, "Money"),
    ],
)
def test_wrong_settings(options: dict[str, Any], path: str) -> None:
    settings = {"kind": Decimal, "to_json": str, "from_json": Decimal, "schema": str} | options
    with pytest.raises(ConfigError) as caught:
        register_type(settings.pop("kind"), **settings)
    assert (caught.value.path or "").startswith(path)


def test_a_subclass_is_not_registered() -> None:
    class Tip(Money):
        """A tip."""

    with pytest.raises(ConfigError, match=r"Tip has no JSON Schema"):
        Schema.of(Tip)


class Points:
    def __init__(self, count: int) -> None:
        self.count = count


register_type(Points, to_json=lambda points: points.count, from_json=Points, schema={"type": "integer"})


def test_a_parameter_of_a_plain_json_type_is_converted() -> None:
    @function
    def total(points: Points, more: int) -> Points:
        return Points(points.count + more)

    with LocalPortal() as local, HTTPPortal() as http, Consumer() as consumer:
        for address in (local.apply(total), http.apply(total)):
            assert consumer.call_at(address, {"points": 1, "more": 2}) == 3
