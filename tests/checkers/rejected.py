"""Code of users with mistakes. Type checkers report an error in each line that ends in `# error`, and in no other."""

from __future__ import annotations

from portal import Consumer, HTTPPortal, LocalPortal, Retry, function, service


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


class NotAnError:
    """A class that cannot be raised."""


@function(raises=[NotAnError])  # error
def buy() -> None:
    """Declare what is not an error."""


def options() -> None:
    """Wrong options."""
    Consumer(auth=3)  # error
    Consumer(timeout="3")  # error
    Consumer(cache=True)  # error
    Consumer(retries=3)  # error
    HTTPPortal(port="80")  # error
    HTTPPortal(auth=3)  # error
    LocalPortal(middleware=3)  # error
    Retry(attempts="3")  # error


def calls(consumer: Consumer) -> None:
    """Wrong arguments and wrong uses of results."""
    consumer.call_at(3)  # error
    consumer.call_at("local://add", timeout="2")  # error
    consumer.call_at("local://add", {"a": 1}, {"b": 2})  # error
    consumer.call_at("local://add", unknown=1)  # error
    print(consumer.call_at("local://add").total)  # error
    consumer.call_at("local://add", returns=int).upper()  # error
    consumer.submit_at("local://add", returns=int).result().upper()  # error
    consumer.stream_at("local://add", max_in_flight=3)  # error
    consumer.map_at("local://add", [1, 2])  # error
    for number in consumer.map_at("local://add", [{"a": 1}], returns=int):
        print(number.upper())  # error
    consumer.resolve("local://add", returns=int)(1).upper()  # error
    consumer.subscribe("ws://host/ws/ticks", slow="never")  # error
