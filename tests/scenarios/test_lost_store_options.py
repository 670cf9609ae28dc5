"""Each option of a shared store: what it does before the server is killed, without it, and when it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from portal import CallContext, OverloadedError, RateLimitError, ResponseCache, function
from portal._internal.closing import close_resource
from portal.cache import SharedInvalidations
from portal.cache.response_cache import key_of
from portal.calls.middleware import Call
from portal.idempotency.middleware import Idempotency
from portal.limits.rate_limit import RateLimit
from portal.resilience import ProbeLeases
from tests.support import valkey
from tests.support.ports import free_port
from tests.support.waiting import eventually

#: Makes a call, and says what became of it.
Use = Callable[[], str]


@function
def work() -> int:
    return 1


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def limit(url: str, stack: ExitStack, option: Any) -> Use:
    middleware = RateLimit("1/hour", per="global", store=url, namespace="shop", on_lost_store=option)
    stack.callback(close_resource, middleware)

    def use() -> str:
        try:
            middleware(Call(work, {}, CallContext()), lambda _: None)
        except RateLimitError:
            return "limited"
        except OverloadedError:
            return "rejected"
        return "passed"

    return use


def idempotency(url: str, stack: ExitStack, option: Any) -> Use:
    middleware = Idempotency(store=url, namespace="shop", on_lost_store=option)
    stack.callback(close_resource, middleware)
    ran = count()

    def use() -> str:
        before = next(ran)
        try:
            middleware(Call(work, {}, CallContext(idempotency_key="key")), lambda _: next(ran))
        except OverloadedError:
            return "rejected"
        return "repeated" if next(ran) == before + 1 else "ran"

    return use


def cache(url: str, stack: ExitStack, option: Any) -> Use:
    invalidations = SharedInvalidations(url, namespace="shop", on_lost_store=option)
    stack.callback(invalidations.close)
    kept = ResponseCache(default_age=3600.0, invalidations=invalidations)
    key = key_of("http://shop/api/work", {})
    assert key is not None

    def use() -> str:
        kept.store(key, 1)
        return "missed" if kept.lookup(key) is None else "cached"

    return use


def probes(url: str, stack: ExitStack, _: Any) -> Use:
    mine, other = (ProbeLeases(url, namespace="shop") for _ in range(2))
    stack.callback(mine.close)
    stack.callback(other.close)

    def use() -> str:
        other.release("host:1")  # a process that holds a lease does not ask again
        other.take("host:1", 3600.0)
        return "probes" if mine.take("host:1", 0.0) else "leaves it to the other"

    return use


@pytest.mark.parametrize(
    ("make", "option", "before", "lost"),
    [
        (limit, "open", "limited", "passed"),
        (limit, "closed", "limited", "rejected"),
        (idempotency, "open", "repeated", "ran"),
        (idempotency, "closed", "repeated", "rejected"),
        (cache, "open", "cached", "cached"),
        (cache, "closed", "cached", "missed"),
        (probes, "", "leaves it to the other", "probes"),
    ],
)
def test_an_option(
    make: Callable[[str, ExitStack, Any], Use], option: str, before: str, lost: str, stack: ExitStack
) -> None:
    port = free_port()
    with valkey.running(port=port):
        use = make(f"redis://127.0.0.1:{port}/0", stack, option)
        eventually(lambda: use() == before)
    eventually(lambda: use() == lost)
    assert use() == lost
    with valkey.running(port=port):
        eventually(lambda: use() == before)
