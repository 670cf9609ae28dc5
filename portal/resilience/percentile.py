"""RecentPercentile: a percentile of the last values."""

from __future__ import annotations

from .._internal.at_fork import new_lock

__all__ = ["RecentPercentile"]

_MAX_VALUES = 256
_MIN_VALUES = 20
_INTERVAL = 16  # values after which the percentile is computed anew


class RecentPercentile:
    """A percentile of the last 256 values. It is computed after each 16th one, so that adding stays cheap.

    Args:
        share: the share of the values that are at most the percentile, from 0 to 1.

    Attributes:
        value: the percentile; None until there are 20 values.

    Threads: any.
    """

    __slots__ = ("_count", "_lock", "_share", "_values", "value")

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = new_lock()  # guards the attributes below
        self._values: list[float] = []
        self._count = 0
        self.value: float | None = None

    def add(self, value: float) -> None:
        """Add a value in place of the oldest."""
        with self._lock:
            position = self._count % _MAX_VALUES
            if position == len(self._values):
                self._values.append(value)
            else:
                self._values[position] = value
            self._count += 1
            if self._count == _MIN_VALUES or (self._count > _MIN_VALUES and self._count % _INTERVAL == 0):
                ordered = sorted(self._values)
                self.value = ordered[min(len(ordered) - 1, int(self._share * len(ordered)))]
