"""Condition, Event, PoolFuture and Place: the handler of a signal may raise in a thread that uses them at any moment.

CPython runs the handlers of signals in the main thread, after a call or at the start of a function. A handler may
raise, for example a soft time limit. `threading.Condition` enters by a Python function that acquires the lock and then
returns. An exception between the two leaves the lock owned by the main thread for ever, and the thread that sets an
event or a future waits for ever. A lock itself enters in C code, and no handler runs between that and the body of the
`with` statement.

A handler may also raise after a place was counted and before the `try` that gives it back, or in the code that gives it
back. A place that stays counted is lost for the life of the process.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from threading import get_ident
from typing import Any, Generic, TypeVar

__all__ = ["Condition", "Event", "Place", "PoolFuture", "in_main_thread"]


T = TypeVar("T")


def in_main_thread() -> bool:
    """Return whether the handlers of signals run in this thread."""
    return threading.current_thread() is threading.main_thread()


class Condition(threading.Condition):
    """A condition on an RLock. Its lock is free after every `with` block, whatever a handler of a signal raises.

    Args:
        lock: as made by `threading.RLock()`; None makes one.

    Threads: any.
    """

    def __init__(self, lock: Any = None) -> None:
        super().__init__(threading.RLock() if lock is None else lock)
        self._owned_lock: Any = self._lock  # type: ignore[attr-defined]

    @property
    def __enter__(self) -> Any:
        """The method of the lock, which is C code. This getter runs before the lock is acquired."""
        return self._owned_lock.__enter__

    @property
    def __exit__(self) -> Any:
        """The method of the lock."""
        return self._owned_lock.__exit__

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; see `threading.Condition.wait`. The lock is owned again when this returns or raises."""
        lock: Any = self._owned_lock
        waiter = threading.Lock()
        waiter.acquire()
        state: Any = (1, get_ident())
        self._waiters.append(waiter)  # type: ignore[attr-defined]
        try:
            state = lock._release_save()
            return waiter.acquire() if timeout is None else waiter.acquire(timeout > 0, max(0.0, timeout) or -1)
        finally:
            try:
                _own_again(lock, state)
            except BaseException:  # of a second signal
                _own_again(lock, state)
                raise
            # Also if it was notified: an exception in `notify` may have left it there, to take the next notification.
            if waiter in self._waiters:  # type: ignore[attr-defined]
                self._waiters.remove(waiter)  # type: ignore[attr-defined]


def _own_again(lock: Any, state: Any) -> None:
    if not lock._is_owned():
        lock._acquire_restore(state)


class Event(threading.Event):
    """An event that any thread can set, also after a signal handler has raised in a thread that waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition()


class PoolFuture(Future[Any]):
    """A future whose lock stays free when a signal handler raises. Otherwise the worker could never set the result."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = Condition()


class Place(Generic[T]):
    """What one call has taken from a limit. It comes back also if no code gives it back.

    The owner of the limit makes it first. With a lock held, the owner then changes its count and `is_held` in adjacent
    statements without a call, between which no handler of a signal runs. It does the same to give the place back, if
    `is_held` is set.

    Args:
        lost: gets `what` if the place ends while it is held. The owner gives back what is there, with the lock held.
        what: describes the place.

    Attributes:
        is_held: whether the owner counts it.

    Threads: one at a time.
    """

    __slots__ = ("_lost", "is_held", "what")

    def __init__(self, lost: deque[T], what: T) -> None:
        self._lost = lost
        self.what = what
        self.is_held = False

    def __del__(self) -> None:
        # A garbage collection may call this inside of any statement, so it takes no lock.
        if getattr(self, "is_held", False):  # else its constructor was interrupted
            self._lost.append(self.what)
