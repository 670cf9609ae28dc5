"""FunctionCache: what a Consumer keeps of the functions it calls, and when it looks again."""

from __future__ import annotations

from typing import Any

import pytest

from portal import Address, Consumer, HTTPPortal, LocalPortal, RegistryError, function
from portal.consumer import function_cache
from portal.consumer.pending import PendingFunction


def add(a: float, b: float) -> float:
    return a + b


def test_a_cached_local_function_follows_every_change() -> None:
    def add(a: float, b: float) -> float:
        return a + b

    older = function(add)
    newer = function(add)
    newer.target = lambda a, b: -a - b
    with LocalPortal() as first, Consumer() as consumer:
        first.apply(older)
        resolved = consumer.resolve("local://add")
        for _ in range(3):
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        with LocalPortal() as second:
            second.apply(newer)
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0  # the newest portal answers
            assert resolved(a=1.0, b=2.0) == 3.0  # a resolved function stays where it was
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        first.remove("local://add")
        with pytest.raises(RegistryError):
            consumer.call_at("local://add", {"a": 1, "b": 2})
        with pytest.raises(RegistryError):
            resolved(a=1.0, b=2.0)
        first.apply(newer)
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0
        assert resolved(a=1.0, b=2.0) == -3.0


def test_an_address_and_its_text_share_one_entry(local: LocalPortal) -> None:
    with Consumer([local]) as consumer:
        assert consumer.call_at(Address.parse("local://add"), {"a": 1, "b": 2}) == 3.0
        cached = consumer._functions.local
        assert list(cached) == ["local://add"]
        entry = cached["local://add"]
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer._functions.local is cached
        assert cached["local://add"] is entry


def test_a_remote_function_is_resolved_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(function_cache, "monotonic", lambda: now[0])
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)

        def is_cached() -> bool:
            found, is_remote = consumer._functions.find(address, str(address))
            assert is_remote
            return not isinstance(found, PendingFunction)

        assert not is_cached()
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        now[0] += 59.0
        assert is_cached()
        now[0] += 2.0
        assert not is_cached()
        pending, _ = consumer._functions.find(address, str(address))
        assert pending.schema.input["required"] == ["a", "b"]  # the last known schema
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        assert is_cached()


def test_a_remote_function_that_is_gone_is_forgotten() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        http.remove(address)
        with pytest.raises(RegistryError):
            consumer.call_at(address, {"a": 1, "b": 2})
        assert isinstance(consumer._functions.find(address, str(address))[0], PendingFunction)
        http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch, local: LocalPortal) -> None:
    monkeypatch.setattr(function_cache, "_MAX_ENTRIES", 2)
    params: dict[str, Any] = {"a": 1, "b": 2}
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        for number in range(5):
            assert consumer.call_at(f"local://add?n={number}", params) == 3.0
            assert consumer.call_at(f"{address}?n={number}", params) == 3.0
            assert len(consumer._functions.local) <= 2
            assert len(consumer._functions._remote) <= 2


def test_a_new_resolver_empties_the_cache(local: LocalPortal) -> None:
    def add(a: float, b: float) -> float:
        return a * b

    with LocalPortal() as other, Consumer([local]) as consumer:
        other.apply(add)
        assert consumer.call_at("local://add", {"a": 3, "b": 4}) == 7.0
        consumer.register(other)
        assert consumer.call_at("local://add", {"a": 3, "b": 4}) == 12.0
