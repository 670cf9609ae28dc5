"""MessageRate: a burst of one second's messages, then the rate."""

from __future__ import annotations

import pytest

from portal.websocket.server.message_rate import MessageRate


def test_a_burst_then_the_rate() -> None:
    rate = MessageRate(10, now=0.0)
    assert all(rate.take(0.0) for _ in range(10))
    assert not rate.take(0.0)
    assert not rate.take(0.05)
    assert rate.take(0.15)
    assert not rate.take(0.15)
    assert [rate.take(0.55) for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("pause", [1.0, 5.0, 1000.0])
def test_no_more_than_a_second_is_saved_up(pause: float) -> None:
    rate = MessageRate(10, now=0.0)
    while rate.take(0.0):
        pass
    assert [rate.take(pause) for _ in range(12)].count(True) == 10


def test_an_even_stream_at_the_rate_passes() -> None:
    rate = MessageRate(100, now=0.0)
    assert all(rate.take(number / 100) for number in range(10_000))
