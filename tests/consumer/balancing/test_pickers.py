from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from portal.consumer.balancing import (
    Candidate,
    LeastOutstanding,
    PeakEWMA,
    Picker,
    PickFirst,
    RoundRobin,
    WeightedRoundRobin,
)
from portal.consumer.balancing.pickers import expected
from tests.support.instances import call_of, candidates_of


def names(picker: Picker, candidates: tuple[Candidate, ...], count: int) -> str:
    return "".join(picker.pick(candidates, call_of()).address.host for _ in range(count))


def shares(picker: Picker, candidates: tuple[Candidate, ...], count: int) -> dict[str, int]:
    return dict(Counter(names(picker, candidates, count)))


def test_pick_first_stays_with_the_first() -> None:
    assert names(PickFirst(), candidates_of(1, 1), 4) == "aaaa"


def test_round_robin_takes_one_after_the_other() -> None:
    assert names(RoundRobin(), candidates_of(1, 1, 9), 7) == "abcabca"


def test_weights_are_spread_evenly() -> None:
    assert names(WeightedRoundRobin(), candidates_of(5, 1, 1), 14) == "aabacaa" * 2
    assert shares(WeightedRoundRobin(), candidates_of(1, 2, 3, 4), 1000) == {"a": 100, "b": 200, "c": 300, "d": 400}


def test_least_outstanding_takes_the_least_loaded_by_weight() -> None:
    one, heavy, third = candidates = candidates_of(1, 4, 1)
    one.outstanding, heavy.outstanding, third.outstanding = 2, 6, 1
    assert names(LeastOutstanding(), candidates, 1) == "b"
    heavy.outstanding = 8
    assert names(LeastOutstanding(), candidates, 1) == "c"


def test_least_outstanding_takes_turns_among_equals() -> None:
    assert shares(LeastOutstanding(), candidates_of(1, 1, 1, 1), 400) == dict.fromkeys("abcd", 100)


def test_peak_ewma_takes_the_cheaper_of_two() -> None:
    candidates = candidates_of(1, 1, 1, 1)
    for candidate, latency in zip(candidates, (0.1, 0.01, 0.01, 0.01), strict=True):
        candidate.observe(latency, 1000.0, failed=False)
    found = shares(PeakEWMA(random=random.Random(1).random), candidates, 4000)
    assert "a" not in found, "two different candidates are compared, so that the slowest never wins"
    assert all(1000 < found[name] < 1700 for name in "bcd")


def test_peak_ewma_spreads_over_equals() -> None:
    found = shares(PeakEWMA(random=random.Random(1).random), candidates_of(*[1] * 10), 10_000)
    assert len(found) == 10
    assert all(800 < one < 1200 for one in found.values())


@pytest.mark.parametrize("kind", [RoundRobin, WeightedRoundRobin])
def test_an_instance_in_its_slow_start_gets_few_calls(kind: Any) -> None:
    candidates = candidates_of(1, 1, 1, 1)
    candidates[3].joined_at = 1000.0
    candidates[3].warm_up(1000.0, 30.0)
    picker = RoundRobin(random=random.Random(1).random) if kind is RoundRobin else kind()
    found = shares(picker, candidates, 4000)
    assert 60 <= found["d"] <= 180


@pytest.mark.parametrize("picker", [PickFirst(), RoundRobin(), WeightedRoundRobin(), PeakEWMA()])
def test_what_is_expected_comes_true_and_takes_no_turn(picker: Picker) -> None:
    candidates = candidates_of(1, 3)
    candidates[0].observe(0.1, 1000.0, failed=False)
    for _ in range(20):
        foreseen = [expected(picker, candidates, call_of()) for _ in range(3)]
        assert foreseen[0] is not None
        assert foreseen == [picker.pick(candidates, call_of())] * 3


def test_nothing_is_expected_where_chance_decides() -> None:
    assert expected(PeakEWMA(), candidates_of(1, 1, 1), call_of()) is None
    assert expected(LeastOutstanding(), candidates_of(1, 1), call_of()) is None
    busy, free = candidates_of(1, 1)
    busy.outstanding = 1
    assert expected(LeastOutstanding(), (busy, free), call_of()) is free

    class Own:
        def pick(self, candidates: Any, call: Any) -> Any:
            return candidates[-1]

    assert expected(Own(), candidates_of(1, 1), call_of()) is None
    assert isinstance(Own(), Picker)
