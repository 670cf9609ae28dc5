"""Numbers for any thread: `number_source` gives each caller a number of its own, and Counter counts.

Under CPython's lock, a call of `itertools.count` is one step and costs a fifth of a lock of our own. For a CPython
without that lock nothing promises that it is one step, so a lock of our own is taken there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count

from .at_fork import new_lock

__all__ = ["FREE_THREADED", "Counter", "number_source"]

#: Whether this process runs without CPython's lock (PEP 703).
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def number_source(start: int = 0, *, locked: bool = FREE_THREADED) -> Callable[[], int]:
    """Return a callable that returns the next number at each call, and no number twice. It may be called by any thread.

    Args:
        locked: whether to take a lock for each number.
    """
    following = count(start).__next__
    if not locked:
        return following
    lock = new_lock()

    def take() -> int:
        with lock:
            return following()

    return take


class Counter:
    """A counter that only grows. `add()` mostly is one call of C code; see `number_source`.

    Attributes:
        add: adds one.

    Threads: any.
    """

    __slots__ = ("_lock", "_reads", "add")

    def __init__(self, *, locked: bool = FREE_THREADED) -> None:
        self.add: Callable[[], object] = number_source(locked=locked)
        self._lock = new_lock()  # guards reading, which adds one as well
        self._reads = 0

    @property
    def value(self) -> int:
        """The number of calls of `add`."""
        with self._lock:
            found = self.add()
            assert isinstance(found, int)
            self._reads += 1
            return found - self._reads + 1
