"""The threads of calls whose caller stops waiting at the deadline."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from portal._internal.job_queue import KeyLimit
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


FUNCTION = (("function", "f"),)


@pytest.mark.parametrize("given", [False, True])
def test_a_call_counts_for_its_keys_until_it_ends(given: bool) -> None:
    executor = ThreadPoolExecutor(4) if given else None
    workers = DispatchWorkers(executor, threads=4, limits={"function": KeyLimit(2)})
    finish = threading.Event()
    running = [workers.submit(finish.wait, 30, keys=FUNCTION) for _ in range(2)]
    with pytest.raises(OverloadedError, match="2 calls of this function are running"):
        workers.submit(finish.wait, 30, keys=FUNCTION)
    assert workers.submit(lambda: "other", keys=(("function", "g"),)).result(30) == "other"
    assert workers.limited == 1
    finish.set()
    assert all(future.result(30) for future in running)
    assert workers.with_keys(FUNCTION).submit(lambda: "again").result(30) == "again"
    workers.close(5.0)
    if executor is not None:
        executor.shutdown()


def test_a_call_that_does_not_start_stops_counting() -> None:
    started, finish = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        workers = DispatchWorkers(executor, limits={"function": KeyLimit(1)})
        busy = executor.submit(lambda: started.set() or finish.wait(30))
        assert started.wait(30)
        assert workers.submit(lambda: "never", keys=FUNCTION).cancel()
        waiting = workers.submit(lambda: "ran", keys=FUNCTION)
        finish.set()
        assert busy.result(30)
        assert waiting.result(30) == "ran"


def test_a_call_without_a_thread_stops_counting() -> None:
    finish = threading.Event()
    workers = DispatchWorkers(threads=1, limits={"function": KeyLimit(1)})
    busy = workers.submit(finish.wait, 30, keys=(("function", "g"),))
    with pytest.raises(OverloadedError, match="workers are busy"):
        workers.submit(finish.wait, 30, keys=FUNCTION)
    with pytest.raises(OverloadedError, match="workers are busy"):
        workers.submit(finish.wait, 30, keys=FUNCTION)
    finish.set()
    assert busy.result(30)
    workers.close(5.0)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["submit", "add_done_callback"])
def test_a_key_is_put_back_whatever_step_raises(step: str, error: BaseException) -> None:
    faults = [error]

    def fail(*args: Any) -> Any:
        raise faults.pop()

    class Given(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if faults and step == "submit":
                fail()
            if faults:
                future: Future[Any] = Future()  # never starts, so that it can be cancelled
                future.add_done_callback = fail  # type: ignore[method-assign]
                return future
            return super().submit(fn, *args, **kwargs)

    with Given(1) as given:
        workers = DispatchWorkers(given, limits={"function": KeyLimit(1)})
        with pytest.raises(type(error)):
            workers.submit(int, keys=(("function", "f"),))
        assert not faults
        assert workers.submit(lambda: 1, keys=(("function", "f"),)).result(10) == 1
