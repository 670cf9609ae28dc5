"""LatencyTracker on a clock that only the test moves."""

from __future__ import annotations

import pytest

from portal.serving.loop.latency import QUICK, STUCK, LatencyTracker
from tests.support.clocks import Clock
from tests.support.races import fast_switches, in_threads

FAST, SLOW = QUICK / 5, QUICK * 4


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def latencies(clock: Clock) -> LatencyTracker:
    return LatencyTracker(clock=clock)


def test_an_unknown_call_is_not_quick(latencies: LatencyTracker) -> None:
    assert not latencies.is_quick("add")
    latencies.served_inline("add", FAST)
    assert not latencies.is_quick("add")


def test_one_fast_call_in_a_worker_makes_a_call_quick(latencies: LatencyTracker) -> None:
    for seconds in (SLOW, FAST, SLOW, SLOW):
        latencies.served_by_worker("add", seconds)
    assert latencies.is_quick("add")
    latencies.served_by_worker("nap", SLOW)
    assert not latencies.is_quick("nap")


def test_one_pause_of_the_machine_changes_nothing(latencies: LatencyTracker) -> None:
    latencies.served_by_worker("add", FAST)
    latencies.served_inline("add", STUCK * 0.9)
    assert latencies.is_quick("add")


def test_a_call_that_is_often_slow_inline_goes_to_workers(latencies: LatencyTracker) -> None:
    latencies.served_by_worker("add", FAST)
    for seconds in (SLOW, FAST) * 40:
        latencies.served_inline("add", seconds)
    assert not latencies.is_quick("add")


def stick(latencies: LatencyTracker, clock: Clock) -> float:
    """Let a call get stuck inline. Return how long it is not served inline again, although workers are fast."""
    assert latencies.is_quick("add")
    latencies.served_inline("add", STUCK)
    away = clock.now
    latencies.served_by_worker("add", FAST)
    while not latencies.is_quick("add"):
        clock.now += 0.01
    return clock.now - away


def test_a_call_that_gets_stuck_repeatedly_is_tried_inline_less_often(latencies: LatencyTracker, clock: Clock) -> None:
    latencies.served_by_worker("add", FAST)
    pauses = [stick(latencies, clock) for _ in range(12)]
    assert pauses[0] == pytest.approx(0.05, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(30.0, abs=0.1)
    clock.now += 1_000.0
    assert stick(latencies, clock) == pytest.approx(0.05, abs=0.02)  # long ago: as the first time


def test_a_call_that_gets_stuck_once_in_a_thousand_times_keeps_its_short_pause(
    latencies: LatencyTracker, clock: Clock
) -> None:
    latencies.served_by_worker("add", FAST)
    for _ in range(12):
        assert stick(latencies, clock) == pytest.approx(0.05, abs=0.02)
        for _ in range(1000):
            latencies.served_inline("add", FAST)


def test_a_call_that_is_noted_while_it_is_stuck_and_at_its_end_counts_once(
    latencies: LatencyTracker, clock: Clock
) -> None:
    latencies.served_by_worker("add", FAST)
    latencies.served_inline("add", STUCK)
    clock.now += 0.01
    latencies.served_inline("add", STUCK)
    latencies.served_by_worker("add", FAST)
    clock.now += 0.045
    assert latencies.is_quick("add")


def test_a_slow_call_is_tried_inline_again_after_a_worker_was_fast(latencies: LatencyTracker, clock: Clock) -> None:
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


def test_the_number_of_keys_is_bounded() -> None:
    latencies = LatencyTracker(max_keys=3)
    for name in "abcd":
        latencies.served_by_worker(name, FAST)
    assert [latencies.is_quick(name) for name in "abcd"] == [False, False, False, True]


def test_of_the_times_of_many_workers_the_shortest_counts(latencies: LatencyTracker) -> None:
    times = [SLOW, FAST, 2 * SLOW, 3 * SLOW]

    def work(number: int) -> None:
        for key in range(3000):
            latencies.served_by_worker(key, times[number])

    with fast_switches():
        in_threads(4, work)
    assert [key for key in range(3000) if not latencies.is_quick(key)] == []


def test_no_time_of_two_reading_threads_is_lost(clock: Clock) -> None:
    """A thread that was stuck notes its time while the next one notes another."""
    latencies, alone = LatencyTracker(clock=clock), LatencyTracker(clock=clock)
    for one in (latencies, alone):
        one.served_by_worker("add", 0.0)
    for _ in range(4 * 2000):
        alone.served_inline("add", FAST)

    def work(_: int) -> None:
        for _ in range(2000):
            latencies.served_inline("add", FAST)

    with fast_switches():
        in_threads(4, work)
    assert latencies._latencies["add"].usual == alone._latencies["add"].usual


def test_threads_together_keep_no_more_keys_than_the_limit(clock: Clock) -> None:
    latencies = LatencyTracker(max_keys=5, clock=clock)

    def work(number: int) -> int:
        most = 0
        for key in range(2000):
            latencies.served_by_worker((number, key), FAST)
            most = max(most, len(latencies._latencies))
        return most

    with fast_switches():
        assert max(in_threads(4, work)) <= 5
