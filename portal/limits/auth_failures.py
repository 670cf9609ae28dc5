"""AuthFailures: count failed authentications by client, and block the clients that fail too often.

It knows nothing of HTTP: a transport calls `check` before it reads a credential and `record` after it rejected one.

Source: NIST SP 800-63B, section 5.2.2.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from time import monotonic

from .._internal.at_fork import new_lock
from .._internal.counter import Counter
from .._internal.log import get_logger
from .._internal.redis_client import RedisClient, StoreUnavailable
from .._internal.settings import count
from ..errors import RateLimitError
from ..http11.client_network import client_network
from .algorithms import Rate
from .counter import RateCounter

__all__ = ["AuthFailures"]

_log = get_logger("portal.auth")


class AuthFailures:
    """The failed authentications of each client.

    Each failure takes one of the client's `rate`. A client that has used it up is blocked until the rate allows another
    attempt. A client is its IPv4 address, or the /64 of its IPv6 address.

    Args:
        rate: failures in a time, such as "10/minute".
        store: URL or client of Redis or Valkey, shared by all processes that use it; None counts in this process.
            While the store does not respond, nothing is counted.
        namespace: the portals that share the counts in the store; None for the name given to `bind_namespace`.
        max_entries: clients to count, and clients to block, at most. Beyond it the oldest is removed.
        clock: seconds, as `time.monotonic`.
        setting: dotted path of the owner, for errors about its settings.

    Attributes:
        rejected: counts the rejected attempts of blocked clients.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(
        self,
        rate: str,
        *,
        store: str | RedisClient | None = None,
        namespace: str | None = None,
        max_entries: int = 100_000,
        clock: Callable[[], float] = monotonic,
        setting: str = "auth_failures",
    ) -> None:
        parsed = Rate.parse(rate, path=f"{setting}.rate")
        self._max = count(f"{setting}.max_entries", max_entries)
        self._counter = RateCounter(
            parsed,
            parsed.calls,
            store=store,
            prefix="portal:auth_failures",
            suffix=f"{parsed.calls}/{parsed.seconds}",
            namespace=namespace,
            max_entries=max_entries,
            clock=clock,
            setting=setting,
        )
        self._take = self._counter.take
        self._interval = parsed.seconds / parsed.calls
        self._clock = clock
        self.rejected = Counter()
        self._lock = new_lock()  # guards writes to the dict below; readers take no lock
        self._blocked: dict[str, float] = {}  # moment at which the block ends, by client

    def bind_namespace(self, name: str | None) -> AuthFailures:
        """Return the failures for a portal with this name; those in this process are common to all portals.

        Raises: ConfigError for a shared store without a name and without `namespace`.
        """
        counter = self._counter.bind(name)
        if counter is self._counter:
            return self
        bound = copy(self)
        bound._counter, bound._take = counter, counter.take
        bound._lock, bound._blocked, bound.rejected = new_lock(), {}, Counter()
        return bound

    @property
    def blocked(self) -> int:
        """The number of clients in the table of blocked clients; some of their blocks may have ended."""
        return len(self._blocked)

    def check(self, peer: str) -> None:
        """Raise RateLimitError if the client at this address is blocked."""
        if not self._blocked:
            return
        left = self._blocked.get(client_network(peer), 0.0) - self._clock()
        if left > 0:
            self.rejected.add()
            raise RateLimitError("too many failed authentications from this address; try again later", retry_after=left)

    def record(self, peer: str) -> None:
        """Count a failed authentication of the client at this address, and block the client if it used up its rate."""
        client = client_network(peer)
        try:
            verdict = self._take(client)
        except StoreUnavailable:
            return
        if verdict.remaining:
            return
        wait = verdict.retry_after or self._interval
        _log.warning("too many failed authentications: client=%s blocked_seconds=%.3g", client, wait)
        now = self._clock()
        with self._lock:
            self._blocked.pop(client, None)
            if len(self._blocked) >= self._max:
                self._make_room(now)
            self._blocked[client] = now + wait

    def _make_room(self, now: float) -> None:
        """Remove the clients whose block has ended, or the client that was blocked first if there are none."""
        blocked = {client: until for client, until in self._blocked.items() if until > now}
        if len(blocked) >= self._max:
            del blocked[next(iter(blocked))]
        self._blocked = blocked

    def close(self) -> None:
        """Close the connections to the store that were opened for a URL."""
        self._counter.close()
