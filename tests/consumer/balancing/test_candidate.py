from __future__ import annotations

from math import exp

import pytest

from tests.support.clocks import Clock
from tests.support.instances import candidates_of


def test_the_latency_follows_a_rise_at_once_and_a_fall_slowly() -> None:
    clock = Clock()
    (one,) = candidates_of(1, clock=clock)
    assert one.latency is None
    one.observe(0.1, clock.now, failed=False)
    one.observe(2.0, clock.now, failed=False)
    assert one.latency == 2.0
    clock.now += 10
    assert one.latency == pytest.approx(2.0 / exp(1))
    one.observe(0.1, clock.now, failed=False)
    assert one.latency == pytest.approx(2.0 * exp(-1) + 0.1 * (1 - exp(-1)))


def test_a_failure_makes_an_instance_look_slower() -> None:
    clock = Clock()
    (one,) = candidates_of(1, clock=clock)
    seen = []
    for _ in range(4):
        one.observe(0.001, clock.now, failed=True)
        seen.append(one.latency)
    assert seen == [1.0, 3.0, 9.0, 10.0]
    one.observe(30.0, clock.now, failed=True)
    one.observe(0.001, clock.now, failed=True)
    assert one.latency == 30.0, "the penalty is bounded, the latency is not"
    assert (one.calls, one.failures, one.successes, one.bad) == (6, 6, 0, 6)


def test_a_call_that_is_given_up_shows_a_least_latency() -> None:
    clock = Clock()
    (one,) = candidates_of(1, clock=clock)
    one.observe_at_least(0.5, clock.now)
    one.observe_at_least(0.2, clock.now)
    assert one.latency == 0.5
    assert one.calls == 0


def test_the_cost_grows_with_the_calls_in_progress_and_falls_with_the_weight() -> None:
    one, heavy = candidates_of(1, 4)
    assert (one.cost, heavy.cost) == (0.0, 0.0)
    one.outstanding = heavy.outstanding = 1
    assert (one.cost, heavy.cost) == (1.0, 0.25), "an instance that has not responded yet is not called by everybody"
    for candidate in (one, heavy):
        candidate.observe(0.1, 1000.0, failed=False)
    assert (one.cost, heavy.cost) == (0.2, 0.05)


def test_an_unreachable_instance_is_tried_again_ever_later() -> None:
    (one,) = candidates_of(1)
    waits = []
    for _ in range(8):
        one.refuse(100.0)
        assert one.down_until is not None
        waits.append(round(one.down_until - 100.0, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert one.accept(200.0)
    assert one.joined_at == 200.0
    assert not one.accept(201.0)
    one.refuse(300.0)
    assert one.down_until == pytest.approx(300.1)


def test_the_slow_start_rises_from_a_tenth() -> None:
    (one,) = candidates_of(4)
    one.joined_at = 100.0
    assert one.warm_up(100.0, 10.0)
    assert one.weight == pytest.approx(0.4)
    assert one.warm_up(105.0, 10.0)
    assert one.weight == pytest.approx(2.0)
    assert not one.warm_up(110.0, 10.0)
    assert (one.weight, one.joined_at) == (4.0, None)
    one.joined_at = 100.0
    assert not one.warm_up(100.0, 0.0), "without a slow start"
    assert "outstanding=0" in repr(one)
