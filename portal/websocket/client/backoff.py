"""Backoff: how long a client waits before it connects again."""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass

from ..._internal.settings import number, positive_seconds, require, seconds

__all__ = ["Backoff", "Reconnect"]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """When a client connects again after it has lost a connection.

    The wait is a random time between 0 and a bound ("full jitter"), so that clients that lost a server at the same time
    do not return at the same time. The bound grows by `multiplier` with each failure, up to `max_backoff`.

    Attributes:
        initial_backoff: the bound of the first wait, in seconds.
        max_backoff: the largest bound, in seconds.
        multiplier: growth of the bound, at least 1.
        stable_after: seconds for which a connection must stay open before the bound starts anew. So a server that
            accepts connections and closes them at once is not called more often.
        patience: seconds after a loss for which calls wait although attempts to connect fail, so that a restart of the
            server goes unnoticed. After that, a failed attempt fails the calls that were not sent, as over HTTP.

    Raises: ConfigError for a wrong setting.
    """

    initial_backoff: float = 0.1
    max_backoff: float = 30.0
    multiplier: float = 2.0
    stable_after: float = 5.0
    patience: float = 0.0

    def __post_init__(self) -> None:
        positive_seconds("reconnect.initial_backoff", self.initial_backoff)
        positive_seconds("reconnect.max_backoff", self.max_backoff)
        number("reconnect.multiplier", self.multiplier, minimum=1)
        seconds("reconnect.stable_after", self.stable_after)
        seconds("reconnect.patience", self.patience)
        expected = f"at least initial_backoff, which is {self.initial_backoff}"
        require(self.max_backoff >= self.initial_backoff, "reconnect.max_backoff", self.max_backoff, expected)


class Backoff:
    """The waits of one connection.

    Args:
        settings: the bounds.
        random: callable () -> number from 0 to below 1.

    Threads: one at a time.
    """

    __slots__ = ("_bound", "_random", "_settings")

    def __init__(self, settings: Reconnect, random: Callable[[], float] = _random.random) -> None:
        self._settings = settings
        self._random = random
        self._bound = settings.initial_backoff

    def next_wait(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait = self._random() * self._bound
        self._bound = min(self._settings.max_backoff, self._bound * self._settings.multiplier)
        return wait

    def spread(self, delay: float) -> float:
        """Return a random part of a delay that the server asked for."""
        return self._random() * delay

    def reset(self) -> None:
        """Start anew with the first bound."""
        self._bound = self._settings.initial_backoff
