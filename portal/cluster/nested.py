"""Let a worker run other tasks while one of its tasks waits for the cluster.

A function on a worker may call functions of the same cluster. If all threads of the workers waited so, none would be
left to run what they wait for. Therefore the thread of a task that waits leaves the pool of its worker, which starts
another one. It does not come back, as it would have to wait for a thread without a limit. It ends with its task.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from distributed import get_worker, secede
from distributed.threadpoolexecutor import thread_state

_secede: Any = secede

__all__ = ["leave_pool"]


def leave_pool() -> None:
    """Take the current thread out of the pool of its worker, once. In a thread that runs no task, this does nothing."""
    try:
        get_worker()
    except ValueError:  # not on a worker
        return
    if getattr(thread_state, "proceed", False):  # of this thread; false after it has left
        with suppress(KeyError):  # the pool does not have the thread any more
            _secede()
