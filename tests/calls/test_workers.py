"""The threads of calls whose caller stops waiting at the deadline."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal.calls.workers import DispatchWorkers
from portal.errors import OverloadedError


def test_the_pool_has_no_queue() -> None:
    workers = DispatchWorkers(threads=1)
    running, finish = threading.Event(), threading.Event()

    def wait() -> str:
        running.set()
        return "done" if finish.wait(30) else "late"

    first = workers.submit(wait)
    assert running.wait(30)
    with pytest.raises(OverloadedError):
        workers.submit(wait)
    finish.set()
    assert first.result(30) == "done"
    workers.close(5.0)


def test_a_given_executor_is_used_and_not_closed() -> None:
    with ThreadPoolExecutor(1) as executor:
        workers = DispatchWorkers(executor)
        assert workers.executor is executor
        workers.close(5.0)
        assert workers.submit(lambda: "still open").result(30) == "still open"


def test_a_pool_is_made_again_after_close() -> None:
    workers = DispatchWorkers(threads=1)
    first = workers.executor
    workers.close(5.0)
    assert workers.submit(lambda: 7).result(30) == 7
    assert workers.executor is not first
    workers.close(5.0)
