"""LatencyTracker by table, on a clock that only the test moves."""

from __future__ import annotations

import pytest

from portal.serving.latency import QUICK, STUCK, LatencyTracker
from tests.support.clocks import Clock

FAST, SLOW = QUICK / 5, QUICK * 4


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def latencies(clock: Clock) -> LatencyTracker:
    return LatencyTracker(clock=clock)


def test_what_is_unknown_is_not_quick(latencies: LatencyTracker) -> None:
    assert not latencies.is_quick("add")
    latencies.served_inline("add", FAST)
    assert not latencies.is_quick("add")


def test_what_a_worker_once_did_fast_is_quick_however_long_others_took(latencies: LatencyTracker) -> None:
    for seconds in (SLOW, FAST, SLOW, SLOW):
        latencies.served_by_worker("add", seconds)
    assert latencies.is_quick("add")
    latencies.served_by_worker("nap", SLOW)
    assert not latencies.is_quick("nap")


def test_one_pause_of_the_machine_changes_nothing(latencies: LatencyTracker) -> None:
    latencies.served_by_worker("add", FAST)
    latencies.served_inline("add", STUCK * 0.9)
    assert latencies.is_quick("add")


def test_what_is_often_slow_here_is_sent_away(latencies: LatencyTracker) -> None:
    latencies.served_by_worker("add", FAST)
    for seconds in (SLOW, FAST) * 40:
        latencies.served_inline("add", seconds)
    assert not latencies.is_quick("add")


def stick(latencies: LatencyTracker, clock: Clock) -> float:
    """Let it get stuck here once; how long it is not tried again, though workers do it fast."""
    assert latencies.is_quick("add")
    latencies.served_inline("add", STUCK)
    away = clock.now
    latencies.served_by_worker("add", FAST)
    while not latencies.is_quick("add"):
        clock.now += 0.01
    return clock.now - away


def test_what_gets_stuck_here_again_and_again_is_tried_more_and_more_seldom(
    latencies: LatencyTracker, clock: Clock
) -> None:
    latencies.served_by_worker("add", FAST)
    pauses = [stick(latencies, clock) for _ in range(12)]
    assert pauses[0] == pytest.approx(0.05, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(30.0, abs=0.1)
    clock.now += 1_000.0
    assert stick(latencies, clock) == pytest.approx(0.05, abs=0.02)  # long ago: as the first time


def test_it_is_tried_again_only_when_a_worker_did_it_fast(latencies: LatencyTracker, clock: Clock) -> None:
    latencies.served_by_worker("add", FAST)
    latencies.served_inline("add", STUCK)
    clock.now += 1_000.0
    latencies.served_by_worker("add", SLOW)
    assert not latencies.is_quick("add")
    latencies.served_by_worker("add", FAST)
    assert latencies.is_quick("add")


def test_a_stream_is_never_quick(latencies: LatencyTracker) -> None:
    latencies.served_by_worker("ticks", float("inf"))
    assert not latencies.is_quick("ticks")
    latencies.served_by_worker("ticks", FAST)
    latencies.served_inline("ticks", float("inf"))
    assert not latencies.is_quick("ticks")


def test_what_is_remembered_has_a_bound() -> None:
    latencies = LatencyTracker(max_keys=3)
    for name in "abcd":
        latencies.served_by_worker(name, FAST)
    assert [latencies.is_quick(name) for name in "abcd"] == [False, False, False, True]
