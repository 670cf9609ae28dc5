"""An order of 20 lines, which the comparisons of objects convert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LINES", "ORDER", "Item", "Order", "copy_order"]

LINES = 20


@dataclass
class Item:
    """One line of an order."""

    sku: str
    quantity: int
    price: float


@dataclass
class Order:
    """An order."""

    customer: str
    items: list[Item]


#: The order as JSON data.
ORDER: dict[str, Any] = {
    "customer": "ann",
    "items": [{"sku": f"PEN-{number}", "quantity": number + 1, "price": 1.5 * number} for number in range(LINES)],
}


def copy_order(order: Order) -> Order:
    """Return the order, so that it is converted in both directions."""
    return order
