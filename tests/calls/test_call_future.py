from __future__ import annotations

import socket
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, as_completed, wait
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, LocalPortal, WebSocketPortal, function
from portal._internal.executor import WorkerPool
from portal.calls.call_future import submit_call
from portal.context import CallContext
from portal.errors import OverloadedError, ValidationError

WAIT = 10.0


@function
def square(n: int) -> int:
    return n * n


def start(call: Any) -> tuple[Future[Any], WorkerPool]:
    pool = WorkerPool(1, 1)
    return submit_call(pool.submit, call), pool


def test_wait_and_as_completed() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(square)
        futures = [consumer.submit_at(address, {"n": n}) for n in range(10)]
        assert sorted(one.result(0) for one in as_completed(futures, WAIT)) == [n * n for n in range(10)]
        done, pending = wait([consumer.submit_at(address, {"n": 3})], WAIT, FIRST_COMPLETED)
        assert [one.result(0) for one in done] == [9]
        assert pending == set()
        failed = consumer.submit_at(address, {"n": "x"})
        assert isinstance(failed.exception(WAIT), ValidationError)
        assert failed.cancel() is False
        assert failed.done()
        assert not failed.cancelled()


over_http = pytest.param(HTTPPortal, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs epoll"))


@pytest.mark.parametrize("portal", [LocalPortal, WebSocketPortal, over_http])
def test_the_function_sees_that_its_future_was_cancelled(portal: type[Any]) -> None:
    started, seen = threading.Event(), threading.Event()

    @function
    def work() -> int:
        context = CallContext.current()
        assert context is not None
        context.on_cancel(seen.set)
        started.set()
        assert seen.wait(WAIT)
        return 1

    with portal() as published, Consumer() as consumer:
        future = consumer.submit_at(published.apply(work), {})
        assert started.wait(WAIT)
        assert future.running()
        assert future.cancel() is True
        assert future.cancel() is True
        assert future.cancelled()
        assert not future.running()
        with pytest.raises(CancelledError):
            future.result(WAIT)
        assert wait([future], WAIT).done == {future}
        assert seen.wait(WAIT)


@pytest.mark.skipif(sys.platform != "linux", reason="needs epoll")
def test_a_client_that_closes_only_its_own_side_does_not_cancel_the_call() -> None:
    started, go, cancelled = threading.Event(), threading.Event(), []

    @function
    def work(context: CallContext) -> int:
        context.on_cancel(lambda: cancelled.append(True))
        started.set()
        assert go.wait(WAIT)
        return 7

    with HTTPPortal() as portal:
        path = portal.apply(work).path
        with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
            client.sendall(f"{head}\r\n{{}}".encode())
            client.shutdown(socket.SHUT_WR)
            assert started.wait(WAIT)
            go.set()
            response = b"".join(iter(lambda: client.recv(4096), b""))
        assert response.startswith(b"HTTP/1.1 200")
        assert response.endswith(b"7")
    assert cancelled == []


def test_a_queued_call_that_is_cancelled_is_not_made() -> None:
    go, made = threading.Event(), []
    pool = WorkerPool(1, 5)
    first = submit_call(pool.submit, lambda context: go.wait(WAIT))
    queued = submit_call(pool.submit, lambda context: made.append(1))
    assert not queued.running()
    assert queued.cancel()
    go.set()
    assert first.result(WAIT) is True
    pool.shutdown()
    assert made == []


def test_a_callback_may_cancel_again() -> None:
    go = threading.Event()
    future, pool = start(lambda context: go.wait(WAIT))
    outcomes: list[bool] = []
    future.add_done_callback(lambda one: outcomes.append(one.cancel()))
    future.cancel()
    go.set()
    pool.shutdown()
    assert outcomes == [True]


def test_the_end_of_the_executor_cancels_the_future() -> None:
    started, go = threading.Event(), threading.Event()
    pool = WorkerPool(1, 5)

    def run(context: CallContext) -> bool:
        started.set()
        return go.wait(WAIT)

    running = submit_call(pool.submit, run)
    queued = submit_call(pool.submit, lambda context: 1)
    assert started.wait(WAIT)
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        queued.result(WAIT)
    go.set()
    assert running.result(WAIT) is True


def test_a_full_pool_rejects() -> None:
    go = threading.Event()
    pool = WorkerPool(1, 0)
    future = submit_call(pool.submit, lambda context: go.wait(WAIT))
    with pytest.raises(OverloadedError):
        submit_call(pool.submit, lambda context: 1)
    go.set()
    assert future.result(WAIT) is True


def test_the_call_is_nested_in_the_given_context() -> None:
    outer = CallContext(baggage={"a": "b"})
    pool = WorkerPool(1, 1)
    future = submit_call(pool.submit, lambda context: dict(context.baggage), context=outer)
    assert future.result(WAIT) == {"a": "b"}
    future.cancel()
    assert not outer.cancelled


def test_without_a_context_the_call_is_nested_in_the_running_call() -> None:
    pool = WorkerPool(1, 1)
    with CallContext(baggage={"tenant": "acme"}).active():
        nested = submit_call(pool.submit, lambda context: dict(context.baggage))
    assert nested.result(WAIT) == {"tenant": "acme"}
    assert submit_call(pool.submit, lambda context: dict(context.baggage)).result(WAIT) == {}
