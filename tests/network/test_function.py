"""RemoteFunction: a server is deployed anew with another schema, at an address without a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Address, Consumer, HTTPPortal, RegistryError, TransportError, ValidationError
from portal.http.client.client import HTTPClient
from portal.network import function as remote
from tests.support.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(remote, "monotonic", made)
    return made


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses whose schemas were fetched."""
    seen: list[str] = []
    describe = HTTPClient.describe

    def record_and_describe(self: HTTPClient, address: Address) -> Any:
        seen.append(str(address))
        return describe(self, address)

    monkeypatch.setattr(HTTPClient, "describe", record_and_describe)
    return seen


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        portal.apply(older)
        yield portal


def older(n: int) -> int:
    return n


def newer(n: int, by: int = 1, words: str = "") -> str:
    return f"{words}{n * by}"


older.__name__ = newer.__name__ = "times"


def redeploy(http: HTTPPortal) -> None:
    http.remove(http.generate_address("times"))
    http.apply(newer)


def test_the_first_call_that_the_new_schema_accepts_succeeds(
    http: HTTPPortal, clock: Clock, fetched: list[str]
) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        redeploy(http)
        clock.now += 6
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"
        assert consumer.call_at(address, {"n": 7, "by": 3}) == "21"
    assert len(fetched) == 2


def test_the_first_call_of_a_resolved_function_succeeds(http: HTTPPortal, clock: Clock, fetched: list[str]) -> None:
    with Consumer() as consumer:
        times = consumer.resolve(http.generate_address("times"))
        assert times(n=7) == 7
        redeploy(http)
        clock.now += 6
        assert times(n=7, by=2) == "14"
        assert times(7, 2, words="x") == "x14"
        assert times.parameters.names == ("n", "by", "words")
    assert len(fetched) == 2


def test_wrong_input_fetches_the_schema_at_most_once_an_interval(
    http: HTTPPortal, clock: Clock, fetched: list[str]
) -> None:
    with Consumer() as consumer:
        times = consumer.resolve(http.generate_address("times"))
        for seconds, expected in ((1, 1), (6, 2), (1, 2), (6, 3)):
            clock.now += seconds
            for _ in range(3):
                with pytest.raises(ValidationError, match="words"):
                    times(n=7, words="x")
            assert len(fetched) == expected
        fixed = consumer.resolve(next(iter(http.functions())))  # a fingerprint belongs to one schema
        with pytest.raises(ValidationError):
            fixed(n=7, words="x")
        clock.now += 6
        with pytest.raises(ValidationError):
            fixed(n=7, words="x")
    assert len(fetched) == 4


def test_wrong_input_causes_one_schema_fetch(http: HTTPPortal, clock: Clock, fetched: list[str]) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        for n in range(5):
            with pytest.raises(ValidationError):
                consumer.call_at(address, {"n": "7"})
            assert consumer.call_at(address, {"n": n}) == n
        assert len(fetched) == 1
        redeploy(http)
        with pytest.raises(ValidationError):  # the schema was fetched a moment ago
            consumer.call_at(address, {"n": 7, "by": 2})
        clock.now += 6
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"


def test_a_moved_function_is_resolved_again(http: HTTPPortal, fetched: list[str]) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        http.remove(address)
        with pytest.raises(RegistryError):
            consumer.call_at(address, {"n": 7})
        http.apply(newer)
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"
    assert len(fetched) == 2


def test_a_failed_schema_fetch_keeps_the_first_error(clock: Clock) -> None:
    with Consumer() as consumer:
        with HTTPPortal() as http:
            http.apply(older)
            times = consumer.resolve(http.generate_address("times"))
        clock.now += 6
        with pytest.raises(ValidationError, match="words"):
            times(n=7, words="x")
        with pytest.raises(TransportError):
            times(n=7)


def test_input_that_both_schemas_reject_has_the_error_of_the_new_one(http: HTTPPortal, clock: Clock) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        redeploy(http)
        clock.now += 6
        with pytest.raises(ValidationError) as caught:
            consumer.call_at(address, {"n": 7, "by": "2"})
    assert [fault.path for fault in caught.value.errors] == ["/by"]
