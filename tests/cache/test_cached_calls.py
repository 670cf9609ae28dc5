"""CachedCalls over sockets, at every transport that has servers. tests/http/client/test_caching.py tests the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from portal import BearerAuth, CallContext, Consumer, HTTPPortal, Identity, ResponseCache, WebSocketPortal, function
from portal.cache.cached_calls import CachedCalls, Fetched
from portal.function import ResolvedFunction
from portal.schema import FunctionSchema
from tests.support.clocks import Clock
from tests.support.scripted_transport import ADDRESS
from tests.support.waiting import eventually

PORTALS = pytest.mark.parametrize(
    "portal_class", [partial(HTTPPortal, max_age=60), WebSocketPortal], ids=["http", "ws"]
)


class Prices:
    """A cacheable function that counts its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails = False
        self.published = function(self.price, name="price", cacheable=True, tags=["prices"])

    def price(self, sku: str, context: CallContext) -> str:
        self.calls.append(sku)
        who = "anyone" if context.identity is None else context.identity.name
        return f"{sku} for {who}: {len(self.calls)}"


@PORTALS
def test_a_cached_response_needs_no_call(portal_class: Callable[..., Any]) -> None:
    prices, cache = Prices(), ResponseCache(default_age=60.0)
    with portal_class() as portal, Consumer(cache=cache) as consumer:
        address = portal.apply(prices.published)
        assert [consumer.call([address], {"sku": "a"}) for _ in range(3)] == ["a for anyone: 1"] * 3
        assert consumer.call_at(address, {"sku": "b"}) == "b for anyone: 2"
        assert cache.invalidate(address, {"sku": "b"}) == 1
        assert consumer.call_at(address, {"sku": "b"}) == "b for anyone: 3"
        assert cache.invalidate(tag="prices") == 2
        assert consumer.call_at(address, {"sku": "a"}) == "a for anyone: 4"
        assert cache.invalidate(address) == 1
        assert cache.stats()["fresh"] == 2


@PORTALS
def test_identities_share_no_response(portal_class: Callable[..., Any]) -> None:
    prices, cache = Prices(), ResponseCache(default_age=60.0)
    auth = BearerAuth({"a": Identity("ann"), "b": Identity("ben")})
    with (
        portal_class(auth=auth) as portal,
        Consumer(auth="a", cache=cache) as ann,
        Consumer(auth="b", cache=cache) as ben,
    ):
        address = portal.apply(prices.published)
        for _ in range(2):
            assert ann.call_at(address, {"sku": "x"}) == "x for ann: 1"
            assert ben.call_at(address, {"sku": "x"}) == "x for ben: 2"


@PORTALS
def test_a_stale_response_is_used_while_the_server_is_away(portal_class: Callable[..., Any]) -> None:
    clock, prices = Clock(), Prices()
    cache = ResponseCache(default_age=60.0, clock=clock, stale_if_error=600.0)
    with portal_class() as portal, Consumer(cache=cache) as consumer:
        address = portal.apply(prices.published)
        assert consumer.call_at(address, {"sku": "a"}) == "a for anyone: 1"
        clock.now += 100.0
        portal.stop()
        assert consumer.call_at(address, {"sku": "a"}, timeout=30.0) == "a for anyone: 1"
        assert cache.stats()["stale"] == 1


@PORTALS
def test_a_stale_response_is_requested_again_by_a_thread(portal_class: Callable[..., Any]) -> None:
    clock, prices = Clock(), Prices()
    cache = ResponseCache(default_age=60.0, clock=clock, stale_while_revalidate=600.0)
    with portal_class() as portal, Consumer(cache=cache) as consumer:
        address = portal.apply(prices.published)
        assert consumer.call_at(address, {"sku": "a"}) == "a for anyone: 1"
        clock.now += 100.0
        assert consumer.call_at(address, {"sku": "a"}) == "a for anyone: 1"
        eventually(lambda: consumer.call_at(address, {"sku": "a"}) == "a for anyone: 2")


def test_parameters_that_are_not_json_are_not_cached() -> None:
    target = ResolvedFunction(None, schema=FunctionSchema("add", cacheable=True), address=ADDRESS)  # type: ignore[arg-type]
    cache = ResponseCache(default_age=60.0)
    calls = CachedCalls(cache)
    params = {"a": object()}
    answers = iter([1, 2])

    def fetch(context: CallContext, entry: object) -> Fetched:
        return Fetched(next(answers))

    assert [calls.call(target, ADDRESS, params, "", CallContext(), fetch) for _ in range(2)] == [1, 2]
    assert cache.stats()["entries"] == 0
