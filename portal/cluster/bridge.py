"""Futures of a Dask client as `concurrent.futures.Future`.

The executor of a Dask client does the same, but a future of it never ends if its result cannot be fetched. That happens
when the result was lost and the task then fails, and when the caller cannot unpickle the result.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

__all__ = ["future_of"]


def future_of(task: Any, loop: Any) -> Future[Any]:
    """Return a future that ends with a future of Dask. Cancelling it cancels the task.

    Args:
        task: a `distributed.Future`.
        loop: of its client.
    """
    future: Future[Any] = Future()

    async def deliver() -> None:
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

    def cancel(done: Future[Any]) -> None:
        if done.cancelled() and not task.cancelled():
            task.cancel()

    future.add_done_callback(cancel)
    loop.add_callback(deliver)
    return future
