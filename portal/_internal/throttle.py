"""Throttle: let what happens often be logged now and then."""

from __future__ import annotations

from .at_fork import new_lock

__all__ = ["Throttle"]


class Throttle:
    """Allows an event at most once in an interval.

    Args:
        interval: seconds.

    Threads: any; one of several threads that ask at the same time is allowed.
    """

    __slots__ = ("_allowed_at", "_interval", "_lock")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = new_lock()  # guards the attribute below
        self._allowed_at = float("-inf")

    def allows(self, now: float) -> bool:
        """Return whether the event is allowed at a moment, and if so, begin an interval."""
        with self._lock:
            if now - self._allowed_at < self._interval:
                return False
            self._allowed_at = now
            return True

    def reset(self) -> None:
        """Allow the next event."""
        with self._lock:
            self._allowed_at = float("-inf")
