"""Maps in chunks: order, sizes, progress and cancellation, without a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest

from portal.cluster.chunk import ChunkResult
from portal.cluster.mapping import ChunkSize, Progress, map_chunks


class Fake:
    """Runs chunks when they are waited for; each call takes `cost` seconds."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.chunks: list[int] = []
        self.futures: list[Future[ChunkResult]] = []

    def submit(self, calls: Sequence[Any]) -> Future[ChunkResult]:
        future: Future[ChunkResult] = Future()
        self.chunks.append(len(calls))
        self.futures.append(future)
        future.calls = list(calls)  # type: ignore[attr-defined]
        return future

    def wait(self, future: Future[ChunkResult]) -> ChunkResult:
        calls = future.calls  # type: ignore[attr-defined]
        outcomes = [("ok" if call["n"] >= 0 else "error", call["n"]) for call in calls]
        future.set_result(ChunkResult(outcomes, self.cost * len(calls)))
        return future.result()

    def map(self, numbers: Any, **options: Any) -> Any:
        calls = ({"n": number} for number in numbers)
        return map_chunks(self.submit, self.wait, calls, threads=2, **options)


def test_results_come_in_order_and_chunks_grow() -> None:
    fake = Fake(cost=0.001)
    assert [value for _, value in fake.map(range(10_000))] == list(range(10_000))
    assert fake.chunks[0] == 1
    assert max(fake.chunks) <= 250
    assert len(fake.chunks) < 150


def test_slow_calls_go_alone() -> None:
    fake = Fake(cost=1.0)
    list(fake.map(range(20)))
    assert set(fake.chunks) == {1}


def test_a_fixed_size() -> None:
    fake = Fake(cost=1.0)
    list(fake.map(range(10), size=4))
    assert fake.chunks == [4, 4, 2]


def test_progress_counts_failures() -> None:
    seen: list[Progress] = []
    list(Fake(0.0).map([1, -1, 2], size=2, progress=seen.append))
    assert seen == [Progress(2, 3, 1), Progress(3, 3, 1)]


def test_endless_input_is_read_as_results_are_taken() -> None:
    fake = Fake(cost=0.1)
    results = fake.map(count(), size=3)
    assert [next(results)[1] for _ in range(4)] == [0, 1, 2, 3]
    assert len(fake.chunks) <= 6
    results.close()
    assert all(future.cancelled() for future in fake.futures if not future.done() or future.cancelled())
    assert any(future.cancelled() for future in fake.futures)


def test_no_input() -> None:
    assert list(Fake(0.0).map([])) == []


@pytest.mark.parametrize(("seconds", "size"), [(0.25, 1), (0.05, 4), (0.0, 4), (5.0, 1)])
def test_a_size_grows_by_steps(seconds: float, size: int) -> None:
    chunk = ChunkSize()
    chunk.note(1, seconds)
    assert chunk.size == size
