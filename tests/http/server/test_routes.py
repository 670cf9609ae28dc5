"""Routes: a repeated head leads where it led before, until what is published or what the request says has changed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest

from portal import HTTPPortal, function
from portal.catalogue import Catalogue
from portal.function import Function
from portal.http.server.routes import Routes
from portal.http11.head_cache import HeadCache
from portal.serving import Request

HEAD = (
    "POST /add HTTP/1.1\r\nHost: a\r\n{more}Content-Type: {content}\r\n"
    "X-Request-ID: {number}\r\nContent-Length: 2\r\n\r\n"
)


def add(a: float, b: float) -> float:
    return a + b


def numbers(count: int) -> Any:
    yield from range(count)


class Heads:
    """Parses heads with one cache, as a listener does."""

    def __init__(self) -> None:
        self._cache = HeadCache()
        self._number = 0

    def request(self, more: str = "", content: str = "application/json") -> Request:
        self._number += 1
        head = HEAD.format(more=more, content=content, number=self._number)
        return Request(self._cache.parse(head.encode()), b"{}")


@pytest.fixture
def heads() -> Heads:
    found = Heads()
    found.request()  # the second one has a template
    return found


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


def test_a_repeated_head_leads_to_the_same_function(heads: Heads, catalogue: Catalogue) -> None:
    routes, entry = Routes(catalogue), catalogue.add(Function.of(add))
    routes.add(heads.request(), entry, catalogue.generation)
    route = routes.find(heads.request())
    assert route is not None
    assert (route.entry, route.is_plain) == (entry, True)


def test_a_head_without_a_template_has_no_route(catalogue: Catalogue) -> None:
    routes, entry, first = Routes(catalogue), catalogue.add(Function.of(add)), Heads().request()
    routes.add(first, entry, catalogue.generation)
    assert routes.find(first) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda catalogue, entry: catalogue.add(Function.of(numbers)),
        lambda catalogue, entry: catalogue.remove(entry.path),
        lambda catalogue, entry: catalogue.discard(entry),
        lambda catalogue, entry: catalogue.clear(),
    ],
    ids=["add", "remove", "discard", "clear"],
)
def test_a_change_of_the_catalogue_makes_routes_void(
    heads: Heads, catalogue: Catalogue, change: Callable[[Catalogue, Any], object]
) -> None:
    routes, entry = Routes(catalogue), catalogue.add(Function.of(add))
    routes.add(heads.request(), entry, catalogue.generation)
    change(catalogue, entry)
    assert routes.find(heads.request()) is None


def test_a_function_that_was_found_before_a_change_makes_no_route(heads: Heads, catalogue: Catalogue) -> None:
    routes, entry = Routes(catalogue), catalogue.add(Function.of(add))
    generation = catalogue.generation
    catalogue.discard(entry)
    routes.add(heads.request(), entry, generation)
    assert routes.find(heads.request()) is None


@pytest.mark.parametrize("name", ["headers", "path", "query"])
def test_a_request_that_middleware_has_changed_has_no_route(heads: Heads, catalogue: Catalogue, name: str) -> None:
    routes, entry = Routes(catalogue), catalogue.add(Function.of(add))
    routes.add(heads.request(), entry, catalogue.generation)
    changed = heads.request()
    setattr(changed, name, dict(changed.headers) if name == "headers" else "/other")
    assert routes.find(changed) is None
    routes.add(changed, entry, catalogue.generation)
    assert routes.find(heads.request()) is not None


def test_a_compressed_body_makes_no_route(catalogue: Catalogue) -> None:
    routes, entry, heads = Routes(catalogue), catalogue.add(Function.of(add)), Heads()
    heads.request("Content-Encoding: gzip\r\n")
    routes.add(heads.request("Content-Encoding: gzip\r\n"), entry, catalogue.generation)
    assert routes.find(heads.request("Content-Encoding: gzip\r\n")) is None


@pytest.mark.parametrize(
    ("made", "more", "content"),
    [
        (Function.of(add), "", "application/vnd.a+json"),
        (Function.of(add), "", "text/plain"),
        (Function.of(add), "Accept: text/html\r\n", "application/json"),
        (Function.of(numbers), "", "application/json"),
        (function(cacheable=True)(add), "", "application/json"),
        (function(timeout=1.0)(add), "", "application/json"),
        (function(max_body=100)(add), "", "application/json"),
    ],
    ids=["json-type", "text", "accept", "stream", "cacheable", "timeout", "max-body"],
)
def test_what_needs_a_look_at_the_request_is_not_plain(
    catalogue: Catalogue, made: Function, more: str, content: str
) -> None:
    routes, entry, heads = Routes(catalogue), catalogue.add(made), Heads()
    heads.request(more, content)
    routes.add(heads.request(more, content), entry, catalogue.generation)
    route = routes.find(heads.request(more, content))
    assert route is not None
    assert not route.is_plain


def test_the_number_of_routes_has_a_bound(catalogue: Catalogue) -> None:
    routes, entry = Routes(catalogue), catalogue.add(Function.of(add))
    for number in range(1030):
        heads = Heads()
        heads.request(f"X-Own: {number}\r\n")
        routes.add(heads.request(f"X-Own: {number}\r\n"), entry, catalogue.generation)
    assert len(routes._routes) <= 512


def call(connection: http.client.HTTPConnection, body: str, **headers: str) -> tuple[int, Any]:
    connection.request("POST", "/api/add", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_calls_with_a_repeated_head_are_like_the_first() -> None:
    """Over a socket: results, faults, counters, and what is published meanwhile."""
    right, wrong = '{"a":1,"b":2}', '{"a":1,"b":""}'
    with HTTPPortal() as portal:
        address = portal.apply(add)
        connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=10.0)
        assert [call(connection, right) for _ in range(20)] == [(200, 3.0)] * 20
        found = [call(connection, wrong) for _ in range(5)]
        assert {(status, body["code"]) for status, body in found} == {(422, "validation_error")}
        assert len({body["request_id"] for _, body in found}) == 5
        assert [call(connection, "{")[0] for _ in range(5)] == [400] * 5
        counted = portal.stats()
        assert (counted["calls"], counted["failed"], counted["running"]) == (25, 5, 0)
        portal.remove(address)
        assert call(connection, right)[0] == 404
        portal.apply(function(name="add", version="2")(lambda a, b: "new"))
        assert call(connection, right) == (200, "new")
        connection.close()
