"""MessageRate: how many messages of one connection may arrive in a second."""

from __future__ import annotations

__all__ = ["MessageRate"]


class MessageRate:
    """A token bucket for messages. It fills at `rate` and holds the messages of one second.

    Args:
        rate: messages a second.
        now: seconds of the clock.

    Threads: one at a time.
    """

    __slots__ = ("_filled_at", "_left", "_rate")

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._left = float(rate)
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Count one message. Return False if it is one too many."""
        left = self._left - 1.0
        if left < 0.0:
            left = min(float(self._rate), self._left + (now - self._filled_at) * self._rate) - 1.0
            self._filled_at = now
            if left < 0.0:
                self._left = left + 1.0
                return False
        self._left = left
        return True
