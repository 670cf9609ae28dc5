"""Outliers: stop calling instances that fail more than the others, as gRPC does (gRFC A50).

Every `interval` the calls of each instance are counted. An instance is ejected if its success rate is far below the
mean, or if its failure percentage is above a threshold. Each further ejection lasts longer.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from ..._internal.settings import count, instance, number, positive_seconds
from .candidate import Candidate

__all__ = ["FailurePercentage", "OutlierDetector", "Outliers", "SuccessRate"]


@dataclass(frozen=True)
class SuccessRate:
    """Eject an instance whose success rate is far below that of the others.

    Args:
        stdev_factor: how many standard deviations below the mean. With fewer than 5 instances none can be more than
            1.73 below it; use FailurePercentage for them.
        enforcement: percent of such instances that are ejected.
        minimum_hosts: instances with enough calls that there must be.
        request_volume: calls of an interval that an instance must have to count.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    stdev_factor: float = 1.9
    enforcement: float = 100
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        number("success_rate.stdev_factor", self.stdev_factor, minimum=0)
        number("success_rate.enforcement", self.enforcement, minimum=0, maximum=100)
        count("success_rate.minimum_hosts", self.minimum_hosts)
        count("success_rate.request_volume", self.request_volume)


@dataclass(frozen=True)
class FailurePercentage:
    """Eject an instance of which too large a share of the calls fails.

    Args:
        threshold: percent of failed calls; an instance above it is ejected.
        enforcement: percent of such instances that are ejected.
        minimum_hosts: instances with enough calls that there must be.
        request_volume: calls of an interval that an instance must have to count.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    threshold: float = 85
    enforcement: float = 100
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        number("failure_percentage.threshold", self.threshold, minimum=0, maximum=100)
        number("failure_percentage.enforcement", self.enforcement, minimum=0, maximum=100)
        count("failure_percentage.minimum_hosts", self.minimum_hosts)
        count("failure_percentage.request_volume", self.request_volume)


@dataclass(frozen=True)
class Outliers:
    """When instances that fail are ejected, and for how long.

    Args:
        interval: seconds between two looks at the counts.
        base_ejection_time: seconds of the first ejection; the second in a row lasts twice that, and so on.
        max_ejection_time: seconds of the longest ejection.
        max_ejection_percent: percent of the instances that may be ejected at a time. One may be ejected in any case.
        success_rate: the rule of the success rate; None leaves it out.
        failure_percentage: the rule of the failure percentage; None leaves it out.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: float = 10
    success_rate: SuccessRate | None = SuccessRate()
    failure_percentage: FailurePercentage | None = FailurePercentage()

    def __post_init__(self) -> None:
        positive_seconds("outliers.interval", self.interval)
        positive_seconds("outliers.base_ejection_time", self.base_ejection_time)
        positive_seconds("outliers.max_ejection_time", self.max_ejection_time)
        number("outliers.max_ejection_percent", self.max_ejection_percent, minimum=0, maximum=100)
        instance("outliers.success_rate", self.success_rate, SuccessRate, optional=True)
        instance("outliers.failure_percentage", self.failure_percentage, FailurePercentage, optional=True)

    def ejection_end(self, candidate: Candidate) -> float | None:
        """Return the time at which the ejection of a candidate may end, or None if it is not ejected."""
        if candidate.ejected_at is None:
            return None
        longest = max(self.base_ejection_time, self.max_ejection_time)
        return candidate.ejected_at + min(self.base_ejection_time * candidate.ejections, longest)


class OutlierDetector:
    """Applies the rules to the candidates of one group.

    Args:
        rules: when to eject.
        random: returns a number from 0 to 1.

    Attributes:
        ejections: how many times a candidate was ejected.

    Threads: one at a time; its group holds a lock.
    """

    def __init__(self, rules: Outliers, *, random: Callable[[], float] = _random.random) -> None:
        self._rules = rules
        self._random = random
        self.ejections = 0

    def sweep(self, candidates: Sequence[Candidate], now: float) -> list[Candidate]:
        """End an interval: eject outliers, let back whose time is over, and begin to count anew.

        Returns: the candidates that came back.
        """
        counts = [(one, one.successes, one.bad) for one in candidates]
        for one in candidates:
            one.successes = one.bad = 0
        if self._rules.success_rate is not None:
            self._by_success_rate(self._rules.success_rate, counts, now)
        if self._rules.failure_percentage is not None:
            self._by_failure_percentage(self._rules.failure_percentage, counts, now)
        return [one for one in candidates if self._comes_back(one, now)]

    def _by_success_rate(self, rule: SuccessRate, counts: list[tuple[Candidate, int, int]], now: float) -> None:
        rated = [
            (candidate, good / (good + bad))
            for candidate, good, bad in counts
            if good + bad and good + bad >= rule.request_volume
        ]
        if len(rated) < rule.minimum_hosts:
            return
        mean = sum(rate for _, rate in rated) / len(rated)
        deviation = sqrt(sum((rate - mean) ** 2 for _, rate in rated) / len(rated))
        required = mean - deviation * rule.stdev_factor
        self._eject([one for one, rate in rated if rate < required], counts, rule.enforcement, now)

    def _by_failure_percentage(
        self, rule: FailurePercentage, counts: list[tuple[Candidate, int, int]], now: float
    ) -> None:
        rated = [
            (candidate, 100.0 * bad / (good + bad))
            for candidate, good, bad in counts
            if good + bad and good + bad >= rule.request_volume
        ]
        if len(rated) < rule.minimum_hosts:
            return
        self._eject([one for one, failed in rated if failed > rule.threshold], counts, rule.enforcement, now)

    def _eject(
        self, outliers: list[Candidate], counts: list[tuple[Candidate, int, int]], enforcement: float, now: float
    ) -> None:
        ejected = sum(one.ejected_at is not None for one, _, _ in counts)
        for candidate in outliers:
            if 100.0 * ejected / len(counts) >= self._rules.max_ejection_percent:
                return
            if candidate.ejected_at is None and self._random() * 100.0 < enforcement:
                candidate.ejected_at = now
                candidate.ejections += 1
                self.ejections += 1
                ejected += 1

    def _comes_back(self, candidate: Candidate, now: float) -> bool:
        if candidate.ejected_at is None:
            candidate.ejections = max(0, candidate.ejections - 1)
            return False
        end = self._rules.ejection_end(candidate)
        if end is None or now <= end:
            return False
        candidate.ejected_at = None
        return True
