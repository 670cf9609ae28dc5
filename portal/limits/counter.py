"""RateCounter: count calls in this process, or in a shared store apart from the calls of other portals."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from .._internal.redis_client import RedisClient, StoreClient, namespaced_prefix, require_namespace
from .._internal.settings import namespace as check_namespace
from .algorithms import Rate, Verdict, rate_store

__all__ = ["RateCounter"]


class RateCounter:
    """Count calls by key.

    Counts in this process are common to all that use the counter. Counts in a shared store belong to a namespace.

    Args:
        rate, burst, max_entries, clock: see `rate_store`.
        store: URL or client of Redis or Valkey; None counts in this process.
        prefix: prefix of the keys in the store.
        suffix: what follows the namespace in the keys.
        namespace: the namespace, or None to take the name of the portal from `bind`.
        setting: dotted path of the owner, for errors about its settings.

    Attributes:
        take: counts one call of a key if it is allowed. Raises StoreUnavailable, or ConfigError without a namespace.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    take: Callable[[str], Verdict]

    def __init__(
        self,
        rate: Rate,
        burst: int | None,
        *,
        store: str | RedisClient | None,
        prefix: str,
        suffix: str,
        namespace: str | None,
        max_entries: int,
        clock: Callable[[], float],
        setting: str,
    ) -> None:
        self._rate, self._burst = rate, burst
        self._source, self._prefix, self._suffix = store, prefix, suffix
        self._namespace = check_namespace(f"{setting}.namespace", namespace)
        self._max_entries = max_entries
        self._clock = clock
        self._setting = setting
        self._link: StoreClient | None = None
        if store is None:
            self.take = rate_store(rate, burst, None, "", max_entries, clock).take
        else:
            self._open(namespace)

    def _open(self, namespace: str | None) -> None:
        assert self._source is not None
        self._link = StoreClient(self._source, path=f"{self._setting}.store", clock=self._clock)
        if namespace is None:
            self.take = self._reject
        else:
            prefix = f"{namespaced_prefix(self._prefix, namespace)}:{self._suffix}"
            self.take = rate_store(self._rate, self._burst, self._link, prefix, self._max_entries, self._clock).take

    def _reject(self, key: str) -> Verdict:
        """Raise ConfigError: without a namespace, all portals that use the store would count together."""
        require_namespace(None, path=f"{self._setting}.namespace")
        raise AssertionError("unreachable")  # pragma: no cover

    def bind(self, name: str | None) -> RateCounter:
        """Return the counter for a portal with this name; it has connections of its own to a shared store.

        Raises: ConfigError for a shared store without a name, if there is no namespace either.
        """
        if self._source is None:
            return self
        namespace = require_namespace(self._namespace or name, path=f"{self._setting}.namespace")
        bound = copy(self)
        bound._open(namespace)
        return bound

    def close(self) -> None:
        """Close the connections to the store that were opened for a URL."""
        if self._link is not None:
            self._link.close()
