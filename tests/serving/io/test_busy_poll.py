"""BusyPoll: when it polls and when it sleeps, on a clock that only polling moves."""

from __future__ import annotations

import pytest

from portal.serving.io.busy_poll import BusyPoll

LIMIT = 100.0


class Events:
    """An event comes `gap` seconds after each wait began. A poll takes a second, a sleep lasts until the event."""

    def __init__(self) -> None:
        self.now = self.due = 0.0
        self.looks = self.sleeps = 0

    def clock(self) -> float:
        return self.now

    def poll(self, timeout: float) -> list[object]:
        if timeout:
            self.sleeps += 1
            self.now = max(self.now, min(self.due, self.now + timeout))
        else:
            self.looks += 1
            self.now += 1.0
        return ["event"] if self.now >= self.due else []

    def after(self, gap: float, wait: BusyPoll, *, times: int = 1, alone: bool = True) -> tuple[int, int]:
        """Return how often it polled and how often it slept in the last of several waits."""
        for _ in range(times):
            self.due = self.now + gap
            self.looks = self.sleeps = 0
            assert wait.wait(10_000.0, alone) == ["event"]
        return self.looks, self.sleeps


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def wait(events: Events) -> BusyPoll:
    return BusyPoll(events.poll, LIMIT, events.clock)


def test_it_sleeps_before_it_knows_the_usual_wait(events: Events, wait: BusyPoll) -> None:
    assert events.after(20.0, wait) == (0, 1)


def test_fast_events_are_polled_for(events: Events, wait: BusyPoll) -> None:
    events.after(20.0, wait, times=20)
    assert events.after(20.0, wait) == (20, 0)


def test_several_pauses_end_the_polling_and_one_does_not(events: Events, wait: BusyPoll) -> None:
    events.after(20.0, wait, times=40)
    looks, sleeps = events.after(5_000.0, wait)
    assert (looks, sleeps) == (LIMIT, 1)  # it looks for its time, then sleeps
    assert events.after(20.0, wait) == (20, 0)
    events.after(5_000.0, wait, times=3)
    assert events.after(20.0, wait) == (0, 1)


def test_it_sleeps_while_events_are_slow(events: Events, wait: BusyPoll) -> None:
    assert events.after(2 * LIMIT, wait, times=50) == (0, 1)


def test_it_sleeps_while_workers_are_busy(events: Events, wait: BusyPoll) -> None:
    events.after(20.0, wait, times=40)
    assert events.after(20.0, wait, alone=False) == (0, 1)


def test_the_timeout_ends_the_polling(events: Events, wait: BusyPoll) -> None:
    events.after(20.0, wait, times=40)
    events.due, before = events.now + 1_000.0, events.now
    assert wait.wait(30.0, True) == []
    assert events.now - before <= 30.0 + 30.0  # it looked for that long, and then slept for as long


def test_zero_always_sleeps(events: Events) -> None:
    wait = BusyPoll(events.poll, 0.0, events.clock)
    assert events.after(20.0, wait, times=40) == (0, 1)
