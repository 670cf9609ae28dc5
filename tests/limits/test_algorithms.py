"""Rates are parsed, and both algorithms count as the simplest ones do."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from portal._internal.redis_client import StoreClient
from portal.limits.algorithms import MemoryBuckets, MemoryWindows, Rate, SharedBuckets, SharedWindows
from tests.support import valkey
from tests.support.clocks import Clock

SECOND = 1_000_000


# rates


@pytest.mark.parametrize(
    ("text", "calls", "seconds"),
    [
        ("100/minute", 100, 60),
        ("5/second", 5, 1),
        ("1000/hour", 1000, 3600),
        ("10/day", 10, 86_400),
        ("20/30s", 20, 30),
        (" 3 / 2 hours ", 3, 7200),
        ("1/m", 1, 60),
    ],
)
def test_a_rate_is_read(text: str, calls: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(calls, seconds)


# counting


@st.composite
def histories(draw: st.DrawFn) -> tuple[Rate, int, list[int]]:
    rate = Rate(draw(st.integers(1, 50)), draw(st.sampled_from([1, 7, 60, 3600])))
    step = rate.seconds * SECOND // rate.calls
    pauses = st.one_of(st.integers(0, 10), st.integers(0, 2 * step + 2), st.just(step), st.integers(0, 10**10))
    return rate, draw(st.integers(1, 60)), draw(st.lists(pauses, max_size=80))


@given(histories())
def test_a_token_bucket_does_what_the_simplest_one_does(history: tuple[Rate, int, list[int]]) -> None:
    rate, burst, pauses = history
    clock = Clock()
    buckets = MemoryBuckets(rate, burst, 10, clock)
    tokens, now = Fraction(burst), 1000 * SECOND
    for pause in pauses:
        now += pause
        clock.now = now / SECOND
        tokens = min(Fraction(burst), tokens + Fraction(pause * rate.calls, rate.seconds * SECOND))
        verdict = buckets.take("key")
        assert verdict.allowed == (tokens >= 1)
        if verdict.allowed:
            tokens -= 1
        assert verdict.remaining == math.floor(tokens)
        per_token = Fraction(rate.seconds * SECOND, rate.calls)
        assert round(verdict.reset * SECOND) == math.ceil((burst - tokens) * per_token)
        wait = 0 if verdict.allowed else math.ceil((1 - tokens) * per_token)
        assert round(verdict.retry_after * SECOND) == wait


@given(histories())
def test_a_sliding_window_lets_no_more_than_the_rate_through_by_its_own_count(
    history: tuple[Rate, int, list[int]],
) -> None:
    rate, _, pauses = history
    clock = Clock()
    windows = MemoryWindows(rate, 10, clock)
    period = rate.seconds * SECOND
    now, began, before, count = 1000 * SECOND, 1000 * SECOND, 0, 0
    for pause in pauses:
        now += pause
        clock.now = now / SECOND
        windows_passed, passed = divmod(now - began, period)
        if count + before == 0 or windows_passed > 1:
            seen_before, seen, passed = 0, 0, 0
        else:
            seen_before, seen = (before, count) if windows_passed == 0 else (count, 0)
        verdict = windows.take("key")
        assert verdict.allowed == (seen_before * Fraction(period - passed, period) + seen + 1 <= rate.calls)
        assert verdict.allowed == (verdict.retry_after == 0)
        assert 0 <= verdict.remaining < rate.calls
        if verdict.allowed:
            before, count, began = seen_before, seen + 1, now - passed


# a shared store


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with valkey.running() as server:
        yield server


@settings(max_examples=25)
@given(history=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=11))
def test_the_script_of_the_store_counts_as_memory_does(server: Any, history: list[tuple[int, int]]) -> None:
    """What the store keeps is moved back in time instead of waiting.

    Its clock goes on meanwhile: the pauses are such that no border is crossed within half a second.
    """
    rate, clock = Rate(3, 60), Clock()
    with redis.Redis.from_url(server.connection_url, socket_timeout=2, decode_responses=True) as client:
        client.flushall()
        link = StoreClient(client, path="store")
        pairs: list[tuple[Any, Any]] = [
            (MemoryBuckets(rate, 3, 10, clock), SharedBuckets(rate, 3, link, "b")),
            (MemoryWindows(rate, 10, clock), SharedWindows(rate, link, "w")),
        ]
        began = time.monotonic()
        for calls, pause in history:
            for (memory, shared), _ in product(pairs, range(calls)):
                mine, theirs = memory.take("k"), shared.take("k")
                if time.monotonic() - began > 0.4:
                    return
                assert mine[:2] == theirs[:2]
                assert theirs[2:] == pytest.approx(mine[2:], abs=0.5)
            clock.now += pause * 7.3
            for key, field in (("b:k", "at"), ("w:k", "began")):
                if client.exists(key):
                    client.hincrby(key, field, -pause * 7_300_000)
