"""RejectionLog: what the listener turns away by itself, counted and told in the log.

No app hears of it, so no request log has it. A flood of it must not flood the log either.
"""

from __future__ import annotations

import logging
import threading
from math import inf

__all__ = ["RejectionLog"]

_log = logging.getLogger("portal.serving")
_PAUSE = 10.0  # seconds between two lines


class RejectionLog:
    """Counts rejections by reason, and tells the log what has come since it last did.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the counts
        self._total = 0
        self._untold: dict[str, int] = {}
        self._told = -inf

    @property
    def total(self) -> int:
        """All there were."""
        return self._total

    def note(self, reason: str) -> None:
        """Count one more."""
        with self._lock:
            self._total += 1
            self._untold[reason] = self._untold.get(reason, 0) + 1

    def tell(self, now: float) -> None:
        """Log a line, if there is something to tell and the last one is a while ago; called now and then."""
        if not self._untold or now < self._told + _PAUSE:
            return
        self._told = now
        with self._lock:
            told, self._untold = self._untold, {}
        _log.warning("turned away: %s", ", ".join(f"{count} ({reason})" for reason, count in sorted(told.items())))
