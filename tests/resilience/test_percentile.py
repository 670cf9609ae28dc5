from __future__ import annotations

import pytest

from portal.resilience.percentile import RecentPercentile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 10), (0.95, 19), (1.0, 19)])
def test_a_percentile_needs_twenty_values(share: float, expected: float) -> None:
    recent = RecentPercentile(share)
    for value in range(19):
        recent.add(value)
    assert recent.value is None
    recent.add(19)
    assert recent.value == expected


def test_old_values_are_replaced() -> None:
    recent = RecentPercentile(0.5)
    for _ in range(256):
        recent.add(1.0)
    for _ in range(256):
        recent.add(5.0)
    assert recent.value == 5.0
