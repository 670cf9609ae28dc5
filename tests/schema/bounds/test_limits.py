from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from portal import ConfigError
from portal.context import CallContext
from portal.schema import Schema, ValidationLimits, set_validation_limits, validation_stats
from portal.schema.bounds.limits import Allowance, limits


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("report_time", 0),
        ("report_time", True),
        ("report_text", 0),
        ("pattern_text", -1),
        ("pattern_time", -1.0),
        ("max_expansion", 1.5),
    ],
)
def test_a_wrong_limit_is_rejected(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"validation.{setting} must be"):
        ValidationLimits(**{setting: value})


def test_only_limits_are_installed() -> None:
    wrong: Any = {"report_time": 1.0}
    with pytest.raises(ConfigError, match=r"validation\.limits must be"):
        set_validation_limits(wrong)


def test_limits_are_installed_for_the_process() -> None:
    mine = ValidationLimits(report_time=2.0)
    earlier = set_validation_limits(mine)
    try:
        assert limits() is mine
    finally:
        assert set_validation_limits(earlier) is mine
    assert limits() is earlier


def test_an_allowance_ends_at_the_deadline_of_the_running_call() -> None:
    allowance = Allowance()
    allowance.start(60.0)
    assert not allowance.is_over()
    with CallContext(deadline=monotonic() - 1.0).active():
        allowance.start(60.0)
    assert allowance.is_over()
    assert allowance.exceeded
    allowance.start(60.0)
    assert not allowance.exceeded


def test_a_report_ends_with_its_time_and_says_so() -> None:
    schema = Schema.of({"type": "object", "required": ["a", "b"]})
    earlier, before = set_validation_limits(ValidationLimits(report_time=1e-9)), validation_stats()["reports_ended"]
    try:
        faults = schema.faults({})
    finally:
        set_validation_limits(earlier)
    assert [(fault.rule, fault.message) for fault in faults] == [
        ("faults", "the list of faults was ended; there may be more")
    ]
    assert validation_stats()["reports_ended"] == before + 1
    assert [fault.path for fault in schema.faults({})] == ["/a", "/b"]


def test_a_report_ends_with_its_text_and_says_so() -> None:
    schema = Schema.of({"type": "array", "items": {"type": "integer"}})
    earlier = set_validation_limits(ValidationLimits(report_text=500))
    try:
        faults = schema.faults(["x"] * 100)
    finally:
        set_validation_limits(earlier)
    assert 1 < len(faults) < 20
    assert faults[-1].rule == "faults"
    assert sum(fault.length for fault in faults[:-1]) <= 500
