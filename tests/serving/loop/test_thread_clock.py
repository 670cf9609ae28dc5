"""ThreadClock and ProcessClock: what has computed, and for how much of the time."""

from __future__ import annotations

import sys
import threading
import time
from time import monotonic

import pytest

from portal.serving.loop.thread_clock import ProcessClock, ThreadClock, time_of_thread


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell it")
def test_the_time_of_another_thread() -> None:
    found: list[int] = []
    ready, end = threading.Event(), threading.Event()

    def compute() -> None:
        while time.thread_time() < 0.02:
            pass
        found.append(threading.get_native_id())
        ready.set()
        end.wait(20.0)

    thread = threading.Thread(target=compute)
    thread.start()
    assert ready.wait(20.0)
    spent = time_of_thread(found[0])
    end.set()
    thread.join(20.0)
    assert spent is not None
    assert 0.02 <= spent < 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell it")
def test_a_thread_that_does_not_exist_has_no_time() -> None:
    assert time_of_thread(2**22 + 1) is None  # beyond the largest id of Linux


def test_other_systems_do_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert time_of_thread(threading.get_native_id()) is None


def test_the_time_is_that_since_the_last_call() -> None:
    began = time.thread_time()
    times = iter([began + 1.0, began + 1.0, began + 3.0])
    clock = ThreadClock(lambda thread: next(times))
    assert clock.spent() == pytest.approx(1.0, rel=0.01)
    assert [clock.spent(), clock.spent()] == pytest.approx([0.0, 2.0])


def test_a_system_that_does_not_tell_it_has_no_time() -> None:
    assert ThreadClock(lambda thread: None).spent() is None


def test_the_share_of_the_process() -> None:
    clock = ProcessClock()
    began = time.process_time()
    while time.process_time() - began < 0.02:
        pass
    assert clock.share(monotonic()) > 0.0
