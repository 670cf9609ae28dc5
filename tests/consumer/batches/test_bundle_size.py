"""BundleSize: which size of a message it finds for functions of different kinds, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.consumer.batches.bundle_size import BundleSize


def run(size: BundleSize, seconds: Callable[[int], float], calls: int) -> list[int]:
    """Send messages one after the other, and return their sizes."""
    sent = []
    while calls > 0:
        value = size.value
        size.began(value)
        size.ended(value, seconds(value))
        sent.append(value)
        calls -= value
    return sent


def small(calls: int) -> float:
    """A message costs far more than a call."""
    return 0.001 + 0.00001 * calls


def long(calls: int) -> float:
    """A call costs far more than a message."""
    return 0.001 + 0.02 * calls


@pytest.mark.parametrize(("window", "largest"), [(32, 16), (200, 100), (1000, 100), (4, 2), (9, 4)])
def test_small_calls_go_in_large_messages(window: int, largest: int) -> None:
    size = BundleSize(window)
    sent = run(size, small, 5000)
    assert sent[:8] == [1] * 8
    assert size.value == max(sent) == largest


def test_long_calls_go_alone() -> None:
    size = BundleSize(32)
    sent = run(size, long, 5000)
    assert set(sent) == {1, 2}
    assert sent.count(2) < len(sent) / 40
    assert size.value == 1


def test_calls_that_take_very_long_are_never_sent_together() -> None:
    assert set(run(BundleSize(32), lambda calls: 0.3 * calls, 500)) == {1}


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_small_window_has_no_messages_of_several_calls(window: int) -> None:
    assert set(run(BundleSize(window), small, 500)) == {1}


def test_one_larger_message_is_tried_at_a_time() -> None:
    size = BundleSize(32)
    run(size, small, 8)
    assert size.value == 4
    size.began(4)
    assert size.value == 1
    size.ended(4, small(4))
    assert size.value == 4


def test_some_bad_luck_decides_nothing() -> None:
    size = BundleSize(32)
    run(size, small, 8)
    for seconds in (small(4), 5.0, 5.0, small(4), 5.0, small(4)):
        size.began(4)
        size.ended(4, seconds)
    assert run(size, small, 1) == [4]


def test_messages_whose_calls_must_be_made_again_end_large_messages_for_a_time() -> None:
    size = BundleSize(32)
    run(size, small, 2000)
    for _ in range(2):
        size.failed(16)
    run(size, small, 16)
    for _ in range(2):
        size.failed(16)
    assert size.value == 16
    size.failed(16)
    sent = run(size, small, 2000)
    assert set(sent) == {1}
    run(size, small, 1000)
    assert size.value == 16


def test_a_larger_message_whose_calls_must_be_made_again_is_tried_once_more() -> None:
    size = BundleSize(32)
    run(size, small, 8)
    for failures in range(4):
        assert size.value == 4, failures
        size.began(4)
        size.failed(4)
    assert size.value == 1
    run(size, small, 2000)
    assert size.value == 16


def test_a_function_that_becomes_slow_goes_alone() -> None:
    size = BundleSize(32)
    run(size, small, 2000)
    assert size.value == 16
    run(size, long, 16 * 20)
    assert size.value == 1


def test_stop_is_for_ever() -> None:
    size = BundleSize(32)
    size.stop()
    assert set(run(size, small, 5000)) == {1}
    for _ in range(3):
        size.failed(1)
    assert set(run(size, small, 5000)) == {1}


def test_a_message_of_another_size_is_no_measure() -> None:
    size = BundleSize(32)
    for _ in range(100):
        size.began(3)
        size.ended(3, 0.001)
    assert size.value == 1
