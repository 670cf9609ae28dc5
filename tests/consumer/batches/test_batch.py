from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, Policy, RateLimit, Retry, function
from portal._internal.executor import WorkerPool
from portal.consumer.batches.batch import Batch
from portal.errors import CallCancelled, FunctionError, OverloadedError, RateLimitError, TransportError, ValidationError


@function
def square(n: int) -> int:
    if n == 13:
        raise ValueError("unlucky")
    return n * n


class Server:
    """Ends each call at once with what `answer` returns or raises."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self.answer = answer
        self.calls: list[int] = []

    def __call__(self, params: Mapping[str, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append(params["n"])
        try:
            future.set_result(self.answer(params["n"]))
        except Exception as error:
            future.set_exception(error)
        return future


def numbers(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


def run(batch: Batch, count: int, *, ordered: bool = True, return_exceptions: bool = False) -> list[tuple[int, Any]]:
    return list(batch.run(numbers(count), ordered=ordered, return_exceptions=return_exceptions))


def test_results_come_in_order() -> None:
    assert run(Batch(Server(lambda n: n * n), 4), 10) == [(n, n * n) for n in range(10)]
    assert run(Batch(Server(lambda n: n), 4), 0) == []


def test_results_as_they_come_have_their_number() -> None:
    futures: list[Future[Any]] = []

    def submit(params: Mapping[str, Any]) -> Future[Any]:
        futures.append(Future())
        if len(futures) == 3:
            futures[2].set_result("c")
        return futures[-1]

    results = Batch(submit, 3).run(numbers(3), ordered=False, return_exceptions=False)
    assert next(results) == (2, "c")
    futures[0].set_result("a")
    assert next(results) == (0, "a")
    futures[1].set_result("b")
    assert list(results) == [(1, "b")]


def test_a_failure_is_raised_in_its_place_and_the_others_are_cancelled() -> None:
    futures: list[Future[Any]] = []

    def submit(params: Mapping[str, Any]) -> Future[Any]:
        futures.append(Future())
        if len(futures) == 3:
            futures[1].set_exception(TransportError("t"))
            futures[0].set_result("first")
        return futures[-1]

    results = Batch(submit, 3).run(numbers(9), ordered=True, return_exceptions=False)
    assert next(results) == (0, "first")
    with pytest.raises(TransportError):
        next(results)
    assert [one.cancelled() for one in futures] == [False, False, *[True] * (len(futures) - 2)]


def test_failures_may_be_results() -> None:
    def answer(n: int) -> int:
        if n == 1:
            raise TransportError("t")
        return n

    found = run(Batch(Server(answer), 2), 3, return_exceptions=True)
    assert [type(one).__name__ for _, one in found] == ["int", "TransportError", "int"]


def test_a_cancelled_call_is_a_portal_error() -> None:
    def submit(params: Mapping[str, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    assert isinstance(run(Batch(submit, 2), 1, return_exceptions=True)[0][1], CallCancelled)
    with pytest.raises(CallCancelled):
        run(Batch(submit, 2), 1)


class LimitedServer(Server):
    """Takes `rate` calls each second of a virtual clock, which moves as calls are made."""

    def __init__(self, rate: int) -> None:
        super().__init__(self.limited)
        self.now = 100.0
        self.left = self.rate = rate
        self.until = 101.0
        self.rejected = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def limited(self, n: int) -> int:
        if self.now >= self.until:
            self.left, self.until = self.rate, self.now + 1.0
        if self.left == 0:
            self.rejected += 1
            raise RateLimitError("r", retry_after=self.until - self.now)
        self.left -= 1
        return n


def test_a_batch_of_500_waits_its_turn() -> None:
    server = LimitedServer(100)
    assert run(Batch(server, 32, waits_turn=True, clock=server.clock, sleep=server.sleep), 500) == [
        (n, n) for n in range(500)
    ]
    assert 0 < server.rejected < 200
    assert server.now - 100.0 >= 4.0


@pytest.mark.parametrize("ordered", [True, False])
def test_the_order_is_kept_while_calls_wait(ordered: bool) -> None:
    server = LimitedServer(7)
    found = run(Batch(server, 5, waits_turn=True, clock=server.clock, sleep=server.sleep), 40, ordered=ordered)
    assert sorted(found) == [(n, n) for n in range(40)]
    assert not ordered or found == sorted(found)


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("r", retryable=False),
        OverloadedError("o", delivery="unknown"),
        TransportError("t", delivery="not_sent"),
    ],
)
def test_other_errors_do_not_wait(error: Exception) -> None:
    def answer(n: int) -> int:
        raise error

    server = Server(answer)
    with pytest.raises(type(error)):
        run(Batch(server, 1, waits_turn=True), 3)
    assert server.calls == [0]


def test_without_room_for_one_call() -> None:
    def submit(params: Mapping[str, Any]) -> Future[Any]:
        raise OverloadedError("full")

    with pytest.raises(OverloadedError, match="all workers of the consumer are busy"):
        run(Batch(submit, 4), 3)


def test_fewer_threads_than_calls_in_flight() -> None:
    pool = WorkerPool(1, 1)
    batch = Batch(lambda params: pool.submit(params.__getitem__, "n"), 8)
    assert run(batch, 20) == [(n, n) for n in range(20)]
    pool.shutdown()


def test_params_are_read_as_results_are_taken() -> None:
    taken: list[int] = []

    def params() -> Iterator[dict[str, int]]:
        n = 0
        while True:
            taken.append(n)
            yield {"n": n}
            n += 1

    results = Batch(Server(lambda n: n), 4).run(params(), ordered=True, return_exceptions=False)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert len(taken) <= 7


# through a Consumer, over a socket


@pytest.mark.parametrize("way", ["policy", "middleware"])
def test_a_rate_limit_of_a_server_slows_a_batch_down(way: str) -> None:
    options: dict[str, Any] = {"policy": Policy(retry=Retry())} if way == "policy" else {"middleware": [Retry()]}
    limit = RateLimit("100/s", burst=20)
    with HTTPPortal(middleware=[limit]) as http, Consumer(**options) as consumer:
        address = http.apply(square)
        calls = [{"n": n + 100} for n in range(120)]
        assert list(consumer.map_at(address, calls)) == [(n + 100) ** 2 for n in range(120)]


def test_without_a_retry_the_rejection_is_raised() -> None:
    with HTTPPortal(middleware=[RateLimit("1/h", burst=2)]) as http, Consumer() as consumer:
        address = http.apply(square)
        with pytest.raises(RateLimitError):
            list(consumer.map_at(address, numbers(10)))


def test_options_of_map_at() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(square)
        calls = [{"n": 2}, {"n": 13}, {"n": "x"}, {"n": 3}]
        found = list(consumer.map_at(address, calls, return_exceptions=True, returns=int))
        assert [found[0], found[3]] == [4, 9]
        assert isinstance(found[1], FunctionError)
        assert isinstance(found[2], ValidationError)
        pairs = consumer.map_at(address, calls, return_exceptions=True, as_completed=True)
        assert sorted(number for number, _ in pairs) == [0, 1, 2, 3]
