from __future__ import annotations

import pytest

from portal.resilience.gradient import Gradient2, GradientRules


def after(windows: list[tuple[float | None, int]], **options: float) -> Gradient2:
    """Return a limit after windows of ten equal calls each: (duration, calls in flight)."""
    made = Gradient2(GradientRules(**options))  # type: ignore[arg-type]
    now = 0.0
    made.add(windows[0][0], windows[0][1], now)
    for number, (duration, in_flight) in enumerate(windows):
        for call in range(9 if number == 0 else 10):
            now += 1.0 if call == 8 or (number and call == 9) else 0.0
            made.add(duration, in_flight, now)
    return made


# windows (mean duration, calls in flight), settings, limit
@pytest.mark.parametrize(
    ("windows", "options", "limit"),
    [
        ([(0.1, 20)], {}, 20.8),  # 20 + 0.2 * 4
        ([(0.1, 20)] * 10, {}, 28.0),
        ([(0.1, 20)], {"queue": 10}, 22.0),
        ([(0.1, 20)], {"smoothing": 1.0}, 24.0),
        ([(0.1, 9)] * 10, {}, 20.0),  # fewer callers than half of the limit
        ([(0.1, 10)] * 2, {}, 21.6 - 0.8),  # 10 of 20.8 is less than half
        ([(0.1, 100)] * 80, {"maximum": 50, "queue": 10}, 50.0),
        ([(0.0, 20)], {}, 20.8),
    ],
)
def test_the_limit_grows(windows: list[tuple[float | None, int]], options: dict[str, float], limit: float) -> None:
    assert after(windows, **options)._estimate == pytest.approx(limit)


def test_durations_within_the_tolerance_do_not_shrink_the_limit() -> None:
    quiet = [(0.1, 1)] * 10
    assert after([*quiet, (0.149, 20)])._estimate == pytest.approx(20.8)
    # The long average moves by 2/601 of the way to 0.2: the gradient is 1.5 * 0.10033 / 0.2.
    gradient = 1.5 * (0.1 + 0.1 * 2 / 601) / 0.2
    assert after([*quiet, (0.2, 20)])._estimate == pytest.approx(16 + 0.2 * (20 * gradient + 4))


def test_one_window_shrinks_the_limit_by_the_least_gradient() -> None:
    quiet = [(0.1, 1)] * 10
    assert after([*quiet, (50.0, 20)])._estimate == pytest.approx(16 + 0.2 * (10 + 4))
    assert after([*quiet, (50.0, 20)], min_gradient=0.9)._estimate == pytest.approx(16 + 0.2 * (18 + 4))
    assert after([*quiet, *[(50.0, 20)] * 25], queue=0, minimum=3).limit == 3


def test_drops_shrink_the_limit() -> None:
    assert after([(None, 20)])._estimate == pytest.approx(16 + 0.2 * 10)
    made = Gradient2(GradientRules())
    for call in range(10):
        made.add(None if call < 3 else 0.1, 20, call / 9)
    assert made._estimate == pytest.approx(16 + 0.2 * 14)


def test_a_window_needs_its_time_and_ten_calls() -> None:
    made = Gradient2(GradientRules())
    assert [made.add(0.1, 20, 0.5) for _ in range(50)] == [False] * 50
    assert made.add(0.1, 20, 1.5) is True
    assert [made.add(0.1, 20, 99.0) for _ in range(9)] == [False] * 9
    assert made.add(0.1, 20, 99.0) is True


def test_the_long_average_comes_down_after_an_overload() -> None:
    made = after([(1.0, 20)] * 10)
    assert made.long == pytest.approx(1.0)
    now = 100.0
    for _ in range(100):
        now += 0.1
        made.add(0.1, 5, now)
    assert made.long < 0.8


def test_the_average_is_measured_anew_in_a_long_overload() -> None:
    """After 30 windows at the limit, half of it holds for two; what calls take in the second is the average."""
    quiet, full = [(0.1, 1)] * 10, [(0.5, 20)] * 30
    made = after([*quiet, *full], queue=0, min_gradient=1.0)
    assert (made._estimate, made.limit) == (20.0, 10)
    assert made.long > 0.13
    now = 1000.0
    for duration in (0.5, 0.2):
        now += 2.0
        assert made.limit == 10
        assert [made.add(duration, 10, now) for _ in range(10)][-1] is True
    assert (made.limit, made.long, made.short) == (20, pytest.approx(0.2), pytest.approx(0.2))
