"""Maps in chunks: order, sizes, progress and cancellation, without a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest

from portal import CallContext
from portal.cluster.chunk import ChunkResult, PackedCall, pack_call
from portal.cluster.mapping import MAX_BYTES, ChunkSize, Progress, map_chunks
from portal.errors import TransportError, ValidationError


class Fake:
    """Runs chunks when they are waited for; each call takes `cost` seconds, its result `result_size` bytes."""

    def __init__(self, cost: float, result_size: int = 0) -> None:
        self.cost, self.result_size = cost, result_size
        self.chunks: list[int] = []
        self.futures: list[Future[ChunkResult]] = []

    def submit(self, calls: Sequence[Any]) -> Future[ChunkResult]:
        future: Future[ChunkResult] = Future()
        self.chunks.append(len(calls))
        self.futures.append(future)
        future.calls = list(calls)  # type: ignore[attr-defined]
        return future

    def wait(self, future: Future[ChunkResult]) -> ChunkResult:
        calls = [pickle.loads(call.params) for call in future.calls]  # type: ignore[attr-defined]
        outcomes = [("ok" if call["n"] >= 0 else "error", call["n"]) for call in calls]
        future.set_result(ChunkResult(outcomes, self.cost * len(calls), self.result_size * len(calls)))
        return future.result()

    def map(self, numbers: Any, *, size: int | None = None, **options: Any) -> Any:
        """Return the outcomes of calls with these numbers."""
        calls = ({"n": number} for number in numbers)
        found = map_chunks(self.submit, self.wait, calls, chunks=4, size=size, **{"pack": pack, **options})
        return (outcome for _, outcome in found)


def pack(params: Mapping[str, Any]) -> PackedCall:
    return pack_call(params, CallContext(request_id=f"r{params['n']}"))


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
    results = map_chunks(fake.submit, fake.wait, ({"n": n} for n in count()), pack=pack, chunks=4, size=3)
    assert [next(results) for _ in range(4)] == [(f"r{n}", ("ok", n)) for n in range(4)]
    assert len(fake.chunks) <= 6
    results.close()
    assert all(future.done() for future in fake.futures)
    assert any(future.cancelled() for future in fake.futures)


def test_no_input() -> None:
    assert list(Fake(0.0).map([])) == []


@pytest.mark.parametrize(("seconds", "size"), [(0.25, 1), (0.05, 4), (0.0, 4), (5.0, 1)])
def test_a_size_grows_by_steps(seconds: float, size: int) -> None:
    chunk = ChunkSize()
    chunk.note(1, seconds)
    assert chunk.size == size


def test_a_chunk_that_fails_costs_its_own_calls() -> None:
    fake = Fake(cost=1.0)

    def wait(future: Future[ChunkResult]) -> ChunkResult:
        if future is fake.futures[1]:
            raise TransportError("the worker died")
        return fake.wait(future)

    calls = ({"n": number} for number in range(6))
    found = list(map_chunks(fake.submit, wait, calls, pack=pack, chunks=4, size=2))
    assert [kind for _, (kind, _) in found] == ["ok", "ok", "failed", "failed", "ok", "ok"]


def test_calls_that_do_not_fit_are_not_sent() -> None:
    def pack_even(params: Mapping[str, Any]) -> PackedCall:
        if params["n"] % 2:
            raise ValidationError("odd")
        return pack(params)

    fake = Fake(cost=1.0)
    found = list(fake.map(range(5), size=2, pack=pack_even))
    assert [kind for kind, _ in found] == ["ok", "failed", "ok", "failed", "ok"]
    assert fake.chunks == [1, 1, 1]
    fake = Fake(cost=1.0)
    assert [kind for kind, _ in fake.map([1, 3], size=2, pack=pack_even)] == ["failed", "failed"]
    assert fake.chunks == []


def test_a_scheduler_that_takes_no_chunk() -> None:
    def submit(_: Sequence[Any]) -> Any:
        raise TransportError("gone", delivery="not_sent")

    found = list(map_chunks(submit, Fake(0.0).wait, [{"n": 1}, {"n": 2}], pack=pack, chunks=4, size=2))
    assert [kind for _, (kind, _) in found] == ["failed", "failed"]


def sized(size: int, n: int = 0) -> PackedCall:
    return PackedCall(bytes(size), f"r{n}", None, None)


@pytest.mark.parametrize(
    ("sizes", "chunks"),
    [
        ([1] * 10, [10]),
        ([MAX_BYTES // 2] * 5, [2, 2, 1]),
        ([1, 5 * MAX_BYTES, 1, 1], [1, 1, 2]),
        ([MAX_BYTES + 1] * 2, [1, 1]),
    ],
)
def test_a_task_has_bounded_parameters(sizes: list[int], chunks: list[int]) -> None:
    """A call with more goes alone, also where the caller has set the number of calls."""
    sent: list[int] = []

    def submit(calls: Sequence[PackedCall]) -> Future[ChunkResult]:
        sent.append(len(calls))
        future: Future[ChunkResult] = Future()
        future.set_result(ChunkResult([("ok", None)] * len(calls), 0.0))
        return future

    params = [{"size": size} for size in sizes]
    found = map_chunks(submit, Future.result, params, pack=lambda one: sized(one["size"]), chunks=4, size=100)
    assert len(list(found)) == len(sizes)
    assert sent == chunks


def test_the_parameters_in_flight_are_bounded() -> None:
    read: list[int] = []

    def submit(calls: Sequence[PackedCall]) -> Future[ChunkResult]:
        future: Future[ChunkResult] = Future()
        future.set_result(ChunkResult([("ok", None)] * len(calls), 0.0))
        return future

    def pack_large(params: Mapping[str, Any]) -> PackedCall:
        read.append(params["n"])
        return sized(MAX_BYTES)

    found = map_chunks(submit, Future.result, ({"n": n} for n in count()), pack=pack_large, chunks=1000)
    next(found)
    assert len(read) <= 10
    found.close()


def test_large_results_make_small_chunks() -> None:
    fake = Fake(cost=0.0, result_size=MAX_BYTES // 4)
    list(fake.map(range(200)))
    assert max(fake.chunks) == 4
