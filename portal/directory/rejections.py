"""RejectionLog: log what a directory leaves out, without a flood of lines."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .._internal.log import get_logger

__all__ = ["RejectionLog"]

_log = get_logger("portal.directory")


class RejectionLog:
    """Logs each subject once in an interval, and a bounded number of subjects.

    Args:
        what: the start of each line.
        interval: seconds.
        max_lines: lines in an interval. Further subjects are counted, and the number is logged later.
        clock: seconds, as `time.monotonic`.

    Threads: one at a time.
    """

    def __init__(
        self, what: str, *, interval: float = 60.0, max_lines: int = 10, clock: Callable[[], float] = monotonic
    ) -> None:
        self._what = what
        self._interval = interval
        self._max_lines = max_lines
        self._clock = clock
        self._logged: set[str] = set()
        self._left_out = 0
        self._until = float("-inf")

    def note(self, subject: str, reason: object) -> None:
        """Log that a subject was left out, and why."""
        now = self._clock()
        if now >= self._until:
            if self._left_out:
                _log.warning("%s: %d more in the last interval were not logged", self._what, self._left_out)
            self._logged.clear()
            self._left_out = 0
            self._until = now + self._interval
        if subject in self._logged:
            return
        if len(self._logged) >= self._max_lines:
            self._left_out += 1
            return
        self._logged.add(subject)
        _log.warning("%s: %.80r: %.500s", self._what, subject, reason)
