from __future__ import annotations

import threading
from time import monotonic

from portal.javascript.engines.wasm.watchdog import EpochWatchdog


def test_the_epoch_changes_when_a_call_is_late_and_not_before() -> None:
    advanced = threading.Event()
    watchdog = EpochWatchdog(advanced.set)
    watchdog.open()
    try:
        watchdog.enter(1, monotonic() + 3600)
        assert not watchdog.is_late(1)
        assert not watchdog.is_late(2)
        watchdog.enter(2, monotonic() - 1)
        assert advanced.wait(20.0)
        assert watchdog.is_late(2)
        assert not watchdog.is_late(1)
        watchdog.leave(2)
        assert not watchdog.is_late(2)
    finally:
        watchdog.leave(1)
        watchdog.close()


def test_it_goes_on_until_the_call_has_ended() -> None:
    """A store that was just about to run does not see the first change."""
    changes = threading.Semaphore(0)
    watchdog = EpochWatchdog(changes.release)
    watchdog.open()
    try:
        watchdog.enter(1, monotonic() - 1)
        for _ in range(5):
            assert changes.acquire(timeout=20.0)
    finally:
        watchdog.leave(1)
        watchdog.close()


def test_the_thread_ends_with_the_last_user() -> None:
    watchdog = EpochWatchdog(lambda: None)

    def running() -> bool:
        return any(one.name == "portal-javascript-epoch" for one in threading.enumerate())

    before = running()
    watchdog.open()
    watchdog.open()
    watchdog.close()
    assert running()
    watchdog.close()
    watchdog.close()
    assert running() is before


def test_a_forked_process_has_no_calls() -> None:
    watchdog = EpochWatchdog(lambda: None)
    watchdog.enter(1, monotonic() - 1)
    watchdog.after_fork()
    assert not watchdog.is_late(1)
