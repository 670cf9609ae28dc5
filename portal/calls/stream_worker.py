"""StreamWorker: produce all items of a stream in one worker, and close the stream there.

A database connection, a lock or thread-local state that belongs to one thread therefore works for the whole stream, in
a generator's `finally` as well. It is the same as if the caller's own thread ran the generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any

from .._internal.closing import close_and_log
from .._internal.conditions import PoolFuture
from ..context import CallContext
from ..schema.codecs.files import keeping_files
from .deadlines import StreamProgress, wait_for

__all__ = ["END", "StreamWorker"]

END = object()  #: returned after the last item


class StreamWorker:
    """Produce the items of a stream in a worker, one for each `next`, until the deadline of the call.

    Args:
        executor: where the worker comes from; the stream keeps it until it is closed.
        items: the stream; from now on only the worker may use it.
        context: the context of the call; it has a deadline.
        name: the function, for messages.

    Raises: what the executor raises when it has no free worker, such as OverloadedError.
    Threads: one at a time.
    """

    def __init__(self, executor: Executor, items: Iterator[Any], context: CallContext, name: str) -> None:
        self._items = items
        self._context = context
        self._name = name
        self._progress = StreamProgress(context, name)
        self._requests: SimpleQueue[Future[Any] | None] = SimpleQueue()  # None closes the stream
        try:
            executor.submit(keeping_files(self._work))
        except BaseException:
            close_and_log(items, f"the stream of {name}")
            raise

    def next(self) -> Any:
        """Return the next item, or END.

        Raises: what the stream raises; CallTimeout at the deadline.
        """
        item = wait_for(self._request(), self._context, self._name, self._progress.timeout_error)
        self._progress.items += 1
        return item

    def _request(self) -> Future[Any]:
        future: Future[Any] = PoolFuture()
        self._requests.put(future)
        return future

    def close(self) -> None:
        """Let the worker close the stream after the item in progress. This does not wait for it."""
        self._requests.put(None)

    # runs in the worker

    def _work(self) -> None:
        with self._context.active():
            try:
                while (future := self._next_request()) is not None:
                    if future.set_running_or_notify_cancel():
                        self._produce(future)
            finally:
                close_and_log(self._items, f"the stream of {self._name}")

    def _next_request(self) -> Future[Any] | None:
        try:
            return self._requests.get(timeout=max(0.0, self._context.remaining() or 0.0))
        except Empty:
            return None

    def _produce(self, future: Future[Any]) -> None:
        try:
            item = next(self._items, END)
        except BaseException as error:  # the caller that waits for the item gets it
            future.set_exception(error)
            del future  # else the exception and this frame refer to each other
        else:
            future.set_result(item)
