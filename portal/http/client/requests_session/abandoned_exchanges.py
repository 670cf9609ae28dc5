"""AbandonedExchanges: counts what nobody waits for, and rejects requests while half of all exchanges are of that kind.

Only an adapter that hangs keeps an exchange running whose caller has stopped waiting. Without the limit, such exchanges
would take all workers of a session.
"""

from __future__ import annotations

import threading

from ....address import Address
from ....errors import OverloadedError

__all__ = ["AbandonedExchanges"]

_RETRY_AFTER = 1.0  # seconds


class AbandonedExchanges:
    """The exchanges that nobody waits for and that have not ended.

    Args:
        max_exchanges: exchanges at a time; half of them may be abandoned.

    Threads: any.
    """

    def __init__(self, max_exchanges: int) -> None:
        self._limit = max(1, max_exchanges // 2)
        self._lock = threading.Lock()  # guards the numbers
        self.running = 0
        self.total = 0

    def begin(self) -> None:
        """Count one."""
        with self._lock:
            self.running += 1
            self.total += 1

    def end(self) -> None:
        """Stop counting one, as it has ended."""
        with self._lock:
            self.running -= 1

    def require_few(self, address: Address) -> None:
        """Check that a request may be sent to an address. Raises: OverloadedError if too many are abandoned."""
        running = self.running
        if running >= self._limit:
            message = f"{running} abandoned exchanges with servers have not ended; the request was not sent"
            raise OverloadedError(message, retry_after=_RETRY_AFTER, address=address)

    def stats(self) -> dict[str, int]:
        """Return how many are abandoned now, and how many were."""
        return {"abandoned": self.running, "abandoned_total": self.total}
