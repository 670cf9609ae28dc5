"""FuelQuota bounds the fuel of each tenant.

Fuel is what an engine counts of the instructions of a call. The same call from the same state takes the same fuel, on
every machine, so that it is a fair unit of what a tenant may use.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from cachetools import LRUCache

from .._internal.at_fork import new_lock
from .._internal.settings import callback, count, positive_seconds
from ..context import CallContext
from ..errors import RateLimitError

__all__ = ["FuelQuota"]


def _name_of_caller(context: CallContext) -> str:
    """Return the name of the identity; callers without one are one tenant."""
    return "" if context.identity is None else context.identity.name


class FuelQuota:
    """Bound the fuel of each tenant. A tenant has a supply that is filled up steadily.

    A call may use at most what the tenant has left when it begins. Calls that run at the same time may overdraw the
    supply; then further calls wait until it has recovered.

    Args:
        fuel: the whole supply of a tenant.
        per: seconds in which an empty supply is full again.
        key: returns the name of the tenant of a call; None takes the name of the caller's identity.
        max_tenants: how many supplies are kept; the one that was not used for the longest time is forgotten.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(
        self,
        fuel: int,
        *,
        per: float = 60.0,
        key: Callable[[CallContext], str] | None = None,
        max_tenants: int = 100_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.fuel = count("fuel_quota.fuel", fuel)
        self.per = positive_seconds("fuel_quota.per", per)
        self._key = callback("fuel_quota.key", key, optional=True) or _name_of_caller
        self._clock = clock
        self._lock = new_lock()  # guards the supplies
        #: By tenant: what is left, which may be less than nothing, and when it was counted.
        self._supplies: Any = LRUCache(count("fuel_quota.max_tenants", max_tenants))

    def available(self, context: CallContext) -> int:
        """Return what the tenant of a call may use now. Raises: RateLimitError if that is nothing."""
        with self._lock:
            left, _ = self._supply(self._key(context))
        if left >= 1:
            return int(left)
        wait = (1 - left) * self.per / self.fuel
        message = f"the fuel of this caller is used up: {self.fuel:,} in {self.per:g} s; try again in {wait:.3g} s"
        raise RateLimitError(message, retry_after=wait)

    def charge(self, context: CallContext, fuel: int) -> None:
        """Take fuel from the supply of a call's tenant."""
        key = self._key(context)
        with self._lock:
            left, now = self._supply(key)
            self._supplies[key] = (left - fuel, now)

    def _supply(self, key: str) -> tuple[float, float]:
        now = self._clock()
        left, at = self._supplies.get(key, (float(self.fuel), now))
        return min(float(self.fuel), left + (now - at) * self.fuel / self.per), now
