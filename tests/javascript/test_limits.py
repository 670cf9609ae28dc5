from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from portal import ConfigError
from portal.javascript import Limits


def test_no_limit_exceeds_that_of_another_object() -> None:
    bounds = Limits(time=1.0, memory=2**24, fuel=100)
    assert Limits(time=0.5, memory=2**24, fuel=100).within(bounds)
    assert not Limits(time=1.5, memory=2**24, fuel=100).within(bounds)
    assert not Limits(time=0.5, memory=2**25, fuel=100).within(bounds)
    assert not Limits(time=0.5, memory=2**24).within(bounds)
    assert Limits(fuel=10).within(Limits())


def test_less_time_only() -> None:
    limits = Limits(time=1.0)
    assert limits.with_time(2.0) is limits
    assert limits.with_time(0.25) == Limits(time=0.25)


def test_a_list_makes_the_same_limits() -> None:
    limits = Limits(time=0.5, fuel=7)
    assert Limits(*limits.to_list()) == limits
    assert dict(zip(Limits.names(), limits.to_list(), strict=True)) == asdict(limits)


@pytest.mark.parametrize(
    "wrong",
    [{"time": 0}, {"time": 3601}, {"memory": 1000}, {"stack": 1}, {"stack": 2**30}, {"output": 0}, {"log": -1},
     {"jobs": 0}, {"fuel": 0}, {"time": True}],
)  # fmt: skip
def test_wrong_limits_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(**wrong)
    assert caught.value.path == f"limits.{next(iter(wrong))}"
