from __future__ import annotations

from typing import Any

import pytest

from portal import AdaptiveLimit, Breaker, Bulkhead, Chaos, ConfigError, Fallback, Hedge, Policy, Retry
from portal.consumer.balancing.settings import PICKERS
from portal.resilience import PolicyState
from portal.resilience.policy import BALANCE_NAMES

ALL = Policy(timeout=2.0, retry=Retry(), breaker=Breaker(), bulkhead=Bulkhead(), limiter=AdaptiveLimit())


FULL = ALL | Policy(hedge=Hedge(), fallback=Fallback([]), chaos=Chaos())


def names(stages: tuple[Any, ...]) -> list[str]:
    return [type(one).__name__ for one in stages]


def test_the_stages_have_one_order() -> None:
    def around(call: Any, call_next: Any) -> Any: ...

    state = PolicyState()
    assert names(ALL.call_stages(state)) == ["AdaptiveLimit", "Bulkhead", "Retry"]
    assert names(ALL.attempt_stages(state)) == ["Breaker"]
    assert ALL.attempt_stages(state, [around])[1] is around
    assert names(FULL.call_stages(state)) == ["Fallback", "AdaptiveLimit", "Bulkhead", "Hedge", "Retry"]
    assert names(FULL.attempt_stages(state, [around])) == ["Breaker", "function", "Chaos"]
    assert Policy().call_stages(state) == Policy().attempt_stages(state) == ()


def test_a_consumer_has_state_of_its_own() -> None:
    one, other = PolicyState(), PolicyState()
    assert ALL.breaker is not None
    assert one.find(ALL.breaker) is None
    mine, theirs = ALL.attempt_stages(one)[0], ALL.attempt_stages(other)[0]
    assert isinstance(mine, Breaker)
    assert isinstance(theirs, Breaker)
    mine.force_open("a:1")
    assert mine.states()["a:1"].state == "open"
    assert theirs.states() == ALL.breaker.states() == {}
    assert one.find(ALL.breaker) is mine


def test_a_changed_policy_keeps_the_state_of_the_stages_it_shares() -> None:
    state = PolicyState()
    changed = ALL.replace(timeout=9.0, bulkhead=None)
    assert changed.timeout == 9.0
    assert changed.call_stages(state) == (ALL.call_stages(state)[0], ALL.call_stages(state)[2])
    assert changed.attempt_stages(state) == ALL.attempt_stages(state)


def test_the_state_of_many_policies_is_bounded() -> None:
    state = PolicyState()
    first = Policy(bulkhead=Bulkhead())
    kept = first.call_stages(state)
    for _ in range(300):
        Policy(bulkhead=Bulkhead()).call_stages(state)
    assert len(state._stages) == 256
    assert first.call_stages(state) != kept


def test_policies_combine() -> None:
    retry, breaker = Retry(), Breaker()
    combined = Policy(timeout=1.0, retry=retry) | Policy(timeout=3.0, breaker=breaker, transports=["ws", "http"])
    assert combined == Policy(timeout=3.0, retry=retry, breaker=breaker, transports=("ws", "http"))
    assert hash(combined) == hash(combined.replace())
    assert (Policy(balance="least_outstanding") | Policy()).balance == "least_outstanding"
    with pytest.raises(TypeError):
        Policy() | 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("retry", 3, "policy.retry must be a Retry, or None, got 3"),
        ("breaker", Breaker, "policy.breaker must be a Breaker, or None, got"),
        ("bulkhead", 5, "policy.bulkhead must be a Bulkhead, or None, got 5"),
        ("limiter", 5, "policy.limiter must be an AdaptiveLimit, or None, got 5"),
        ("hedge", 5, "policy.hedge must be a Hedge, or None, got 5"),
        ("fallback", 5, "policy.fallback must be a Fallback, or None, got 5"),
        ("chaos", 5, "policy.chaos must be a Chaos, or None, got 5"),
        ("timeout", 0, "policy.timeout must be seconds above 0, or None, got 0"),
        ("transports", "ws", "policy.transports must be a list of schemes"),
        ("transports", [], "policy.transports must be a list of schemes"),
        ("balance", "", "policy.balance must be the name of a method, or a picker, got ''"),
    ],
)
def test_a_wrong_field_is_rejected(field: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Policy(**{field: value})
    with pytest.raises(ConfigError, match=message):
        Policy().replace(**{field: value})


def test_an_unknown_field_is_rejected() -> None:
    with pytest.raises(ConfigError, match="policy must be one of timeout, retry"):
        Policy().replace(retries=3)


def test_two_retries_are_rejected() -> None:
    ALL.require_one_retry([Breaker()])
    Policy().require_one_retry([Retry()])
    with pytest.raises(ConfigError, match=r"Retry must be in one place"):
        ALL.require_one_retry([Breaker(), Retry()])


@pytest.mark.parametrize(
    ("policy", "stages"),
    [
        (Policy.interactive(), ["Bulkhead", "Hedge", "Retry"]),
        (Policy.batch(), ["AdaptiveLimit", "Retry"]),
        (Policy.resilient(), ["AdaptiveLimit", "Bulkhead", "Hedge", "Retry"]),
    ],
)
def test_presets(policy: Policy, stages: list[str]) -> None:
    state = PolicyState()
    assert names(policy.call_stages(state)) == stages
    assert names(policy.attempt_stages(state)) == ["Breaker"]
    assert policy.timeout
    state.close()


@pytest.mark.parametrize(
    ("value", "advice"), [("roundrobin", "round_robin"), ("peak-ewma", "peak_ewma"), ("Pick_First", "pick_first")]
)
def test_a_misspelt_method_is_rejected_with_the_right_one(value: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"policy.balance must be one of .*; did you mean '{advice}'\\?"):
        Policy(balance=value)


@pytest.mark.parametrize("value", ["zzz", object(), 7])
def test_what_is_no_method_and_no_picker_is_rejected(value: object) -> None:
    with pytest.raises(ConfigError, match=r"policy\.balance must be one of .*pick\(candidates, call\), got"):
        Policy(balance=value)


def test_each_name_is_that_of_a_method() -> None:
    assert set(BALANCE_NAMES) == set(PICKERS)
    for name in BALANCE_NAMES:
        assert Policy(balance=name).balance == name
