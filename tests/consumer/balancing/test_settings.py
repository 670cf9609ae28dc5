from __future__ import annotations

from typing import Any

import pytest

from portal import ConfigError
from portal.consumer.balancing import Balancing, ConsistentHash, Outliers, PeakEWMA, RoundRobin
from portal.consumer.balancing.settings import PICKERS


class First:
    def pick(self, candidates: Any, call: Any) -> Any:
        return candidates[0]


@pytest.mark.parametrize("name", PICKERS)
def test_each_name_makes_a_picker(name: str) -> None:
    one = Balancing.of(name)
    assert one.picker_name == name
    assert one.make_picker() is not one.make_picker()


def test_a_picker_may_be_an_object_or_a_class() -> None:
    own = First()
    assert Balancing.of(own).make_picker() is own
    assert isinstance(Balancing.of(First).make_picker(), First)
    assert Balancing.of(First).picker_name == Balancing.of(own).picker_name == "First"
    by_key = ConsistentHash(lambda call: 1)
    assert isinstance(Balancing.of(by_key).make_picker(), ConsistentHash)
    assert Balancing.of(by_key).make_picker() is not by_key
    settings = Balancing(picker=PeakEWMA)
    assert Balancing.of(settings) is settings
    assert isinstance(settings.make_picker(), PeakEWMA)


@pytest.mark.parametrize("wrong", ["rond_robin", 1, None, object(), ConsistentHash, RoundRobin.pick])
def test_a_wrong_picker_is_rejected(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"policy\.balance must be one of 'pick_first', 'round_robin', .* got"):
        Balancing.of(wrong)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"picker": "fastest"}, "balancing.picker"),
        ({"zone": ""}, "balancing.zone"),
        ({"slow_start": -1}, "balancing.slow_start"),
        ({"outliers": 10}, "balancing.outliers"),
        ({"panic_threshold": 101}, "balancing.panic_threshold"),
        ({"subset": 0}, "balancing.subset"),
        ({"max_sends": 0}, "balancing.max_sends"),
        ({"attempt_timeout": 0}, "balancing.attempt_timeout"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Balancing(**options)
    assert caught.value.path == path


def test_a_value_is_hashable_and_has_a_client_key() -> None:
    assert Balancing() == Balancing()
    assert hash(Balancing(outliers=Outliers(interval=1.0))) == hash(Balancing(outliers=Outliers(interval=1.0)))
    assert Balancing().client_key == Balancing().client_key
    assert Balancing(subset_key="worker-1").client_key == "worker-1"
