"""StreamWorker: one worker makes all the items of a stream, and closes it.

A generator's `finally` and what belongs to one thread (a database connection, a lock, thread-local state) hold for the
whole stream, as they would if the caller's own thread made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any

from .._internal.closing import close_resource
from ..context import CallContext
from .deadlines import wait_for

__all__ = ["END", "StreamWorker"]

END = object()  # what comes after the last item


class StreamWorker:
    """Makes items in a worker, each when it is asked for, until the deadline of their call.

    Args:
        executor: gives the worker, which the stream keeps until it is closed.
        items: are the worker's alone from then on.
        context: of their call; it has a deadline.
        name: of the function.

    Raises: what the executor raises when it has no worker, such as OverloadedError.
    Threads: one.
    """

    def __init__(self, executor: Executor, items: Iterator[Any], context: CallContext, name: str) -> None:
        self._items = items
        self._context = context
        self._name = name
        self._wanted: SimpleQueue[Future[Any] | None] = SimpleQueue()
        try:
            executor.submit(self._work)
        except BaseException:
            close_resource(items)
            raise

    def next(self) -> Any:
        """The next item, or END. Raises: what making it raises; CallTimeout at the deadline."""
        future: Future[Any] = Future()
        self._wanted.put(future)
        return wait_for(future, self._context, self._name)

    def close(self) -> None:
        """Let the worker close the stream, as soon as it is done with the item it makes; this does not wait."""
        self._wanted.put(None)

    # the worker

    def _work(self) -> None:
        with self._context.active():
            try:
                while (future := self._next_wanted()) is not None:
                    if future.set_running_or_notify_cancel():
                        self._make(future)
            finally:
                close_resource(self._items)

    def _next_wanted(self) -> Future[Any] | None:
        try:
            return self._wanted.get(timeout=max(0.0, self._context.remaining() or 0.0))
        except Empty:
            return None

    def _make(self, future: Future[Any]) -> None:
        try:
            item = next(self._items, END)
        except BaseException as error:  # it belongs to who waits for the item
            future.set_exception(error)
        else:
            future.set_result(item)
