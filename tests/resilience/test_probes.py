"""ProbeLeases: one process at a time tests a peer that comes back."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from portal import CallContext, CircuitOpenError, ConfigError, TransportError, function
from portal.address import Address
from portal.calls.middleware import Call
from portal.resilience import Breaker, ProbeLeases
from tests.support.clocks import Clock
from tests.support.ports import free_port
from tests.support.waiting import eventually


@pytest.fixture
def two(valkey_url: str) -> Any:
    """The leases of two processes."""
    namespace = uuid.uuid4().hex
    made = [ProbeLeases(valkey_url, namespace=namespace) for _ in range(2)]
    yield made
    for one in made:
        one.close()


def test_one_of_two_processes_may_probe(two: list[ProbeLeases]) -> None:
    first, second = two
    assert first.take("host:1", 60.0)
    assert first.take("host:1", 60.0), "a further probe of the same process"
    assert not second.take("host:1", 60.0)
    assert second.take("host:2", 60.0)
    second.release("host:1")
    assert not second.take("host:1", 60.0)
    first.release("host:1")
    first.release("host:1")
    assert second.take("host:1", 60.0)


def test_a_lease_of_a_process_that_died_ends(two: list[ProbeLeases]) -> None:
    first, second = two
    assert first.take("host:1", 0.1)
    eventually(lambda: second.take("host:1", 60.0))


def test_without_the_store_each_process_probes() -> None:
    leases = ProbeLeases(f"redis://127.0.0.1:{free_port()}/0", namespace="lost")
    assert leases.take("host:1", 60.0)
    leases.release("host:1")
    leases.close()


def test_breakers_of_two_processes(two: list[ProbeLeases]) -> None:
    clock = Clock()
    breakers = [Breaker(1, open_duration=10.0, clock=clock, probes=leases) for leases in two]
    called: list[int] = []

    def call(number: int, outcome: Any) -> Any:
        def send(_: Call) -> Any:
            called.append(number)
            return outcome()

        target = function(name="add")(lambda: 1)
        return breakers[number](Call(target, {}, CallContext(), Address.parse("http://host:1/add")), send)

    def fail() -> Any:
        raise TransportError("down")

    for number in (0, 1):
        with pytest.raises(TransportError):
            call(number, fail)
    clock.now += 11.0
    called.clear()

    def while_the_first_probes() -> str:
        with pytest.raises(CircuitOpenError) as caught:
            call(1, lambda: "never")
        assert caught.value.retry_after is not None
        return "up"

    assert call(0, while_the_first_probes) == "up"
    assert called == [0]
    assert call(1, lambda: "up") == "up"
    assert {one.states()["host:1"].state for one in breakers} == {"closed"}


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match=r"breaker\.probes must be"):
        Breaker(probes="redis://host")  # type: ignore[arg-type]
