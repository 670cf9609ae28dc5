"""Liveness: when a connection is asked for a sign of life, and when it ends by the time. It knows no clock."""

from __future__ import annotations

from math import inf
from typing import Literal

from ..close_codes import CloseCode
from .settings import WebSocketConfig

__all__ = ["Due", "Liveness"]

#: What is due: a ping, the end of a silent connection, that of one that is closing, or a close with code and reason.
Due = Literal["ping", "dead", "end"] | tuple[int, str] | None


class Liveness:
    """The moments of one connection. All are of one clock, in seconds.

    Args:
        config: the timeouts.
        now: the present moment.
        awaits_credential: whether the client must authenticate itself in a message.

    Attributes:
        expires: the moment at which the client's credential expires, or infinity.
        awaits_credential: as given, until it has.

    Threads: one at a time. `heard` may be called at any time.
    """

    __slots__ = ("_closing_until", "_config", "_heard", "_opened", "_pinged", "_used", "awaits_credential", "expires")

    def __init__(self, config: WebSocketConfig, now: float, *, awaits_credential: bool = False) -> None:
        self._config = config
        self._opened = self._heard = self._used = now
        self._pinged = 0.0  # the moment of a ping without a response
        self._closing_until = inf
        self.expires = inf
        self.awaits_credential = awaits_credential

    def heard(self, now: float) -> None:
        """Note that bytes have arrived."""
        self._heard = now
        self._pinged = 0.0

    def used(self, now: float) -> None:
        """Note that a message has arrived."""
        self._used = now

    def authenticated(self, expires: float | None) -> None:
        """Note a credential and the moment at which it expires, or None."""
        self.awaits_credential = False
        self.expires = inf if expires is None else expires

    def close(self, now: float) -> None:
        """Note that the close frame was sent."""
        self._closing_until = now + self._config.close_timeout

    def due(self, now: float, *, busy: bool) -> Due:
        """Return what is due.

        Args:
            busy: whether the connection has calls or subscriptions.
        """
        config = self._config
        if self._closing_until < inf:
            return "end" if now >= self._closing_until else None
        if self._pinged and now >= self._pinged + config.ping_timeout:
            return "dead"
        if self.awaits_credential and now >= self._opened + config.handshake_timeout:
            return CloseCode.TIMEOUT, f"no credential was sent within {config.handshake_timeout:g} s"
        if now >= self.expires + config.credential_grace:
            return CloseCode.CREDENTIALS_EXPIRED, "the credential has expired"
        if config.idle_timeout is not None and not busy and now >= self._used + config.idle_timeout:
            return CloseCode.TIMEOUT, f"the connection was idle for {config.idle_timeout:g} s"
        if not self._pinged and now >= self._heard + config.ping_interval:
            self._pinged = now
            return "ping"
        return None

    def next_moment(self, *, busy: bool) -> float:
        """Return the moment at which something may be due next."""
        config = self._config
        if self._closing_until < inf:
            return self._closing_until
        moments = [
            self._pinged + config.ping_timeout if self._pinged else self._heard + config.ping_interval,
            self.expires + config.credential_grace,
        ]
        if self.awaits_credential:
            moments.append(self._opened + config.handshake_timeout)
        if config.idle_timeout is not None and not busy:
            moments.append(self._used + config.idle_timeout)
        return min(moments)
