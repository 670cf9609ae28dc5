"""Futures of a Dask client as `concurrent.futures.Future`.

The executor of a Dask client does the same, but a future of it never ends if its result cannot be fetched. That happens
when the result was lost and the task then fails, and when the caller cannot unpickle the result. The futures are such
that the thread of the loop never waits for a lock of a caller, which all other calls would wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from .._internal.conditions import PoolFuture

__all__ = ["future_in_loop", "future_of"]


def future_of(task: Any, loop: Any) -> Future[Any]:
    """Return a future that ends with a future of Dask. Cancelling it cancels the task.

    Args:
        task: a `distributed.Future`.
        loop: of its client.
    """
    future: Future[Any] = PoolFuture()

    def cancel(done: Future[Any]) -> None:
        if done.cancelled() and not task.cancelled():
            task.cancel()

    future.add_done_callback(cancel)
    loop.add_callback(partial(_deliver, task, future))
    return future


def future_in_loop(make: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop) -> Future[Any]:
    """Run a coroutine in a loop, and return a future that ends with it. Cancelling the future cancels the coroutine.

    Args:
        make: makes the coroutine, in the thread of the loop.

    Raises: RuntimeError if the loop is closed.
    """
    future: Future[Any] = PoolFuture()

    def begin() -> None:
        task = loop.create_task(_deliver(make(), future))

        def cancel(done: Future[Any]) -> None:
            if done.cancelled():
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(cancel)

    loop.call_soon_threadsafe(begin)
    return future


async def _deliver(task: Awaitable[Any], future: Future[Any]) -> None:
    try:
        result = await task
    except asyncio.CancelledError:  # also what Dask raises for a task that was cancelled
        future.cancel()
    except BaseException as error:  # of the task, of the network, or of the unpickling of the result
        with suppress(InvalidStateError):
            future.set_exception(error)
    else:
        with suppress(InvalidStateError):
            future.set_result(result)
