from __future__ import annotations

import pytest

from portal.consumer.batches.turns import Turns


def test_the_window_is_halved_once_for_the_calls_of_one_epoch() -> None:
    turns = Turns(32)
    for _ in range(32):
        turns.limited(0, 2.0, now=100.0)
    assert (turns.window, turns.epoch) == (16, 1)
    assert turns.wait(100.5) == 1.5
    assert turns.wait(103.0) == 0.0
    turns.limited(1, 0.5, now=103.0)
    assert (turns.window, turns.epoch, turns.wait(103.0)) == (8, 2, 0.5)


def test_the_window_never_closes() -> None:
    turns = Turns(4)
    for epoch in range(9):
        turns.limited(epoch, 1.0, now=0.0)
    assert turns.window == 1


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    turns = Turns(4)
    turns.limited(0, 5.0, now=0.0)
    turns.limited(0, 1.0, now=0.0)
    assert turns.wait(0.0) == 5.0


@pytest.mark.parametrize(("successes", "window"), [(0, 1), (1, 2), (3, 2), (4, 3), (1000, 32)])
def test_successes_open_the_window(successes: int, window: int) -> None:
    turns = Turns(32)
    for epoch in range(5):
        turns.limited(epoch, 1.0, now=0.0)
    for _ in range(successes):
        turns.passed()
    assert turns.window == window
