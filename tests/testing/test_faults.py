from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import ConfigError
from portal.testing import BlackHole, Cut, HalfOpen, Latency, NetworkFault, Refuse, Reset, Rewrite, SlowBytes


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: Latency(-1), "latency.duration"),
        (lambda: Latency(float("inf")), "latency.duration"),
        (lambda: Latency(True), "latency.duration"),
        (lambda: Latency(1, "both"), "latency.direction"),
        (lambda: SlowBytes(0), "slow_bytes.interval"),
        (lambda: SlowBytes(1, size=0), "slow_bytes.size"),
        (lambda: SlowBytes(1, direction="up"), "slow_bytes.direction"),
        (lambda: Cut(-1), "cut.after"),
        (lambda: Cut(1.5), "cut.after"),
        (lambda: Cut(range(0)), "cut.after"),
        (lambda: Cut(range(-1, 5)), "cut.after"),
        (lambda: Cut(0, "both"), "cut.direction"),
        (lambda: Reset(-1), "reset.after"),
        (lambda: Reset(0, "both"), "reset.direction"),
        (lambda: HalfOpen(-1), "half_open.after"),
        (lambda: Rewrite(bytes.upper, direction="both"), "rewrite.direction"),
        (lambda: Rewrite("upper"), "rewrite.change"),
        (lambda: Rewrite(bytes.upper, ""), "rewrite.label"),
    ],
)
def test_a_wrong_setting_is_rejected(make: Callable[[], Any], setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be") as caught:
        make()
    assert caught.value.path == setting


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Latency(1), "Latency"),
        (SlowBytes(1), "SlowBytes"),
        (Cut(range(5, 0, -1)), "Cut"),
        (Reset(), "Reset"),
        (HalfOpen(), "HalfOpen"),
        (BlackHole(), "BlackHole"),
        (Refuse(), "Refuse"),
        (Rewrite(bytes.upper), "Rewrite"),
        (Rewrite(bytes.upper, "capitals"), "capitals"),
    ],
)
def test_a_fault_has_a_name(fault: NetworkFault, name: str) -> None:
    assert fault.name == name


def test_equal_faults_are_equal() -> None:
    assert {Cut(10), Cut(10), Cut(11), Reset(10)} == {Cut(10), Cut(11), Reset(10)}
