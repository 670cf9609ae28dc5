"""Compute password hashes in threads of their own, so that other calls go first.

A hash keeps a processor busy for a tenth of a second. It releases the interpreter's lock, so that as many hashes as
there are processors would leave none to the threads that serve other calls.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from .._internal.at_fork import new_lock
from .._internal.executor import WorkerPool
from .._internal.processors import count_processors

__all__ = ["compute_apart", "hashing_pool"]

Result = TypeVar("Result")

_QUEUE = 1024  # hashes; the limit of each authenticator comes first
_LOWER = 5  # steps of the nice value, which make the share of a contested processor about a quarter
_LOWEST = 19

_lock = new_lock()  # guards the creation of the pool
_pools: list[WorkerPool] = []


def hashing_pool() -> WorkerPool:
    """Return the pool of this process for hashes: a thread for each processor but one, and at least one thread."""
    with _lock:
        if not _pools:
            _pools.append(WorkerPool(max(1, count_processors() - 1), _QUEUE, name="portal-hash"))
        return _pools[0]


def compute_apart(compute: Callable[..., Result], *args: object) -> Result:
    """Return `compute(*args)`, computed by a thread of the pool with a lower priority. It waits for its turn.

    Raises: OverloadedError if too many hashes wait already; what `compute` raises.
    """
    result: Result = hashing_pool().submit(_compute, compute, args).result()
    return result


def _compute(compute: Callable[..., Result], args: tuple[object, ...]) -> Result:
    _lower_priority()
    return compute(*args)


def _lower_priority() -> None:
    """Let other threads have the processor before the calling one, which must be one of the pool.

    Only Linux has a priority for each thread. A thread cannot raise its priority again.

    Source: setpriority(2), "C library/kernel differences".
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            usual = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(_LOWEST, usual + _LOWER))
