"""RateLimit: reject calls beyond a rate, and report the remaining quota of all others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from copy import copy
from math import ceil
from time import monotonic
from typing import Any, Literal

from .._internal.redis_client import RedisClient, StoreUnavailable
from .._internal.settings import choice, count, require, text
from ..calls.client import client_of
from ..calls.middleware import Call, CallNext
from ..errors import OverloadedError, RateLimitError
from ..function import Function
from ..http11.client_network import client_network
from ..http11.dates import format_retry_after
from .algorithms import Rate, Verdict
from .counter import RateCounter

__all__ = ["RateLimit"]

Per = Literal["client", "identity", "network", "function", "global"]
_MAX_KEY = 128  # characters; longer keys are replaced by their digest
_MAX_BURST = 1_000_000_000
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


_KEYS: dict[str, Callable[[Call], str]] = {
    "client": client_of,
    "identity": client_of,
    "network": lambda call: client_network(call.peer),
    "function": lambda call: f"{call.group}/{call.function.name}" if call.group else call.function.name,
    "global": lambda call: "",
}


class RateLimit:
    """Call middleware that limits the rate of calls for each client, network or function, or for all together.

    A call beyond the rate is rejected with RateLimitError and does not run. Every response has the headers `ratelimit`
    and `ratelimit-policy`: a quota of `q` calls in `w` seconds, `r` remaining calls, `t` seconds until the quota is
    full. A rejection has `retry-after`, too. Listings, rpc.discover and calls of unknown functions count as calls,
    unless the limit is for certain functions. With several limits a call must pass all of them, in their order; the
    limits that it passed count it.

    Args:
        rate: "100/minute", "5/second", "20/30s".
        burst: calls that may run at once after a pause, for token buckets; None for the number in the rate.
        per: which calls are counted together: those of a "client" (its identity, or without one its network), a
            "network" (IPv4 address, or /64 of an IPv6 address), a "function", or all ("global"). "identity" is the same
            as "client". Or a callable (call) that returns the key.
        algorithm: "token_bucket" returns calls evenly; "sliding_window" allows no more than the rate in the first
            window of a key. See `portal.limits.algorithms`.
        functions: names of the functions to limit, or a callable (function) -> bool; None limits all.
        store: URL or client of Redis or Valkey, shared by all processes that use it with the same settings, name and
            namespace; None counts in this process, for all portals that use this object together.
        on_lost_store: "open" lets calls pass while the store does not respond; "closed" raises OverloadedError.
        key_prefix: prefix of the keys in the store.
        name: name of this limit in the headers and in the store. Several limits need different names.
        namespace: the portals that share the counts in the store; None for the `name=` of the portal. A shared store
            requires one of the two.
        max_entries: keys to count in this process at most. Beyond it the least recently used is removed.
        clock: seconds, as `time.monotonic`; a shared store uses its own clock.

    Raises: ConfigError for a wrong setting.

    Threads: any.

    Source: draft-ietf-httpapi-ratelimit-headers.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        rate: str,
        *,
        burst: int | None = None,
        per: Per | Callable[[Call], str] = "client",
        algorithm: Literal["token_bucket", "sliding_window"] = "token_bucket",
        functions: Iterable[str] | Callable[[Function], bool] | None = None,
        store: str | RedisClient | None = None,
        on_lost_store: Literal["open", "closed"] = "open",
        key_prefix: str = "portal:limit",
        name: str = "default",
        namespace: str | None = None,
        max_entries: int = 100_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        parsed = Rate.parse(rate)
        bucket = choice("rate_limit.algorithm", algorithm, ("token_bucket", "sliding_window")) == "token_bucket"
        count("rate_limit.burst", burst, maximum=_MAX_BURST, optional=True)
        require(bucket or burst is None, "rate_limit.burst", burst, "None for a sliding window")
        known = callable(per) or (isinstance(per, str) and per in _KEYS)
        require(known, "rate_limit.per", per, f"one of {', '.join(map(repr, _KEYS))}, or a callable (call) -> str")
        choice("rate_limit.on_lost_store", on_lost_store, ("open", "closed"))
        text("rate_limit.key_prefix", key_prefix)
        text("rate_limit.name", name, pattern=_NAME, expected="1 to 64 letters, digits, '-', '_' and '.'")
        count("rate_limit.max_entries", max_entries)
        self._key: Callable[[Call], str] = _KEYS[per] if isinstance(per, str) else per
        self._limits = _chooser(functions)
        #: The names in `functions`; a portal logs those that it has not published.
        self.named = frozenset() if functions is None or callable(functions) else _names(functions)
        self._open = on_lost_store == "open"
        self._quota = f'"{name}";r='
        size = parsed.calls if burst is None else burst
        self._text = rate if name == "default" else f'{rate} ("{name}")'
        self._policy = f'"{name}";q={parsed.calls};w={parsed.seconds}'
        kind = "own" if not isinstance(per, str) else "client" if per == "identity" else per
        self._counter = RateCounter(
            parsed,
            size if bucket else None,
            store=store,
            prefix=key_prefix,
            suffix=f"{name}:{kind}:{parsed.calls}/{parsed.seconds}",
            namespace=namespace,
            max_entries=max_entries,
            clock=clock,
            setting="rate_limit",
        )
        self._take = self._counter.take

    def bind_namespace(self, name: str | None) -> RateLimit:
        """Return the limit for a portal with this name; see `NamespacedMiddleware`.

        Raises: ConfigError for a shared store without a name and without `namespace`.
        """
        counter = self._counter.bind(name)
        if counter is self._counter:
            return self
        bound = copy(self)
        bound._counter, bound._take = counter, counter.take
        return bound

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Count the call and pass it on. Raises: RateLimitError, OverloadedError."""
        if self._limits is None or self._limits(call.function):
            self._count(call)
        return call_next(call)

    def charge(self, call: Call) -> None:
        """Count a request that runs no function, unless this is a limit of certain functions.

        Raises: RateLimitError, OverloadedError.
        """
        if self._limits is None:
            self._count(call)

    def _count(self, call: Call) -> None:
        try:
            key = self._key(call)
            verdict = self._take(key if len(key) <= _MAX_KEY and key.isascii() else _short(key))
        except StoreUnavailable:
            self._without_store(call)
        else:
            self._report(call.reply, verdict)
            if not verdict.allowed:
                raise self._rejection(call, verdict)

    def _report(self, reply: dict[str, str], verdict: Verdict) -> None:
        _, remaining, reset, _ = verdict
        before = reply.get("ratelimit")  # from the limit before this one
        if before is None:
            reply["ratelimit"] = f"{self._quota}{remaining};t={ceil(reset)}"
            reply["ratelimit-policy"] = self._policy
        else:
            reply["ratelimit"] = f"{before}, {self._quota}{remaining};t={ceil(reset)}"
            reply["ratelimit-policy"] = f"{reply.get('ratelimit-policy', '')}, {self._policy}"

    def _rejection(self, call: Call, verdict: Verdict) -> RateLimitError:
        call.reply["retry-after"] = format_retry_after(verdict.retry_after) or "1"
        return RateLimitError(
            f"too many calls: the limit is {self._text}; try again in {verdict.retry_after:.3g} s",
            retry_after=verdict.retry_after,
        )

    def _without_store(self, call: Call) -> None:
        if not self._open:
            call.reply["retry-after"] = "1"
            raise OverloadedError("the store of the rate limit does not respond; try again later", retry_after=1.0)

    def close(self) -> None:
        """Close the connections to the store that were opened for a URL."""
        self._counter.close()


def _chooser(functions: Iterable[str] | Callable[[Function], bool] | None) -> Callable[[Function], bool] | None:
    if functions is None or callable(functions):
        return functions
    names = _names(functions)
    return lambda function: function.name in names


def _names(functions: Iterable[str]) -> frozenset[str]:
    try:
        names = frozenset([functions] if isinstance(functions, str) else functions)
    except TypeError:
        names = frozenset()
    ok = names and all(isinstance(name, str) for name in names)
    expected = "names of functions, a callable (function) -> bool, or None"
    require(ok, "rate_limit.functions", functions, expected)
    return names


def _short(key: str) -> str:
    """Return the digest of a key that is long or not ASCII, so that the memory for a key is bounded."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
