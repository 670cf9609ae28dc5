"""All items of a stream, and its end, by one worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import CallContext, CallTimeout, OverloadedError
from portal._internal.executor import WorkerPool
from portal.calls.stream_worker import END, StreamWorker

WAIT = 10.0


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1, 0) as made:
        yield made


class Noted:
    """Items that note which thread makes them, and closes them."""

    def __init__(self) -> None:
        self.made_by: list[int] = []
        self.closed_by: list[int] = []
        self.contexts: list[CallContext | None] = []
        self.closed = threading.Event()

    def items(self) -> Iterator[int]:
        try:
            for number in range(5):
                self.made_by.append(threading.get_ident())
                self.contexts.append(CallContext.current())
                yield number
        finally:
            self.closed_by.append(threading.get_ident())
            self.closed.set()


def test_one_thread_makes_them_all_within_the_call_s_context(pool: WorkerPool) -> None:
    noted, context = Noted(), CallContext.for_call(WAIT)
    worker = StreamWorker(pool, noted.items(), context, "count")
    assert [worker.next() for _ in range(6)] == [0, 1, 2, 3, 4, END]
    worker.close()
    assert set(noted.made_by) == set(noted.closed_by)
    assert threading.get_ident() not in noted.made_by
    assert noted.contexts == [context] * 5


def test_the_same_thread_closes_a_stream_that_is_given_up(pool: WorkerPool) -> None:
    noted = Noted()
    worker = StreamWorker(pool, noted.items(), CallContext.for_call(WAIT), "count")
    assert worker.next() == 0
    worker.close()
    assert noted.closed.wait(WAIT)
    assert noted.closed_by == noted.made_by
    pool.shutdown()  # waits for the worker


def test_at_the_deadline_the_worker_is_free_though_nobody_asks(pool: WorkerPool) -> None:
    noted = Noted()
    worker = StreamWorker(pool, noted.items(), CallContext.for_call(0.5), "count")
    assert worker.next() == 0
    assert noted.closed.wait(WAIT)
    pool.shutdown(timeout=WAIT)
    assert pool.stats()["threads"] == 0
    with pytest.raises(CallTimeout):
        worker.next()


def test_an_item_past_the_deadline_and_its_end(pool: WorkerPool) -> None:
    gate, closed = threading.Event(), threading.Event()

    def stuck() -> Iterator[int]:
        try:
            gate.wait(WAIT)
            yield 1
        finally:
            closed.set()

    context = CallContext.for_call(0.05)
    worker = StreamWorker(pool, stuck(), context, "stuck")
    with pytest.raises(CallTimeout, match="stuck did not respond within"):
        worker.next()
    assert context.cancelled
    worker.close()
    assert not closed.is_set()
    gate.set()
    assert closed.wait(WAIT)


def test_what_an_item_raises_reaches_who_waits_for_it(pool: WorkerPool) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    worker = StreamWorker(pool, broken(), CallContext.for_call(WAIT), "broken")
    assert worker.next() == 1
    with pytest.raises(SystemExit):
        worker.next()
    assert worker.next() is END
    worker.close()


def test_without_a_worker_the_stream_is_closed(pool: WorkerPool) -> None:
    first, second = Noted(), Noted()
    begun = second.items()
    next(begun)
    worker = StreamWorker(pool, first.items(), CallContext.for_call(WAIT), "count")
    with pytest.raises(OverloadedError):
        StreamWorker(pool, begun, CallContext.for_call(WAIT), "count")
    assert second.closed.is_set()
    worker.close()


@pytest.mark.parametrize("has_worker", [True, False])
def test_an_error_while_the_stream_closes_is_logged(
    pool: WorkerPool, has_worker: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def items() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("the disk is full")

    stream, context = items(), CallContext.for_call(WAIT)
    if has_worker:
        worker = StreamWorker(pool, stream, context, "numbers")
        assert worker.next() == 1
        worker.close()
        pool.shutdown(timeout=WAIT)
    else:
        next(stream)
        pool.shutdown()
        with pytest.raises(RuntimeError, match="shut down"):
            StreamWorker(pool, stream, context, "numbers")
    assert "closing the stream of numbers failed" in caplog.text
    assert "the disk is full" in caplog.text


def test_any_executor_will_do_and_what_cannot_be_closed_need_not() -> None:
    with ThreadPoolExecutor(1) as executor:
        worker = StreamWorker(executor, iter([1]), CallContext.for_call(WAIT), "one")
        assert [worker.next(), worker.next()] == [1, END]
        worker.close()
