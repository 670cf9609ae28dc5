"""Events that are allowed now and then."""

from __future__ import annotations

import threading

from portal._internal.throttle import Throttle


def test_an_event_is_allowed_once_in_an_interval() -> None:
    throttle = Throttle(60.0)
    assert [throttle.allows(now) for now in (5.0, 5.0, 64.9, 65.0, 124.9, 125.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_after_a_reset_the_next_event_is_allowed() -> None:
    throttle = Throttle(60.0)
    assert throttle.allows(5.0)
    throttle.reset()
    assert throttle.allows(6.0)
    assert not throttle.allows(7.0)


def test_one_of_many_threads_is_allowed() -> None:
    throttle, together, allowed = Throttle(60.0), threading.Barrier(8), []

    def ask() -> None:
        for now in range(0, 6000, 60):
            together.wait(10)
            if throttle.allows(float(now)):
                allowed.append(now)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(allowed) == list(range(0, 6000, 60))
