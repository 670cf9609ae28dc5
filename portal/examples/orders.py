"""Price orders: an example service with nested input, exact amounts and a stream.

    portal serve portal.examples.orders:service --http 127.0.0.1:8080

Amounts are decimals. JSON carries them as strings, so they stay exact.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

import portal
from portal import CallContext, Fault, ValidationError
from portal.schema import Description, Ge, Le, MaxLen, MinLen, Pattern

__all__ = ["Customer", "Entry", "Invoice", "Item", "Line", "Order", "OrderFailed", "Orders", "Quote", "service"]

Name = Annotated[str, MinLen(1), MaxLen(200)]
Sku = Annotated[str, Pattern("^[A-Z]{3}-[0-9]{3}$"), Description("Article number, such as PEN-001.")]
Number = Annotated[float, Ge(-1e300), Le(1e300)]  # the sum of two such numbers is finite
Quantity = Annotated[int, Ge(1), Le(10_000)]
Price = Annotated[Decimal, Pattern("^[0-9]{1,7}([.][0-9]{1,2})?$"), Description("Euro, such as 9.90.")]
Money = Annotated[Decimal, Pattern("^[0-9]{1,15}[.][0-9]{2}$"), Description("Euro, with two decimal places.")]

PRICES = {"PEN-001": Decimal("1.20"), "BAG-002": Decimal("39.90"), "LMP-003": Decimal("64.50")}
DISCOUNTS = {"WELCOME10": Decimal("0.10"), "SUMMER25": Decimal("0.25")}
DELIVERY = Decimal("4.90")
FREE_DELIVERY_FROM = Decimal("50.00")


@dataclass(frozen=True)
class Customer:
    """The customer of an order."""

    name: Name
    email: Annotated[str, Pattern("^[^@\\s]+@[^@\\s]+$")]


@dataclass(frozen=True)
class Item:
    """One item of an order."""

    sku: Sku
    quantity: Quantity
    unit_price: Price


@dataclass(frozen=True)
class Order:
    """An order to be priced."""

    customer: Customer
    items: Annotated[list[Item], MinLen(1), MaxLen(500)]
    coupon: Annotated[str, Pattern("^[A-Z0-9]{4,12}$")] | None = None
    deliver_on: date | None = None


@dataclass(frozen=True)
class Line:
    """One priced item of an invoice."""

    sku: Sku
    quantity: Quantity
    amount: Money


@dataclass(frozen=True)
class Invoice:
    """A priced order."""

    customer: str
    lines: list[Line]
    subtotal: Money
    discount: Money
    delivery: Money
    total: Money
    deliver_on: date | None


@dataclass(frozen=True)
class Quote:
    """The list price of one article."""

    sku: Sku
    quantity: Quantity
    unit_price: Price
    total: Money


@dataclass(frozen=True)
class Entry:
    """One past order of a customer."""

    number: str
    placed: date
    total: Money


class OrderFailed(Exception):
    """The exception of `fail`. Portal does not know this class."""


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def _discount_of(coupon: str | None) -> Decimal:
    if coupon is None:
        return Decimal(0)
    if coupon not in DISCOUNTS:
        raise ValidationError(errors=[Fault("/order/coupon", "unknown coupon", "known", None, coupon)])
    return DISCOUNTS[coupon]


@portal.service(name="orders", version="1")
class Orders:
    """Prices orders."""

    @portal.function(
        idempotent=True,
        tags=("pricing",),
        examples=[
            {
                "input": {
                    "order": {
                        "customer": {"name": "Ann Li", "email": "ann@example.com"},
                        "items": [{"sku": "PEN-001", "quantity": 10, "unit_price": "1.20"}],
                        "coupon": "WELCOME10",
                        "deliver_on": "2026-12-01",
                    }
                },
                "output": {
                    "customer": "Ann Li",
                    "lines": [{"sku": "PEN-001", "quantity": 10, "amount": "12.00"}],
                    "subtotal": "12.00",
                    "discount": "1.20",
                    "delivery": "4.90",
                    "total": "15.70",
                    "deliver_on": "2026-12-01",
                },
            }
        ],
    )
    def price(self, order: Order) -> Invoice:
        """Price an order.

        A coupon reduces the price of the goods. Delivery is free if the goods cost 50.00 or more.
        """
        lines = [Line(item.sku, item.quantity, _cents(item.quantity * item.unit_price)) for item in order.items]
        subtotal = sum((line.amount for line in lines), Decimal("0.00"))
        discount = _cents(subtotal * _discount_of(order.coupon))
        goods = subtotal - discount
        delivery = Decimal("0.00") if goods >= FREE_DELIVERY_FROM else DELIVERY
        return Invoice(order.customer.name, lines, subtotal, discount, delivery, goods + delivery, order.deliver_on)

    @portal.function(
        idempotent=True,
        cacheable=True,
        tags=("pricing",),
        examples=[
            {
                "input": {"sku": "BAG-002", "quantity": 2},
                "output": {"sku": "BAG-002", "quantity": 2, "unit_price": "39.90", "total": "79.80"},
            }
        ],
    )
    def quote(self, sku: Sku, quantity: Quantity = 1) -> Quote:
        """Return the list price of an article."""
        if sku not in PRICES:
            raise ValidationError(errors=[Fault("/sku", "unknown article", "known", sorted(PRICES), sku)])
        return Quote(sku, quantity, PRICES[sku], _cents(PRICES[sku] * quantity))

    @portal.function(
        idempotent=True, cacheable=True, tags=("arithmetic",), examples=[{"input": {"a": 1, "b": 2}, "output": 3.0}]
    )
    def add(self, a: Number, b: Number) -> float:
        """Add two numbers."""
        return a + b

    @portal.function(
        idempotent=True,
        tags=("customers",),
        examples=[
            {
                "input": {"customer": "ann", "limit": 1},
                "output": [{"number": "ann-1", "placed": "2026-01-08", "total": "10.50"}],
            }
        ],
    )
    def history(self, customer: Name, limit: Annotated[int, Ge(1), Le(1000)] = 10) -> Iterator[Entry]:
        """Stream the past orders of a customer, oldest first."""
        for number in range(1, limit + 1):
            yield Entry(f"{customer}-{number}", date(2026, 1, 1) + timedelta(weeks=number), number * Decimal("10.50"))

    @portal.function(tags=("failing",), examples=[{"input": {"reason": "out of stock"}}])
    def fail(self, reason: Annotated[str, MaxLen(200)]) -> None:
        """Raise an exception with the given reason."""
        raise OrderFailed(reason)

    @portal.function(idempotent=True, tags=("failing",), examples=[{"input": {"seconds": 0.01}, "output": 0.01}])
    def slow(self, seconds: Annotated[float, Ge(0), Le(60)], context: CallContext) -> float:
        """Wait and return the number of seconds. A cancelled call stops early."""
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)
        left = context.remaining()
        cancelled.wait(seconds if left is None else min(seconds, left))
        context.check()
        return seconds


service = portal.Service.of(Orders)
