"""map_at through a resolver that maps in chunks, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from portal import Consumer, Policy, Resolver, ValidationError, function
from portal.address import Address
from portal.errors import CallTimeout
from portal.function import Function


@function
def double(n: int) -> int:
    return 2 * n


class Chunking(Resolver):
    """Maps in one chunk; a negative number is late."""

    schemes = ("far",)

    def __init__(self) -> None:
        self.maps: list[dict[str, Any]] = []
        self.closed = 0

    def resolve_function(self, address: Address | str) -> Function:
        return double

    def map_in_chunks(self, address: Address | str, params: Any, **options: Any) -> Iterator[Any]:
        self.maps.append(options)
        return self._results(params)

    def _results(self, params: Any) -> Iterator[Any]:
        try:
            for one in params:
                yield CallTimeout("late") if one["n"] < 0 else double.target(**one)
        finally:
            self.closed += 1


@pytest.fixture
def resolver() -> Chunking:
    return Chunking()


CALLS: list[Mapping[str, Any]] = [{"n": 1}, {"n": -1}, {"n": 3}]


def test_a_map_goes_in_chunks(resolver: Chunking) -> None:
    with Consumer([resolver], timeout=7.0) as consumer:
        found = list(consumer.map_at("far://x/double", CALLS, return_exceptions=True, max_in_flight=5))
        assert [found[0], type(found[1]), found[2]] == [2, CallTimeout, 6]
        assert resolver.maps == [{"max_in_flight": 5, "timeout": 7.0, "return_exceptions": True}]
        assert list(consumer.map_at("far://x/double", [{"n": 1}], timeout=2.0)) == [2]
        assert resolver.maps[1]["timeout"] == 2.0
        with pytest.raises(ValidationError, match="max_in_flight"):
            consumer.map_at("far://x/double", CALLS, max_in_flight=0)


def test_results_are_loaded_into_a_type(resolver: Chunking) -> None:
    with Consumer([resolver]) as consumer:
        found = list(consumer.map_at("far://x/double", CALLS, return_exceptions=True, returns=float))
        assert found[0] == 2.0
        assert isinstance(found[1], CallTimeout)
        wrong = list(consumer.map_at("far://x/double", CALLS, return_exceptions=True, returns=str))
        assert [type(one) for one in wrong] == [ValidationError, CallTimeout, ValidationError]
        results = consumer.map_at("far://x/double", CALLS, returns=str)
        with pytest.raises(ValidationError, match="does not fit"):
            next(results)
        assert resolver.closed == 3


def test_what_runs_around_each_call_keeps_calls_apart(resolver: Chunking) -> None:
    seen: list[Any] = []

    def count(call: Any, call_next: Any) -> Any:
        seen.append(call.params)
        return call_next(call)

    with Consumer([resolver], middleware=[count]) as consumer:
        assert list(consumer.map_at("far://x/double", [{"n": 1}])) == [2]
    with Consumer([resolver]) as consumer:
        assert list(consumer.map_at("far://x/double", [{"n": 1}], policy=Policy(timeout=5.0))) == [2]
        assert list(consumer.map_at("far://x/double", [{"n": 1}], as_completed=True)) == [(0, 2)]
    assert seen == [{"n": 1}]
    assert resolver.maps == []
