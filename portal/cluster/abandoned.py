"""Cancel the calls of a task on a worker when nobody waits for the task any more.

Dask cannot stop a task that runs. If its future is cancelled, or its client is gone, the scheduler tells the worker to
release the task. A plug-in of the worker then cancels the context of the calls. No further call of the task starts, and
the call that runs can read it from its context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from .._internal.at_fork import new_lock
from ..context import CallContext

_Plugin: Any = WorkerPlugin

__all__ = ["ReleaseWatch", "cancelled_with_task"]

_lock = new_lock()  # guards `_watches`
_watches: WeakKeyDictionary[Any, ReleaseWatch] = WeakKeyDictionary()  # by worker; a process may have several


class ReleaseWatch(_Plugin):  # type: ignore[misc]  # Any, whether distributed is installed or not
    """Cancels the contexts of tasks that their worker is told to release.

    Attributes:
        contexts: of the tasks that run on the worker, by their keys.

    Threads: any. The worker calls it in the thread of its loop.
    """

    name = "portal-release-watch"

    def __init__(self) -> None:
        self.contexts: dict[Any, CallContext] = {}

    def setup(self, worker: Any) -> None:
        """Cancel the contexts of tasks that were released before the plug-in was there."""
        for key, context in list(self.contexts.items()):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                context.cancel()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Cancel the context of a task that runs and is released."""
        if finish == "released" and key in self.contexts:
            self.contexts[key].cancel()


@contextmanager
def cancelled_with_task(context: CallContext) -> Iterator[None]:
    """Cancel a context in a `with` block if the task of this thread is released. Outside of a worker this does nothing.

    Threads: any.
    """
    try:
        worker = get_worker()
        key = worker.get_current_task()
    except (ValueError, KeyError):  # not a thread that runs a task
        yield
        return
    contexts = _watch_of(worker).contexts
    contexts[key] = context
    try:
        yield
    finally:
        del contexts[key]


def _watch_of(worker: Any) -> ReleaseWatch:
    with _lock:
        watch = _watches.get(worker)
        if watch is None:
            watch = _watches[worker] = ReleaseWatch()
            worker.loop.add_callback(worker.plugin_add, watch, watch.name)
    return watch
