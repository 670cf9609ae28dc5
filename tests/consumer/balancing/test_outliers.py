"""The rules of gRFC A50, on counts that the test sets."""

from __future__ import annotations

import random

import pytest

from portal.consumer.balancing import Candidate, FailurePercentage, Outliers, SuccessRate
from portal.consumer.balancing.outliers import OutlierDetector
from tests.support.instances import candidates_of

Counts = list[tuple[int, int]]  # successes and failures of each instance


def detector(**rules: object) -> OutlierDetector:
    return OutlierDetector(Outliers(**rules), random=random.Random(1).random)  # type: ignore[arg-type]


def ejected(one: OutlierDetector, candidates: tuple[Candidate, ...], counts: Counts, now: float = 10.0) -> str:
    for candidate, (good, bad) in zip(candidates, counts, strict=True):
        candidate.successes, candidate.bad = good, bad
    one.sweep(candidates, now)
    assert all(candidate.successes == candidate.bad == 0 for candidate in candidates)
    return "".join(candidate.address.host for candidate in candidates if candidate.ejected_at is not None)


FIVE = [(100, 0)] * 4


@pytest.mark.parametrize(
    ("rule", "counts", "found"),
    [
        # success rates 1, 1, 1, 1, 0.5: mean 0.9, deviation 0.2, required 0.52
        (SuccessRate(), [*FIVE, (50, 50)], "e"),
        (SuccessRate(), [(50, 50), *FIVE], "a"),
        (SuccessRate(), [*FIVE, (100, 0)], ""),
        # a factor of 2.0 is not exceeded: the last one is exactly 2 deviations below
        (SuccessRate(stdev_factor=2.1), [*FIVE, (50, 50)], ""),
        # too few instances have enough calls
        (SuccessRate(), [*FIVE[:3], (99, 0), (50, 50)], ""),
        (SuccessRate(minimum_hosts=6), [*FIVE, (50, 50)], ""),
        # the outlier itself has too few calls
        (SuccessRate(minimum_hosts=4), [*FIVE, (40, 59)], ""),
        (SuccessRate(request_volume=50), [*FIVE, (40, 59)], "e"),
        (SuccessRate(enforcement=0), [*FIVE, (50, 50)], ""),
        # with four instances none is far enough below the mean
        (SuccessRate(minimum_hosts=4), [(100, 0)] * 3 + [(0, 100)], ""),
        (SuccessRate(minimum_hosts=1, request_volume=1), [(0, 0)] * 5, ""),
    ],
)
def test_instances_far_below_the_mean_success_rate_are_ejected(rule: SuccessRate, counts: Counts, found: str) -> None:
    candidates = candidates_of(*[1] * len(counts))
    assert ejected(detector(success_rate=rule, failure_percentage=None), candidates, counts) == found


@pytest.mark.parametrize(
    ("rule", "counts", "found"),
    [
        (FailurePercentage(), [*FIVE, (14, 86)], "e"),
        (FailurePercentage(), [*FIVE, (15, 85)], ""),  # it must be above the threshold
        (FailurePercentage(threshold=40, minimum_hosts=3), [(100, 0)] * 3 + [(50, 50)], "d"),
        (FailurePercentage(), [*FIVE[:3], (49, 0), (0, 100)], ""),
        (FailurePercentage(request_volume=101), [*FIVE, (0, 100)], ""),
        (FailurePercentage(enforcement=0), [*FIVE, (0, 100)], ""),
        (FailurePercentage(minimum_hosts=6), [*FIVE, (0, 100)], ""),
    ],
)
def test_instances_above_the_failure_percentage_are_ejected(
    rule: FailurePercentage, counts: Counts, found: str
) -> None:
    candidates = candidates_of(*[1] * len(counts))
    assert ejected(detector(success_rate=None, failure_percentage=rule), candidates, counts) == found


@pytest.mark.parametrize(("percent", "found"), [(10, "a"), (20, "a"), (21, "ab"), (50, "abc"), (100, "abcde"), (0, "")])
def test_only_a_share_is_ejected(percent: float, found: str) -> None:
    """The share is tested before each ejection: one of five may go at 10 percent, none at 0."""
    rule = FailurePercentage(threshold=50)
    one = detector(success_rate=None, failure_percentage=rule, max_ejection_percent=percent)
    assert ejected(one, candidates_of(*[1] * 5), [(0, 100)] * 5) == found


def test_enforcement_is_a_chance() -> None:
    rule = FailurePercentage(enforcement=50)
    one = detector(success_rate=None, failure_percentage=rule, max_ejection_percent=100)
    found = ejected(one, candidates_of(*[1] * 26), [(0, 100)] * 26)
    assert 6 <= len(found) <= 20


def test_each_ejection_in_a_row_lasts_longer_and_good_intervals_shorten_the_next() -> None:
    one = detector(base_ejection_time=30.0, max_ejection_time=70.0)
    candidates = candidates_of(*[1] * 5)
    bad, good = [*FIVE, (0, 100)], [*FIVE, (100, 0)]
    last = candidates[4]
    now, lasted = 0.0, []
    for _ in range(4):
        assert ejected(one, candidates, bad, now) == "e"
        begin = now
        while last.ejected_at is not None:
            now += 10.0
            ejected(one, candidates, [(0, 0)] * 5, now)
        lasted.append(now - begin)
    assert lasted == [40.0, 70.0, 80.0, 80.0], "30, 60, 70 and 70 seconds end at the next interval after them"
    assert (last.ejections, one.ejections) == (4, 4)
    for _ in range(3):
        now += 10.0
        ejected(one, candidates, good, now)
    assert last.ejections == 1


def test_the_longest_ejection_is_at_least_the_base() -> None:
    rules = Outliers(base_ejection_time=30.0, max_ejection_time=10.0)
    (one,) = candidates_of(1)
    assert rules.ejection_end(one) is None
    one.ejected_at, one.ejections = 100.0, 5
    assert rules.ejection_end(one) == 130.0


def test_an_ejected_instance_is_not_ejected_again() -> None:
    one = detector()
    candidates = candidates_of(*[1] * 5)
    ejected(one, candidates, [*FIVE, (0, 100)], 10.0)
    ejected(one, candidates, [*FIVE, (0, 100)], 20.0)  # calls that were in progress
    assert (candidates[4].ejected_at, candidates[4].ejections) == (10.0, 1)
