"""RateCounter counts in this process, or in a shared store apart for each namespace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import ConfigError
from portal.limits.algorithms import Rate
from portal.limits.counter import RateCounter
from tests.support import valkey
from tests.support.clocks import Clock


def counter(store: str | None, namespace: str | None = None) -> RateCounter:
    return RateCounter(
        Rate(1, 86_400),
        1,
        store=store,
        prefix="p",
        suffix="s",
        namespace=namespace,
        max_entries=10,
        clock=Clock(),
        setting="limit",
    )


@pytest.fixture(scope="module")
def url() -> Iterator[Any]:
    with valkey.running() as server:
        yield server.connection_url


def test_counts_in_this_process_are_common() -> None:
    one = counter(None)
    assert one.bind("a") is one.bind("b") is one.bind(None) is one
    assert [one.take("k").allowed for _ in range(2)] == [True, False]


def test_counts_in_a_store_are_apart_for_each_namespace(url: str) -> None:
    unbound = counter(url)
    bound = [unbound.bind(name) for name in ("a", "b", "a")]
    assert [one.take("k").allowed for one in bound] == [True, True, False]
    bound[0].close()
    assert not bound[2].take("k").allowed


def test_its_own_namespace_comes_before_the_name_of_the_portal(url: str) -> None:
    own = counter(url, "own")
    assert own.take("k").allowed
    assert not own.bind("c").take("k").allowed
    assert not own.bind(None).take("k").allowed


def test_a_store_requires_a_namespace() -> None:
    unbound = counter("redis://127.0.0.1:1/0")
    for use in (lambda: unbound.bind(None), lambda: unbound.take("k")):
        with pytest.raises(ConfigError, match=r"limit\.namespace must be set for a shared store"):
            use()
