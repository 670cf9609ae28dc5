from __future__ import annotations

from portal.javascript.counts import ScriptCounts


def test_calls_failures_and_fuel_are_added_up() -> None:
    counts = ScriptCounts()
    assert counts.read() == {"calls": 0, "failed": {}, "fuel": 0}
    for _ in range(3):
        counts.called()
    counts.failed("timeout")
    counts.failed("execute")
    counts.failed("timeout")
    counts.burnt(5)
    counts.burnt(7)
    assert counts.read() == {"calls": 3, "failed": {"execute": 1, "timeout": 2}, "fuel": 12}
