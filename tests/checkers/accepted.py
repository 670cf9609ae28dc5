"""Code of users that type checkers accept. It is not run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, assert_type

import flask

from portal import (
    Consumer,
    Event,
    Function,
    HTTPPortal,
    Identity,
    JSONValue,
    PortalError,
    Subscription,
    function,
    service,
)
from portal.auth import AuthRequest, CredentialSource, FlaskSession, needs_body
from portal.http import mount
from portal.schema import Bytes, File


@function
def add(a: float, b: float = 1) -> float:
    """Add two numbers."""
    return a + b


@function(idempotent=True, timeout=2.0)
def count(number: int) -> Iterator[int]:
    """Count to a number."""
    yield from range(number)


class SoldOut(PortalError):
    """The article is sold out."""

    code = "sold_out_in_shop"
    members = ("sku", "missing")

    def __init__(self, message: str = "", *, sku: str = "", missing: int = 0, **common: Any) -> None:
        super().__init__(message, **common)
        self.sku = sku
        self.missing = missing


@service(name="shop")
class Shop:
    """A shop."""

    @function(raises=[SoldOut])
    def level(self, sku: str) -> int:
        """Return how many are in stock."""
        return len(sku)

    @function(cacheable=True)
    def lines(self, sku: str) -> Iterator[str]:
        """Stream the lines of an article."""
        yield sku

    def label(self, photo: File, pages: list[File], data: Bytes = b"") -> Bytes:
        """Return the content of files."""
        return photo.read() + data

    def scan(self, page: File | None = None) -> File:
        """Return a file."""
        return page or File(b"")

    def total(self) -> int:
        """Call another function of the service."""
        return self.level("PEN") + self.level(sku="BAG")


def signatures(shop: Shop) -> None:
    """A Function has the parameters and the result of the callable."""
    assert_type(add(1, b=2), float)
    assert_type(add.call(1), float)
    assert_type(add.submit(1, b=2), Future[float])
    assert_type(add.submit(1, executor=None), Future[float])
    assert_type(shop.level("PEN"), int)
    assert_type(shop.level.submit(sku="PEN"), Future[int])


def streams(shop: Shop) -> None:
    """A generator function is a stream."""
    assert_type(count(3), Iterator[int])
    assert_type(count.stream(number=3), Iterator[int])
    assert_type(shop.lines("PEN"), Iterator[str])
    assert_type(shop.lines.stream("PEN"), Iterator[str])


def name_of(found: Function) -> str:
    """`Function` alone is any function."""
    return found.name


def any_function(shop: Shop) -> list[str]:
    """Each Function is a Function of any parameters."""
    return [name_of(add), name_of(shop.level), name_of(Function.of(len))]


@dataclass
class Invoice:
    """An invoice."""

    total: Decimal


def results(consumer: Consumer, rows: list[dict[str, str]]) -> None:
    """Name a type, and the result has it."""
    assert_type(consumer.call_at("local://price", {"sku": "PEN"}, returns=Invoice), Invoice)
    assert_type(consumer.call_at("local://price", returns=Invoice | None), Invoice | None)
    assert_type(consumer.call_at("local://price", returns=list[Invoice]), list[Invoice])
    assert_type(consumer.call_at("local://price", timeout=2.0), JSONValue)
    assert_type(consumer.submit_at("local://price", returns=Invoice), Future[Invoice])
    assert_type(consumer.submit_at("local://price"), Future[JSONValue])
    assert_type(consumer.map_at("local://price", rows, returns=Invoice), Iterator[Invoice])
    assert_type(consumer.map_at("local://price", rows), Iterator[JSONValue])
    assert_type(consumer.stream_at("local://lines", returns=Invoice), Iterator[Invoice])
    assert_type(consumer.stream_at("local://lines"), Iterator[JSONValue])


def resolved(consumer: Consumer) -> None:
    """Functions at addresses."""
    price = consumer.resolve("local://price", returns=Invoice)
    assert_type(price(sku="PEN"), Invoice)
    assert_type(price.stream(sku="PEN"), Iterator[Invoice])
    assert_type(consumer.resolve("local://price")(sku="PEN"), JSONValue)
    assert_type(consumer.service("local://shop").price.name, str)


@needs_body
def by_secret(request: AuthRequest) -> Identity | None:
    """Authenticate a request by its body."""
    return Identity("shop") if request.headers.get("X-Secret") == request.body.decode() else None


def by_address(request: CredentialSource) -> Identity | None:
    """Authenticate a request by its address."""
    return Identity("shop") if request.peer == "10.0.0.1" else None


def mounted(app: flask.Flask) -> None:
    """An application of Flask takes the place of its own."""
    http = HTTPPortal(listen=False, auth=[by_secret, by_address, FlaskSession(app)])
    app.wsgi_app = mount(app.wsgi_app, http.wsgi)  # type: ignore[method-assign]


def topics(consumer: Consumer) -> None:
    """Events of topics."""
    with consumer.subscribe("ws://host/ws/invoices", returns=Invoice) as subscription:
        assert_type(subscription, Subscription[Invoice])
        event = subscription.next(timeout=1.0)
        if isinstance(event, Event):
            assert_type(event.data, Invoice)
    assert_type(consumer.subscribe("ws://host/ws/invoices"), Subscription[JSONValue])
