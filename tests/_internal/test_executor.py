"""WorkerPool: bounds, cancellation, shutdown, and forks."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar

import pytest

from portal._internal import executor
from portal._internal.background import LoopGuard, failing_loops, restart_lost_loops
from portal._internal.executor import WorkerPool, shared_executor
from portal._internal.job_queue import KeyLimit
from portal.errors import ConfigError, OverloadedError

WAIT = 10.0


def test_a_job_returns_or_raises() -> None:
    pool = WorkerPool(2, 2)
    assert pool.submit(lambda a, b=0: a + b, 1, b=2).result(WAIT) == 3
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(WAIT)
    pool.shutdown()
    assert pool.stats()["threads"] == 0


def test_jobs_past_the_bound_are_rejected() -> None:
    gate, pool = threading.Event(), WorkerPool(2, 1)
    futures = [pool.submit(gate.wait, WAIT) for _ in range(3)]
    with pytest.raises(OverloadedError) as caught:
        pool.submit(gate.wait)
    assert caught.value.retry_after == 1.0
    gate.set()
    assert all(future.result(WAIT) for future in futures)
    pool.shutdown()


def test_without_a_queue_jobs_are_accepted_while_a_worker_is_free() -> None:
    gate, pool = threading.Event(), WorkerPool(3, 0)
    futures = [pool.submit(gate.wait, WAIT) for _ in range(3)]
    with pytest.raises(OverloadedError):
        pool.submit(gate.wait)
    gate.set()
    assert all(future.result(WAIT) for future in futures)
    pool.shutdown()


def test_a_job_starts_no_thread_while_one_is_idle() -> None:
    pool = WorkerPool(8, 8)
    names = {pool.submit(lambda: threading.current_thread().name).result(WAIT) for _ in range(50)}
    assert len(names) == pool.stats()["threads"] == 1
    pool.shutdown()


def test_a_waiting_job_can_be_cancelled() -> None:
    gate, pool = threading.Event(), WorkerPool(1, 4)
    first = pool.submit(gate.wait, WAIT)
    second = pool.submit(lambda: 1)
    third = pool.submit(lambda: 3)
    assert second.cancel()
    gate.set()
    assert first.result(WAIT)
    assert third.result(WAIT) == 3
    with pytest.raises(CancelledError):
        second.result(0)
    pool.shutdown()


def test_shutdown_cancels_waiting_jobs_and_rejects_new_ones() -> None:
    gate, started, pool = threading.Event(), threading.Event(), WorkerPool(1, 4)
    running = pool.submit(lambda: started.set() or gate.wait(WAIT))
    assert started.wait(WAIT)
    waiting = pool.submit(lambda: 1)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert running.result(WAIT)
    assert waiting.cancelled()
    assert pool.stats()["waiting"] == 0
    with pytest.raises(RuntimeError):
        pool.submit(lambda: 1)
    pool.shutdown(timeout=WAIT)
    pool.shutdown()


def test_a_job_has_the_contextvars_of_its_submitter() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    variable.set("here")
    pool = WorkerPool(1, 1)
    assert pool.submit(variable.get).result(WAIT) == "here"
    pool.shutdown()


def test_no_job_of_sixteen_threads_is_lost() -> None:
    pool = WorkerPool(4, 100_000)
    results: list[int] = []

    def work(base: int) -> None:
        futures = [pool.submit(lambda n=base + n: n) for n in range(500)]
        results.extend(future.result(WAIT) for future in futures)

    threads = [threading.Thread(target=work, args=(n * 500,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == list(range(8000))
    pool.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_starts_without_threads() -> None:
    pool = WorkerPool(2, 2)
    assert pool.submit(lambda: 1).result(WAIT) == 1
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(0 if pool.submit(lambda: 5).result(WAIT) == 5 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pool.shutdown()


@pytest.mark.parametrize(("workers", "queue"), [(0, 1), (1, -1), (True, 1), ("2", 1)])
def test_wrong_bounds_are_rejected(workers: int, queue: int) -> None:
    with pytest.raises(ConfigError):
        WorkerPool(workers, queue)


def test_the_shared_pool_is_made_once() -> None:
    assert shared_executor() is shared_executor()


def test_the_system_cannot_start_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    start, rejects = threading.Thread.start, [True]

    def failing(thread: threading.Thread) -> None:
        if rejects and thread.name.startswith("scarce"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    pool = WorkerPool(2, 4, name="scarce")
    with pytest.raises(OverloadedError) as caught:
        pool.submit(int)
    assert caught.value.retry_after
    assert pool.stats() == {"threads": 0, "waiting": 0, "unfinished": 0}
    rejects.clear()
    gate, entered = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(10)

    first = pool.submit(hold)
    assert entered.wait(10)
    rejects.append(True)
    second = pool.submit(lambda: 2)  # the existing thread runs it
    gate.set()
    assert second.result(10) == 2
    assert first.result(10) is None
    assert pool.stats() == {"threads": 1, "waiting": 0, "unfinished": 0}
    pool.shutdown(timeout=10)


def test_waiting_jobs_can_be_taken_back() -> None:
    gate, pool, ran = threading.Event(), WorkerPool(1, 4), []
    first = pool.submit(gate.wait, WAIT)
    second, third = (pool.submit(ran.append, number) for number in (2, 3))
    assert pool.take_back(lambda run, args: args == (2,)) == [(2,)]
    assert pool.take_back(lambda run, args: args == (2,)) == []
    assert second.cancelled()
    assert pool.stats()["unfinished"] == 2
    gate.set()
    assert first.result(WAIT)
    third.result(WAIT)
    assert ran == [3]
    pool.shutdown()


def test_a_job_whose_key_is_full_waits_and_others_overtake_it() -> None:
    gate = threading.Event()
    pool = WorkerPool(4, 8, limits={"function": KeyLimit(2)})
    slow, quick = (("function", "slow"),), (("function", "quick"),)
    futures = [pool.submit_with_keys(slow, gate.wait, WAIT) for _ in range(4)]
    assert pool.submit_with_keys(quick, lambda: "quick").result(WAIT) == "quick"
    assert pool.stats() == {"threads": 3, "waiting": 2, "unfinished": 4, "limited": 2, "abandoned": 0}
    gate.set()
    assert all(future.result(WAIT) for future in futures)
    pool.shutdown()


def test_the_end_of_one_job_may_start_several() -> None:
    gate, both = threading.Event(), threading.Barrier(2)
    pool = WorkerPool(2, 8, limits={"a": KeyLimit(1), "b": KeyLimit(1)})
    first = pool.submit_with_keys((("a", ""), ("b", "")), gate.wait, WAIT)
    futures = [pool.submit_with_keys(((kind, ""),), both.wait, WAIT) for kind in "ab"]
    gate.set()
    assert first.result(WAIT)
    assert sorted(future.result(WAIT) for future in futures) == [0, 1]
    pool.shutdown()


def test_a_running_job_holds_a_key_until_its_release() -> None:
    pool = WorkerPool(4, 8, limits={"function": KeyLimit(1)})
    pool.hold(("function", "f"))
    waiting = pool.submit_with_keys((("function", "f"),), lambda: "ran")
    assert pool.waiting == 1
    pool.release((("function", "f"),))
    assert waiting.result(WAIT) == "ran"
    pool.shutdown()


def test_a_shutdown_cancels_jobs_that_wait_for_their_key() -> None:
    gate, pool = threading.Event(), WorkerPool(4, 8, limits={"function": KeyLimit(1)})
    keys, started = (("function", "f"),), threading.Event()
    running = pool.submit_with_keys(keys, lambda: started.set() or gate.wait(WAIT))
    waiting = pool.submit_with_keys(keys, gate.wait, WAIT)
    assert started.wait(WAIT)
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    gate.set()
    assert running.result(WAIT)


def no_thread(patch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", fail)


def test_a_job_that_a_release_has_let_run_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that releases a key has nothing to do with the job, and the job must not be lost."""
    pool, key = WorkerPool(2, 4, limits={"function": KeyLimit(1, 4)}), ("function", "f")
    pool.hold(key)
    future = pool.submit_with_keys((key,), lambda: "ran")
    with monkeypatch.context() as patch:
        no_thread(patch)
        pool.release((key,))
        pool.restart()
        assert not future.done()
        assert pool.waiting == 1
    restart_lost_loops()
    assert future.result(WAIT) == "ran"
    pool.shutdown(timeout=WAIT)


