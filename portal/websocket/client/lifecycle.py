"""Lifecycle: the states of one connection and when it connects again. Pure: the caller passes the time.

                 connect              opened
    IDLE/WAITING -------> CONNECTING --------> OPEN ----> CLOSING
         ^                    | failed          | lost       | lost
         +--------------------+-----------------+------------+

A connection that is still wanted (by a waiting call, a call in flight or a subscription) goes to WAITING, and is due
after a backoff. Otherwise it goes to IDLE. CLOSED is final.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from .backoff import Backoff, Reconnect

__all__ = ["ConnectionState", "Lifecycle", "Observer"]


class ConnectionState(Enum):
    """The state of a connection of a client."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    WAITING = "waiting"
    CLOSED = "closed"


Observer = Callable[[ConnectionState, ConnectionState], object]
S = ConnectionState


class Lifecycle:
    """The state of one connection.

    Args:
        settings: the waits between two attempts.
        backoff: counts the waits; made from `settings` when None.
        observe: called with the old and the new state after each change.

    Attributes:
        state: the present state.
        attempts: failed attempts since the last connection that was stable.
        retry_at: the moment from which a connection in WAITING is due.
        was_open: whether the server was ever reached.

    Threads: one at a time.
    """

    __slots__ = (
        *("_backoff", "_lost_at", "_observe", "_opened_at", "_rested_at", "_settings"),
        *("attempts", "retry_at", "state", "was_open"),
    )

    def __init__(self, settings: Reconnect, *, backoff: Backoff | None = None, observe: Observer | None = None) -> None:
        self._settings = settings
        self._backoff = backoff or Backoff(settings)
        self._observe = observe
        self._opened_at = self._lost_at = self._rested_at = 0.0
        self.state = S.IDLE
        self.attempts = 0
        self.retry_at = 0.0
        self.was_open = False

    def connect(self, now: float) -> bool:
        """Go to CONNECTING if it is time to. Return whether the caller must start to connect."""
        if self.state is S.IDLE or self.is_due(now):
            self._enter(S.CONNECTING)
            return True
        return False

    def is_patient(self, now: float) -> bool:
        """Return whether calls that were not sent wait although an attempt to connect has failed."""
        return self.was_open and now < self._lost_at + self._settings.patience

    def hurry(self, now: float) -> bool:
        """Bring the next attempt forward, as a new call waits for it. Attempts are `initial_backoff` apart.

        Returns: whether that changed anything.
        """
        soonest = max(now, self._rested_at + self._settings.initial_backoff)
        if self.state is not S.WAITING or self.is_patient(now) or self.retry_at <= soonest:
            return False
        self.retry_at = soonest
        return True

    def is_due(self, now: float) -> bool:
        """Return whether a connection in WAITING has waited long enough."""
        return self.state is S.WAITING and now >= self.retry_at

    def opened(self, now: float) -> bool:
        """Note that the connection is open. Return False if it was closed meanwhile: the caller then closes it."""
        if self.state is not S.CONNECTING:
            return False
        self._opened_at = now
        self.was_open = True
        self._enter(S.OPEN)
        return True

    def failed(self, now: float, *, wanted: bool) -> None:
        """Note that an attempt to connect has failed."""
        if self.state is S.CONNECTING:
            self._rest(now, wanted)
            if self.is_patient(now):  # then one attempt more decides for the calls that wait
                self.retry_at = min(self.retry_at, self._lost_at + self._settings.patience)

    def lost(self, now: float, *, wanted: bool, delay: float = 0.0) -> None:
        """Note that an open or closing connection is lost.

        Args:
            delay: seconds within which the server asked its clients to come back; a random part of it is waited, and of
                `max_backoff` at most.
        """
        if self.state not in (S.OPEN, S.CLOSING):
            return
        self._lost_at = now
        if now - self._opened_at >= self._settings.stable_after:
            self.attempts = 0
            self._backoff.reset()
        self._rest(now, wanted, self._backoff.spread(min(delay, self._settings.max_backoff)))

    def closing(self) -> None:
        """Note that the open connection takes no new calls and ends soon."""
        if self.state is S.OPEN:
            self._enter(S.CLOSING)

    def unwanted(self) -> None:
        """Stop waiting for a reconnect, as nothing needs the connection any more."""
        if self.state is S.WAITING:
            self._enter(S.IDLE)

    def close(self) -> bool:
        """Go to CLOSED for good. Return whether this was the first time."""
        if self.state is S.CLOSED:
            return False
        self._enter(S.CLOSED)
        return True

    def _rest(self, now: float, wanted: bool, delay: float = 0.0) -> None:
        # Without a caller, too: the next call must not find that a server that fails was asked a moment ago.
        self.attempts += 1
        self._rested_at = now
        self.retry_at = now + delay + self._backoff.next_wait()
        self._enter(S.WAITING if wanted else S.IDLE)

    def _enter(self, state: ConnectionState) -> None:
        old, self.state = self.state, state
        if self._observe is not None:
            self._observe(old, state)
