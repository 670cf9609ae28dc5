"""Draining: the time for which a listener is not ready and still accepts requests, before it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep

__all__ = ["Draining"]


class Draining:
    """Load balancers look for readiness every few seconds. Until they have noticed, they go on to send requests.

    Args:
        delay: seconds from "not ready" to the end of accepting.
        clock, pause: as `time.monotonic` and `time.sleep`.

    Attributes:
        begun: whether the listener is not ready any more.

    Threads: any.
    """

    def __init__(
        self, delay: float, clock: Callable[[], float] = monotonic, pause: Callable[[float], object] = sleep
    ) -> None:
        self._delay = delay
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()  # guards beginning
        self._end = 0.0
        self.begun = False

    def begin(self) -> None:
        """Be not ready from now on. A second call does nothing."""
        with self._lock:
            if not self.begun:
                self._end = self._clock() + self._delay
                self.begun = True

    def wait(self, *, at_once: bool = False) -> None:
        """Begin, and return when the delay is over, or without a delay."""
        self.begin()
        while not at_once and (left := self._end - self._clock()) > 0:
            self._pause(left)
