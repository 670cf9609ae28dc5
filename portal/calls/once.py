"""Once: what many threads want at the same time is fetched by one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..context import CallContext
from .flights import Flights

__all__ = ["Once"]


class Once:
    """One fetch at a time; who comes while it is under way waits for it. No lock is held meanwhile.

    Threads: any. Fork: a child does not wait for a fetch that only its parent makes.
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: Flights[str] = Flights()

    @property
    def busy(self) -> bool:
        """Whether a thread of this process fetches."""
        return len(self._flights) > 0

    def run(self, name: str, deadline: float, make: Callable[[], Any]) -> Any:
        """What `make` gives, JSON data, to all who ask while it runs; it should look first whether it is still needed.

        Args:
            name: of what is fetched, for the error.
            deadline: `time.monotonic()` moment until which this thread waits for another's fetch.
        Raises: what `make` raises; CallTimeout at the deadline.
        """
        return self._flights.once(name, CallContext(deadline=deadline), name, make)
