"""PauseWatch: how long this process was kept from running, so that a test of times is strict on a slow machine too."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Self

__all__ = ["PauseWatch"]

_BEAT = 0.005  # seconds


class PauseWatch:
    """A thread that wakes up 200 times a second and records by how much it was late.

    What delays it delays every thread of the process. A thread that merely waits for too long does not delay it.

    Threads: any may ask once the watch has ended.
    """

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(60.0)

    def _watch(self) -> None:
        begun = monotonic()
        while not self._end.wait(_BEAT):
            now = monotonic()
            self._beats.append((begun, now))
            begun = now

    def paused(self, since: float, until: float) -> float:
        """Return for how many seconds of an interval the process did not run."""
        parts = (min(end, until) - max(begin, since) for begin, end in self._beats)
        return sum(part - _BEAT for part in parts if part > _BEAT)
