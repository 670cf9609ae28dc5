from __future__ import annotations

import threading

import pytest

from portal._internal.executor import WorkerPool
from portal._internal.job_queue import KeyLimit, Keys
from portal.serving.loop.service_times import ServiceTimes

ADD: Keys = (("function", "add"), ("client", "ann"))


def times_of(**usual: float) -> ServiceTimes:
    times = ServiceTimes(WorkerPool(1))
    for name, seconds in usual.items():
        times.note((("function", name),), seconds)
    return times


def test_the_average_follows_the_requests_of_a_function() -> None:
    times = times_of(add=1.0)
    times.note(ADD, 2.0)
    times.note((("function", "level"),), 4.0)
    assert times._usual["add"] == pytest.approx(1.1)
    assert times._usual["level"] == 4.0
    assert times._usual[""] == pytest.approx(1.1 + 0.29)


def test_one_slow_request_changes_little() -> None:
    times = times_of(add=0.01)
    times.note(ADD, 3600.0)
    assert times._usual["add"] == pytest.approx(0.017)


def test_the_number_of_functions_is_bounded() -> None:
    times = ServiceTimes(WorkerPool(1), max_keys=2)
    for number in range(10):
        times.note((("function", f"f{number}"),), 1.0)
    assert len(times._usual) <= 4
    assert times._usual[""] == 1.0


def test_the_wait_is_predicted_from_the_calls_that_wait() -> None:
    gate, running = threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        running.release()
        gate.wait(20.0)

    pool = WorkerPool(2, 10, limits={"function": KeyLimit(running=1)})
    times = ServiceTimes(pool)
    try:
        times.note(ADD, 3.0)
        assert times.predicted_wait(ADD) == 0.0, "a worker is free"
        pool.submit_with_keys(ADD, hold)
        assert running.acquire(timeout=20.0)
        assert times.predicted_wait(ADD) == 3.0, "one call of the function runs, as many as may"
        assert times.predicted_wait((("function", "level"),)) == 0.0
        pool.submit_with_keys(ADD, hold)
        assert times.predicted_wait(ADD) == 6.0, "and one waits"
    finally:
        gate.set()
        pool.shutdown(timeout=20.0)
