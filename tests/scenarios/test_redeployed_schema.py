"""A server that was deployed anew with another contract, at an address without a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Address, Consumer, HTTPPortal, RegistryError, TransportError, ValidationError
from portal.http.client import function as remote
from portal.http.client.client import HTTPClient
from tests.support.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(remote, "monotonic", made)
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses whose contracts were asked for."""
    seen: list[str] = []
    describe = HTTPClient.describe

    def noted(self: HTTPClient, address: Address) -> Any:
        seen.append(str(address))
        return describe(self, address)

    monkeypatch.setattr(HTTPClient, "describe", noted)
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


def test_the_first_call_that_the_new_contract_allows_passes(http: HTTPPortal, clock: Clock, asked: list[str]) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        redeploy(http)
        clock.now += 6
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"
        assert consumer.call_at(address, {"n": 7, "by": 3}) == "21"
    assert len(asked) == 2


def test_so_does_that_of_a_function_that_was_resolved_before(http: HTTPPortal, clock: Clock, asked: list[str]) -> None:
    with Consumer() as consumer:
        times = consumer.resolve(http.generate_address("times"))
        assert times(n=7) == 7
        redeploy(http)
        clock.now += 6
        assert times(n=7, by=2) == "14"
        assert times(7, 2, words="x") == "x14"
        assert times.parameters.names == ("n", "by", "words")
    assert len(asked) == 2


def test_wrong_input_asks_once_in_a_while(http: HTTPPortal, clock: Clock, asked: list[str]) -> None:
    with Consumer() as consumer:
        times = consumer.resolve(http.generate_address("times"))
        for seconds, expected in ((1, 1), (6, 2), (1, 2), (6, 3)):
            clock.now += seconds
            for _ in range(3):
                with pytest.raises(ValidationError, match="words"):
                    times(n=7, words="x")
            assert len(asked) == expected
        fixed = consumer.resolve(next(iter(http.functions())))  # a fingerprint leads to one contract
        with pytest.raises(ValidationError):
            fixed(n=7, words="x")
        clock.now += 6
        with pytest.raises(ValidationError):
            fixed(n=7, words="x")
    assert len(asked) == 4


def test_wrong_input_costs_later_calls_nothing(http: HTTPPortal, clock: Clock, asked: list[str]) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        for n in range(5):
            with pytest.raises(ValidationError):
                consumer.call_at(address, {"n": "7"})
            assert consumer.call_at(address, {"n": n}) == n
        assert len(asked) == 1
        redeploy(http)
        with pytest.raises(ValidationError):  # asked for just now; that is trusted for a moment
            consumer.call_at(address, {"n": 7, "by": 2})
        clock.now += 6
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"


def test_a_function_that_has_moved_is_asked_for_again(http: HTTPPortal, asked: list[str]) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        http.remove(address)
        with pytest.raises(RegistryError):
            consumer.call_at(address, {"n": 7})
        http.apply(newer)
        assert consumer.call_at(address, {"n": 7, "by": 2}) == "14"
    assert len(asked) == 2


def test_a_server_that_cannot_be_asked_leaves_the_refusal_as_it_is(clock: Clock) -> None:
    with Consumer() as consumer:
        with HTTPPortal() as http:
            http.apply(older)
            times = consumer.resolve(http.generate_address("times"))
        clock.now += 6
        with pytest.raises(ValidationError, match="words"):
            times(n=7, words="x")
        with pytest.raises(TransportError):
            times(n=7)


def test_what_both_contracts_refuse_is_refused_by_the_new_one(http: HTTPPortal, clock: Clock) -> None:
    address = http.generate_address("times")
    with Consumer() as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        redeploy(http)
        clock.now += 6
        with pytest.raises(ValidationError) as caught:
            consumer.call_at(address, {"n": 7, "by": "2"})
    assert [fault.path for fault in caught.value.errors] == ["/by"]