def test_a_rejected_job_leaves_its_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool(1, 4)
    for error in (MemoryError(), KeyboardInterrupt(), RuntimeError("can't start new thread")):
        with monkeypatch.context() as patch:

            def fail(thread: threading.Thread, error: BaseException = error) -> None:
                raise error

            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises((OverloadedError, KeyboardInterrupt)):
                pool.submit(int)
        assert pool.stats() == {"threads": 0, "waiting": 0, "unfinished": 0}
    assert pool.submit(lambda: 1).result(WAIT) == 1
    pool.shutdown(timeout=WAIT)


def test_a_pool_without_threads_is_failing_until_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "_TOLERANCE", 0.0)
    pool = WorkerPool(1, 0, name="failing-pool")
    with monkeypatch.context() as patch:
        no_thread(patch)
        with pytest.raises(OverloadedError):
            pool.submit(int)
        assert "failing-pool" in failing_loops()
        restart_lost_loops()
        assert "failing-pool" in failing_loops()
    restart_lost_loops()
    assert "failing-pool" not in failing_loops()
    assert pool.stats()["threads"] == 1
    assert pool.submit(lambda: 1).result(WAIT) == 1
    pool.shutdown(timeout=WAIT)


#: Each step of a thread around a job.
STEPS = [(executor, "_set_outcome"), (WorkerPool, "_next_job"), (Future, "set_result"), (LoopGuard, "clear")]


