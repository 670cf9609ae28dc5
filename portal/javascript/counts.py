"""ScriptCounts: the calls of one JavaScript function, counted."""

from __future__ import annotations

from typing import Any

from .._internal.at_fork import new_lock
from .._internal.counter import Counter

__all__ = ["ScriptCounts"]


class ScriptCounts:
    """Counts the calls of one function.

    Attributes:
        called: counts a call; costs hardly anything.

    Threads: any.
    """

    def __init__(self) -> None:
        self._calls = Counter()
        self.called = self._calls.add
        self._lock = new_lock()  # guards the attributes below
        self._failed: dict[str, int] = {}
        self._fuel = 0

    def failed(self, stage: str) -> None:
        """Count a call that failed at a stage; see `portal.javascript.engine.Stage`."""
        with self._lock:
            self._failed[stage] = self._failed.get(stage, 0) + 1

    def burnt(self, fuel: int) -> None:
        """Add the fuel of a call."""
        with self._lock:
            self._fuel += fuel

    def read(self) -> dict[str, Any]:
        """Return the numbers of calls, of failed calls by stage, and the fuel, as JSON data."""
        with self._lock:
            failed, fuel = dict(sorted(self._failed.items())), self._fuel
        return {"calls": self._calls.value, "failed": failed, "fuel": fuel}
