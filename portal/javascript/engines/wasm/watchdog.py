"""EpochWatchdog: ends WebAssembly that runs for too long.

Wasmtime compiles a look at the epoch of the engine into every loop and function, so that native loops of the guest are
ended as well. When the epoch has changed, each running store asks `is_late`. So the epoch changes only when the time
of some call is over, and nothing ticks meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from ...._internal.at_fork import renew_after_fork
from ...._internal.background import BackgroundLoop
from ...._internal.conditions import Condition

__all__ = ["EpochWatchdog"]

_REPEAT = 0.005  # seconds; a store that was just about to run may have missed a change of the epoch


class EpochWatchdog:
    """Changes the epoch of an engine when the time of a call is over.

    Its thread runs while somebody has opened it.

    Args:
        advance: changes the epoch.

    Threads: any. Fork: a forked process has no calls, and opens it again.
    """

    def __init__(self, advance: Callable[[], object]) -> None:
        self._advance = advance
        self._loop = BackgroundLoop("portal-javascript-epoch", self._step)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the calls of the parent process; also called by `__init__`."""
        self._changed = Condition()  # guards the attributes below
        self._ends: dict[int, float] = {}  # when the time of a running call is over, by key
        self._wakes_at = math.inf  # when the thread wakes by itself
        self._users = 0

    def open(self) -> None:
        """Start the thread, unless it runs. Each `open` needs a `close`.

        Raises: OverloadedError if the system cannot start a thread.
        """
        with self._changed:
            self._loop.start()
            self._users += 1

    def close(self) -> None:
        """End the thread with the last `close`."""
        with self._changed:
            self._users = max(0, self._users - 1)
            ends = not self._users
            if ends:
                self._changed.notify_all()
        if ends:
            self._loop.stop()

    def enter(self, key: int, end: float) -> None:
        """Begin a call that must end at a `time.monotonic` moment."""
        with self._changed:
            self._ends[key] = end
            if end < self._wakes_at:
                self._wakes_at = end
                self._changed.notify_all()

    def leave(self, key: int) -> None:
        """End a call. The thread is not woken, as the next call probably ends later than it wakes."""
        with self._changed:
            self._ends.pop(key, None)

    def is_late(self, key: int) -> bool:
        """Return whether the time of a call is over."""
        end = self._ends.get(key)
        return end is not None and monotonic() >= end

    def _step(self) -> None:
        with self._changed:
            if not self._users:
                return
            earliest = min(self._ends.values(), default=math.inf)
            left = earliest - monotonic()
            if left > 0:
                self._wakes_at = earliest
                self._changed.wait(None if earliest == math.inf else left)
                return
        self._advance()
        with self._changed:
            self._wakes_at = 0.0
            self._changed.wait(_REPEAT)