@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)], ids=repr)
def test_no_step_that_raises_costs_a_thread_or_a_place(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, error: BaseException
) -> None:
    pool, original, faults = WorkerPool(2, 4), getattr(where, name), [error]

    def failing(*args: object) -> object:
        if faults:
            raise faults.pop()
        return original(*args)

    monkeypatch.setattr(where, name, failing)
    first = pool.submit(int)
    gate, both = threading.Event(), threading.Barrier(3)

    def work() -> int:
        both.wait(WAIT)
        gate.wait(WAIT)
        return 1

    futures = [pool.submit(work) for _ in range(2)]
    both.wait(WAIT)  # both workers run
    gate.set()
    assert [future.result(WAIT) for future in futures] == [1, 1]
    assert not faults
    assert name != "set_result" or first.exception(WAIT) is error  # no job is lost without an error
    assert pool.stats() == {"threads": 2, "waiting": 0, "unfinished": 0}
    pool.shutdown(timeout=WAIT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_by_an_exception_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two faults at once: the handler of the first one fails, too."""
    pool, faults = WorkerPool(1, 4), [MemoryError()]
    victims: list[threading.Thread] = []  # other threads use guards, too

    def broken(guard: LoopGuard, error: BaseException | None = None) -> None:
        if faults and threading.current_thread() in victims:
            raise faults[-1] if error is None else faults.pop()

    monkeypatch.setattr(LoopGuard, "clear", broken)
    monkeypatch.setattr(LoopGuard, "note", broken)
    pool.submit(lambda: victims.append(threading.current_thread())).result(WAIT)
    assert pool.submit(lambda: 1).result(WAIT) == 1
    victims[0].join(WAIT)
    assert not victims[0].is_alive()
    assert not faults
    assert pool.stats()["threads"] <= 1
    pool.shutdown(timeout=WAIT)


def test_a_callback_whose_log_line_fails_does_not_cost_a_thread() -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise MemoryError

    def fail(future: object) -> None:
        raise ValueError("wrong")

    handler, pool, gate = Failing(), WorkerPool(1, 4), threading.Event()
    logging.getLogger("concurrent.futures").addHandler(handler)
    try:
        future = pool.submit(gate.wait, WAIT)
        future.add_done_callback(fail)
        gate.set()
        assert pool.submit(lambda: 1).result(WAIT) == 1
    finally:
        logging.getLogger("concurrent.futures").removeHandler(handler)
    pool.shutdown(timeout=WAIT)
