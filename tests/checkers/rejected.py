"""Code of users with mistakes. Type checkers report an error in each line that ends in `# error`, and in no other."""

from __future__ import annotations

from portal import function, service


@function
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


@service(name="shop")
class Shop:
    """A shop."""

    @function(cacheable=True)
    def level(self, sku: str) -> int:
        """Return how many are in stock."""
        return len(sku)


@function(idempotent="yes")  # error
def late() -> None:
    """Have a flag of the wrong type."""


def arguments(shop: Shop) -> None:
    """Wrong arguments."""
    add("x")  # error
    add()  # error
    add(1, 2, 3)  # error
    add(a=1, c=2)  # error
    add.call("x")  # error
    add.submit("x")  # error
    shop.level(3)  # error
    shop.level()  # error
    shop.level(article="PEN")  # error


def results(shop: Shop) -> None:
    """Wrong uses of results."""
    text: str = add(1)  # error
    number: str = shop.level("PEN")  # error
    print(text, number)
