from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from portal.serving.switch_interval import SWITCH_INTERVAL, shorten_switch_interval


@pytest.fixture(autouse=True)
def interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("before", "after"), [(5e-3, SWITCH_INTERVAL), (1e-6, 1e-6)])
def test_a_longer_interval_is_shortened(before: float, after: float) -> None:
    sys.setswitchinterval(before)
    shorten_switch_interval()
    assert sys.getswitchinterval() == pytest.approx(after)
