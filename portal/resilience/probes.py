"""ProbeLeases: of several processes, one at a time tests a peer whose circuit is half open."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from .._internal.at_fork import new_lock
from .._internal.redis_client import RedisClient, StoreClient, StoreUnavailable, namespaced_prefix
from .._internal.settings import text

__all__ = ["ProbeLeases"]

# Deletes the lease if this process holds it.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class ProbeLeases:
    """Leases in a store that several processes share, for `Breaker(probes=)`.

    Without it, each process tests a peer that comes back with a call of its own, and 100 processes send 100 calls at
    once. While the store does not respond, each process tests by itself.

    Args:
        store: URL or client of Redis or Valkey.
        namespace: the processes that share the leases.
        key_prefix: prefix of the keys in the store.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a child has leases of its own.
    """

    def __init__(
        self,
        store: str | RedisClient,
        *,
        namespace: str,
        key_prefix: str = "portal:probes",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        text("probes.key_prefix", key_prefix)
        text("probes.namespace", namespace, max_length=64)
        self._prefix = namespaced_prefix(key_prefix, namespace)
        self._link = StoreClient(store, path="probes.store", clock=clock)
        self._clock = clock
        self._release = self._link.client.register_script(_RELEASE)
        self._lock = new_lock()  # guards the leases
        self._held: dict[str, tuple[str, float]] = {}  # key -> token, and the end of the lease

    def take(self, key: str, seconds: float) -> bool:
        """Return whether this process may test a peer now; it may for that many seconds, or until `release`."""
        now = self._clock()
        held = self._held.get(key)
        if held is not None and now < held[1]:
            return True
        token = os.urandom(8).hex()
        milliseconds = max(1, round(seconds * 1000))
        try:
            taken = self._link.run(lambda client: client.set(f"{self._prefix}:{key}", token, nx=True, px=milliseconds))
        except StoreUnavailable:
            return True
        if taken:
            with self._lock:
                self._held[key] = (token, now + seconds)
        return bool(taken)

    def release(self, key: str) -> None:
        """End a lease of this process. Does nothing without one."""
        with self._lock:
            held = self._held.pop(key, None)
        if held is None:
            return
        try:
            self._link.run(lambda _: self._release(keys=[f"{self._prefix}:{key}"], args=[held[0]]))
        except StoreUnavailable:
            return  # it ends by itself

    def close(self) -> None:
        """Close the connections that were opened for a URL."""
        self._link.close()
