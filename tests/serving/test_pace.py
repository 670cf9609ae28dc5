"""Paces by table, on a clock that only the test moves."""

from __future__ import annotations

import pytest

from portal.serving.pace import QUICK, STUCK, Paces

FAST, SLOW = QUICK / 5, QUICK * 4


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def paces(clock: Clock) -> Paces:
    return Paces(clock=clock)


def test_what_is_unknown_is_not_quick(paces: Paces) -> None:
    assert not paces.is_quick("add")
    paces.served_here("add", FAST)
    assert not paces.is_quick("add")


def test_what_a_worker_once_did_fast_is_quick_however_long_others_took(paces: Paces) -> None:
    for seconds in (SLOW, FAST, SLOW, SLOW):
        paces.served_by_worker("add", seconds)
    assert paces.is_quick("add")
    paces.served_by_worker("nap", SLOW)
    assert not paces.is_quick("nap")


def test_one_pause_of_the_machine_changes_nothing(paces: Paces) -> None:
    paces.served_by_worker("add", FAST)
    paces.served_here("add", STUCK * 0.9)
    assert paces.is_quick("add")


def test_what_is_often_slow_here_is_sent_away(paces: Paces) -> None:
    paces.served_by_worker("add", FAST)
    for seconds in (SLOW, FAST) * 40:
        paces.served_here("add", seconds)
    assert not paces.is_quick("add")


def stick(paces: Paces, clock: Clock) -> float:
    """Let it get stuck here once; how long it is not tried again, though workers do it fast."""
    assert paces.is_quick("add")
    paces.served_here("add", STUCK)
    away = clock.now
    paces.served_by_worker("add", FAST)
    while not paces.is_quick("add"):
        clock.now += 0.01
    return clock.now - away


def test_what_gets_stuck_here_again_and_again_is_tried_more_and_more_seldom(paces: Paces, clock: Clock) -> None:
    paces.served_by_worker("add", FAST)
    pauses = [stick(paces, clock) for _ in range(12)]
    assert pauses[0] == pytest.approx(0.05, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(30.0, abs=0.1)
    clock.now += 1_000.0
    assert stick(paces, clock) == pytest.approx(0.05, abs=0.02)  # long ago: as the first time


def test_it_is_tried_again_only_when_a_worker_did_it_fast(paces: Paces, clock: Clock) -> None:
    paces.served_by_worker("add", FAST)
    paces.served_here("add", STUCK)
    clock.now += 1_000.0
    paces.served_by_worker("add", SLOW)
    assert not paces.is_quick("add")
    paces.served_by_worker("add", FAST)
    assert paces.is_quick("add")


def test_a_stream_is_never_quick(paces: Paces) -> None:
    paces.served_by_worker("ticks", float("inf"))
    assert not paces.is_quick("ticks")
    paces.served_by_worker("ticks", FAST)
    paces.served_here("ticks", float("inf"))
    assert not paces.is_quick("ticks")


def test_what_is_remembered_has_a_bound() -> None:
    paces = Paces(most=3)
    for name in "abcd":
        paces.served_by_worker(name, FAST)
    assert [paces.is_quick(name) for name in "abcd"] == [False, False, False, True]
