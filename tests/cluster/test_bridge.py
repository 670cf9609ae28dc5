"""Futures of a Dask client as those of the standard library, without a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from portal.cluster.bridge import future_of


class Task:
    """Ends with a value, or raises an error."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.was_cancelled = False

    def __await__(self) -> Generator[None, None, Any]:
        yield
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def cancelled(self) -> bool:
        return self.was_cancelled

    def cancel(self) -> None:
        self.was_cancelled = True


class Loop:
    """Runs what was added when it is told to."""

    def __init__(self) -> None:
        self.added: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def add_callback(self, callback: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.added.append(callback)

    def run(self) -> None:
        for callback in self.added:
            asyncio.run(callback())


def test_a_result_arrives() -> None:
    loop = Loop()
    future = future_of(Task(5), loop)
    loop.run()
    assert future.result(0) == 5


@pytest.mark.parametrize("error", [ValueError("of the network"), TypeError("of unpickling"), MemoryError()])
def test_an_error_ends_the_future(error: Exception) -> None:
    loop = Loop()
    future = future_of(Task(error), loop)
    loop.run()
    assert future.exception(0) is error


def test_a_task_that_was_cancelled() -> None:
    loop = Loop()
    future = future_of(Task(asyncio.CancelledError()), loop)
    loop.run()
    with pytest.raises(CancelledError):
        future.result(0)


@pytest.mark.parametrize("outcome", [5, ValueError("late")])
def test_a_future_that_is_cancelled_cancels_its_task(outcome: Any) -> None:
    loop, task = Loop(), Task(outcome)
    future = future_of(task, loop)
    assert future.cancel()
    assert task.cancelled()
    loop.run()
    assert future.cancelled()
