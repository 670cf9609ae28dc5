from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Breaker, ConfigError, Consumer, HTTPPortal, LocalPortal, Retry, TransportError, function
from portal.consumer.stages import Stages
from portal.resilience import Bulkhead, Policy


@function(idempotent=True)
def add(a: float, b: float) -> float:
    return a + b


@function
def count(upto: int) -> Iterator[int]:
    yield from range(upto)


class Noting:
    """A middleware that notes that it ran."""

    def __init__(self, name: str, seen: list[str], error: Exception | None = None) -> None:
        self.name, self.seen, self.error = name, seen, error

    def __call__(self, call: Any, call_next: Any) -> Any:
        self.seen.append(self.name)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return call_next(call)


def test_middleware_runs_around_each_call_and_around_each_attempt() -> None:
    seen: list[str] = []
    lost = Noting("attempt", seen, TransportError("lost", delivery="not_sent"))
    with HTTPPortal() as one, HTTPPortal() as other:
        addresses = [one.apply(add), other.apply(add)]
        with Consumer(middleware=[Noting("call", seen)], attempt_middleware=[lost]) as consumer:
            assert consumer.call(addresses, {"a": 1, "b": 2}) == 3
            assert seen == ["call", "attempt", "attempt"]
            seen.clear()
            assert consumer.call_at(addresses[0], {"a": 1, "b": 2}) == 3
            assert seen == ["call", "attempt"]
            seen.clear()
            consumer.use(Noting("inner", seen)).use(Noting("innermost", seen), attempts=True)
            assert consumer.call(addresses, {"a": 1, "b": 2}) == 3
            assert seen == ["call", "inner", "attempt", "innermost"]


def test_middleware_runs_around_streams() -> None:
    seen: list[str] = []
    lost = Noting("attempt", seen, TransportError("lost", delivery="not_sent"))
    with HTTPPortal() as one, HTTPPortal() as other:
        addresses = [one.apply(count), other.apply(count)]
        with Consumer(middleware=[Noting("call", seen)], attempt_middleware=[lost]) as consumer:
            assert list(consumer.stream(addresses, {"upto": 3})) == [0, 1, 2]
            assert seen == ["call", "attempt", "attempt"]
            assert list(consumer.stream_at(addresses[1], {"upto": 2})) == [0, 1]
            assert seen == ["call", "attempt", "attempt", "call", "attempt"]


def test_the_stages_run_in_the_documented_order() -> None:
    seen: list[str] = []

    class Seen(Bulkhead):
        def __call__(self, call: Any, call_next: Any) -> Any:
            seen.append("bulkhead")
            return super().__call__(call, call_next)

    class Tested(Breaker):
        def __call__(self, call: Any, call_next: Any) -> Any:
            seen.append(f"breaker of {call.address.scheme}")
            return super().__call__(call, call_next)

    policy = Policy(bulkhead=Seen(), retry=Retry(), breaker=Tested())
    with LocalPortal() as portal:
        address = portal.apply(add)
        around, inside = Noting("call", seen), Noting("attempt", seen)
        consumer = Consumer(middleware=[around], attempt_middleware=[inside], policy=policy)
        assert consumer.call([address], {"a": 1, "b": 2}) == 3
        assert seen == ["call", "bulkhead", "breaker of local", "attempt"]
        seen.clear()
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        assert seen == ["call", "bulkhead", "breaker of local", "attempt"]


def test_a_call_may_have_a_policy_of_its_own() -> None:
    seen: list[str] = []

    class Tested(Breaker):
        def __call__(self, call: Any, call_next: Any) -> Any:
            seen.append("breaker")
            return super().__call__(call, call_next)

    with LocalPortal() as portal:
        address = portal.apply(add)
        consumer = Consumer()
        own = Policy(breaker=Tested())
        assert consumer.call_at(address, {"a": 1, "b": 2}, policy=own) == 3
        assert consumer.call([address], {"a": 1, "b": 2}, policy=own) == 3
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        assert seen == ["breaker", "breaker"]
        with pytest.raises(ConfigError, match="policy must be a Policy, got 5"):
            consumer.call_at(address, policy=5)  # type: ignore[arg-type]


def test_two_retries_are_rejected() -> None:
    with pytest.raises(ConfigError, match="in one place"):
        Consumer(middleware=[Retry()], policy=Policy(retry=Retry()))
    with pytest.raises(ConfigError, match="in one place"):
        Consumer(policy=Policy(retry=Retry())).use(Retry())
    with pytest.raises(ConfigError, match=r"consumer\.policy must be a Policy, or None, got 5"):
        Consumer(policy=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"policy\.balance must be one of"):
        Consumer(policy=Policy(balance="rond_robin"))


def test_chains_are_made_once_and_groups_are_shared_by_policies_of_one_balance() -> None:
    stages = Stages(Consumer()._functions)
    one = Policy(balance="peak_ewma")
    assert stages.of(one) is stages.of(one)
    assert stages.of(one).kind is stages.of(one.replace(timeout=3.0)).kind
    assert stages.of(one).kind is not stages.of(None).kind
    for number in range(300):
        stages.of(Policy(timeout=1.0 + number))
    assert stages.of(one).kind.balancing.picker_name == "peak_ewma"
    assert len(stages._chains) <= 256


def test_an_error_at_one_address_has_the_policy_in_short() -> None:
    policy = Policy(timeout=60.0, retry=Retry(attempts=1), breaker=Breaker())
    with Consumer() as consumer:
        with pytest.raises(TransportError) as caught:
            consumer.call_at("http://127.0.0.1:9/api/add", policy=policy)
        assert caught.value.context["explain"] == "one address, stages Retry > Breaker > send; 99 tokens left"
        with pytest.raises(TransportError) as caught:
            consumer.call_at("http://127.0.0.1:9/api/add")
        assert caught.value.context["explain"] == "one address, no policy"
