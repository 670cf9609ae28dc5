"""pytest-benchmark: whole calls, in this process beside pydantic, and over HTTP to another process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Consumer, LocalPortal
from portal.function import Function

from .contestants import serving
from .workload import EXPECTED, PARAMS, add


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with LocalPortal() as portal, Consumer([portal]) as made:
        portal.apply(add)
        yield made


@pytest.fixture
def resolved(consumer: Consumer) -> Function:
    return consumer.resolve("local://add")


@pytest.mark.benchmark(group="local call")
def test_call_at_local_address(benchmark: Any, consumer: Consumer) -> None:
    assert benchmark(consumer.call_at, "local://add", PARAMS) == EXPECTED


@pytest.mark.benchmark(group="local call")
def test_resolved_function(benchmark: Any, resolved: Function) -> None:
    assert benchmark(resolved, a=1.0, b=2.0) == 3.0


@pytest.mark.benchmark(group="local call")
def test_pydantic_around_the_same_function(benchmark: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    assert benchmark(pydantic.validate_call(add), a=1.0, b=2.0) == 3.0


@pytest.mark.benchmark(group="HTTP call")
def test_http_round_trip(benchmark: Any) -> None:
    with serving("portal") as address, Consumer() as consumer:
        assert benchmark(consumer.call_at, address, PARAMS) == EXPECTED
