"""CallWorkers: calls in threads, through a Consumer and alone."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from portal import Consumer, ConsumerError, FunctionError, LocalPortal, TransportError, ValidationError
from portal.consumer.workers import CallWorkers, log_failure

WAIT = 10.0


def threads_of(consumer: Consumer) -> list[threading.Thread]:
    """The threads that a consumer has started."""
    pool = consumer._workers._pool
    assert pool is not None
    return list(pool._threads)


def test_map_reads_items_as_results_are_taken_and_stops_at_a_failure(local: LocalPortal) -> None:
    taken: list[int] = []

    def params() -> Iterator[dict[str, int]]:
        n = 0
        while True:
            taken.append(n)
            yield {"a": n, "b": 0}
            n += 1

    with Consumer([local]) as consumer:
        results = consumer.map_at("local://add", params(), max_in_flight=4)
        assert taken == []
        assert [next(results) for _ in range(3)] == [0.0, 1.0, 2.0]
        assert len(taken) <= 7
        results.close()  # type: ignore[attr-defined]
        with pytest.raises(ValidationError, match="max_in_flight must be at least 1, got 0"):
            consumer.map_at("local://add", [], max_in_flight=0)
        with pytest.raises(FunctionError):
            list(consumer.map_at("local://fail", [{}, {}]))


def test_an_executor_of_the_user(local: LocalPortal) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Consumer([local], executor=pool) as consumer:
            assert consumer.submit_at("local://add", {"a": 1, "b": 2}).result(WAIT) == 3.0
        assert pool.submit(str, 1).result(WAIT) == "1"  # it is still open


def test_no_pool_is_made_while_the_consumer_is_closed() -> None:
    workers = CallWorkers()

    class Late:
        """Stand for the lock while another thread holds it and closes the workers."""

        def __init__(self) -> None:
            self.lock = workers._lock

        def __enter__(self) -> None:
            workers._lock = self.lock
            workers.close()
            self.lock.acquire()

        def __exit__(self, *exc: object) -> None:
            self.lock.release()

    late: Any = Late()
    workers._lock = late
    with pytest.raises(ConsumerError):
        workers.submit(str)
    assert workers._pool is None


def test_threads_end_with_their_consumer(local: LocalPortal) -> None:
    threads: list[threading.Thread] = []
    for _ in range(5):
        consumer = Consumer([local])
        assert consumer.submit_at("local://add", {"a": 1, "b": 2}).result(WAIT) == 3.0
        threads += threads_of(consumer)
    assert len(threads) == 5
    del consumer
    gc.collect()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_calls_that_run_or_wait_keep_their_consumer(local: LocalPortal) -> None:
    begun, release = threading.Event(), threading.Event()

    def wait(n: int) -> int:
        begun.set()
        assert release.wait(WAIT)
        return n

    local.apply(wait)
    consumer = Consumer([local])
    futures = [consumer.submit_at("local://wait", {"n": n}) for n in range(40)]  # more than there are threads
    threads = threads_of(consumer)
    assert begun.wait(WAIT)
    del consumer
    gc.collect()
    release.set()
    assert [future.result(WAIT) for future in futures] == list(range(40))
    gc.collect()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_a_notification_outlives_its_consumer(local: LocalPortal) -> None:
    called = threading.Event()

    def notify() -> None:
        called.set()

    address = local.apply(notify)
    Consumer([local]).notify_at(address)
    gc.collect()
    assert called.wait(WAIT)


def test_a_failed_notification_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "portal.consumer"):
        for error in (None, TransportError("lost"), RuntimeError("a bug")):
            done: Future[Any] = Future()
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
            log_failure("add", done)
        cancelled: Future[Any] = Future()
        cancelled.cancel()
        log_failure("add", cancelled)
    assert [one.getMessage() for one in caplog.records] == [
        "notification of add failed: lost",
        "notification of add failed",
    ]
