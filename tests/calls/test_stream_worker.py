"""StreamWorker: one worker produces all items of a stream and closes it."""

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


class Recording:
    """Items that record which threads produce and close them."""

    def __init__(self) -> None:
        self.produced_by: list[int] = []
        self.closed_by: list[int] = []
        self.contexts: list[CallContext | None] = []
        self.closed = threading.Event()

    def items(self) -> Iterator[int]:
        try:
            for number in range(5):
                self.produced_by.append(threading.get_ident())
                self.contexts.append(CallContext.current())
                yield number
        finally:
            self.closed_by.append(threading.get_ident())
            self.closed.set()


def test_one_thread_produces_all_items_in_the_context_of_the_call(pool: WorkerPool) -> None:
    recording, context = Recording(), CallContext.for_call(WAIT)
    worker = StreamWorker(pool, recording.items(), context, "count")
    assert [worker.next() for _ in range(6)] == [0, 1, 2, 3, 4, END]
    worker.close()
    assert set(recording.produced_by) == set(recording.closed_by)
    assert threading.get_ident() not in recording.produced_by
    assert recording.contexts == [context] * 5


def test_the_same_thread_closes_a_stream_that_is_not_read_to_its_end(pool: WorkerPool) -> None:
    recording = Recording()
    worker = StreamWorker(pool, recording.items(), CallContext.for_call(WAIT), "count")
    assert worker.next() == 0
    worker.close()
    assert recording.closed.wait(WAIT)
    assert recording.closed_by == recording.produced_by
    pool.shutdown()  # waits for the worker


def test_the_worker_is_free_at_the_deadline_without_a_request(pool: WorkerPool) -> None:
    recording = Recording()
    worker = StreamWorker(pool, recording.items(), CallContext.for_call(0.5), "count")
    assert worker.next() == 0
    assert recording.closed.wait(WAIT)
    pool.shutdown(timeout=WAIT)
    assert pool.stats()["threads"] == 0
    with pytest.raises(CallTimeout):
        worker.next()


def test_an_item_that_comes_after_the_deadline(pool: WorkerPool) -> None:
    gate, closed = threading.Event(), threading.Event()

    def stuck() -> Iterator[int]:
        try:
            gate.wait(WAIT)
            yield 1
        finally:
            closed.set()

    context = CallContext.for_call(0.05)
    worker = StreamWorker(pool, stuck(), context, "stuck")
    with pytest.raises(CallTimeout, match=r"^the stream of stuck did not end within 0\.05 s, after 0 items; it may"):
        worker.next()
    assert context.cancelled
    worker.close()
    assert not closed.is_set()
    gate.set()
    assert closed.wait(WAIT)


def test_an_error_of_an_item_reaches_the_waiting_caller(pool: WorkerPool) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    worker = StreamWorker(pool, broken(), CallContext.for_call(WAIT), "broken")
    assert worker.next() == 1
    with pytest.raises(SystemExit):
        worker.next()
    assert worker.next() is END
    worker.close()


def test_a_stream_without_a_worker_is_closed(pool: WorkerPool) -> None:
    first, second = Recording(), Recording()
    started = second.items()
    next(started)
    worker = StreamWorker(pool, first.items(), CallContext.for_call(WAIT), "count")
    with pytest.raises(OverloadedError):
        StreamWorker(pool, started, CallContext.for_call(WAIT), "count")
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


def test_any_executor_and_any_iterator_can_be_used() -> None:
    with ThreadPoolExecutor(1) as executor:
        worker = StreamWorker(executor, iter([1]), CallContext.for_call(WAIT), "one")
        assert [worker.next(), worker.next()] == [1, END]
        worker.close()
