"""RateLimit: refuse the calls of those who call too often, and tell all others what they have left."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from math import ceil
from time import monotonic
from typing import Any, Literal

from .._internal.redis_client import StoreClient, StoreUnavailable
from ..calls.middleware import Call, CallNext
from ..errors import ConfigError, OverloadedError, RateLimitError
from ..function import Function
from ..http11.forwarded import client_network
from .algorithms import Rate, Verdict, rate_store

__all__ = ["RateLimit"]

Per = Literal["client", "identity", "function", "global"]
_MAX_KEY = 128
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _client(call: Call) -> str:
    return client_network(call.peer)


def _identity(call: Call) -> str:
    identity = call.context.identity
    return f"identity:{identity.name}" if identity is not None else f"client:{_client(call)}"


_KEYS: dict[str, Callable[[Call], str]] = {
    "client": _client,
    "identity": _identity,
    "function": lambda call: f"{call.group}/{call.function.name}" if call.group else call.function.name,
    "global": lambda call: "",
}


class RateLimit:
    """Call middleware: so many calls in so long a time, for each client, identity or function, or for all together.

    A call beyond that is refused with a RateLimitError; nothing after this middleware runs. Every reply carries
    `ratelimit` and `ratelimit-policy` (draft-ietf-httpapi-ratelimit-headers: quota `q` in `w` seconds, `r` calls left
    at once, all of the quota back in `t` seconds), a refusal `retry-after` as well. Several limits compose: a call has
    to pass each, in their order, and counts with those it passed.

    Args:
        rate: "100/minute", "5/second", "20/30s".
        burst: calls that a rested caller may make at once, token bucket only; as many as the rate has when None.
        per: whose calls are counted together: "client" (network address; an IPv6 client is its /64), "identity" (the
            address for a call without one), "function", "global", or a callable of the call that gives text.
        algorithm: "token_bucket", which gives calls back evenly, or "sliding_window", which lets through no more than
            the rate in a caller's first window; see `portal.limits.algorithms`.
        functions: the names of the functions that are limited, or a predicate of a Function; all when None.
        store: None counts in this process; a Redis or Valkey URL or client is shared by all who use it with the same
            settings and name.
        on_lost_store: "open" lets calls pass while the shared store does not answer, "closed" raises OverloadedError.
        key_prefix: of what is kept in the store.
        name: of this limit in the headers and in the store; limits that compose want a name each.
        max_keys: counted at once in this process; of more, those used least recently start anew.
        clock: seconds, as `time.monotonic`; a shared store has its own.

    Raises: ConfigError for a wrong setting. Threads: any. `close` ends the connections made for a URL.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        rate: str,
        *,
        burst: int | None = None,
        per: Per | Callable[[Call], str] = "client",
        algorithm: Literal["token_bucket", "sliding_window"] = "token_bucket",
        functions: Iterable[str] | Callable[[Function], bool] | None = None,
        store: Any = None,
        on_lost_store: Literal["open", "closed"] = "open",
        key_prefix: str = "portal:limit",
        name: str = "default",
        max_keys: int = 100_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        parsed = Rate.parse(rate)
        _check("algorithm", algorithm, algorithm in ("token_bucket", "sliding_window"), "token_bucket, sliding_window")
        bucket = algorithm == "token_bucket"
        _check("burst", burst, burst is None or (bucket and _whole(burst)), "a whole number, for a token bucket")
        _check(
            "per", per, callable(per) or (isinstance(per, str) and per in _KEYS), f"{', '.join(_KEYS)} or a callable"
        )
        _check("on_lost_store", on_lost_store, on_lost_store in ("open", "closed"), "open, closed")
        _check("key_prefix", key_prefix, isinstance(key_prefix, str) and key_prefix != "", "text")
        _check("name", name, _is_name(name), "1 to 64 letters, digits, '-', '_' and '.'")
        _check("max_keys", max_keys, _whole(max_keys), "a whole number above 0")
        self._key: Callable[[Call], str] = _KEYS[per] if isinstance(per, str) else per
        self._limits = _chooser(functions)
        #: The names of functions that it was given; a portal logs those that it has not published.
        self.named = frozenset() if functions is None or callable(functions) else _names(functions)
        self._open = on_lost_store == "open"
        self._quota = f'"{name}";r='
        most = parsed.calls if burst is None else burst
        self._words = rate if name == "default" else f'{rate} ("{name}")'
        self._policy = f'"{name}";q={parsed.calls};w={parsed.seconds}'
        self._link = None if store is None else StoreClient(store, path="rate_limit.store", clock=clock)
        kind = per if isinstance(per, str) else "own"
        prefix = f"{key_prefix}:{name}:{kind}:{parsed.calls}/{parsed.seconds}"
        self._take = rate_store(parsed, most if bucket else None, self._link, prefix, max_keys, clock).take

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Count the call and pass it on. Raises: RateLimitError, OverloadedError."""
        if self._limits is None or self._limits(call.function):
            try:
                key = self._key(call)
                verdict = self._take(key if len(key) <= _MAX_KEY and key.isascii() else _short(key))
            except StoreUnavailable:
                self._without_store(call)
            else:
                self._tell(call.reply, verdict)
                if not verdict.allowed:
                    raise self._refusal(call, verdict)
        return call_next(call)

    def _tell(self, reply: dict[str, str], verdict: Verdict) -> None:
        _, remaining, reset, _ = verdict
        before = reply.get("ratelimit")  # of the limit before this one
        if before is None:
            reply["ratelimit"] = f"{self._quota}{remaining};t={ceil(reset)}"
            reply["ratelimit-policy"] = self._policy
        else:
            reply["ratelimit"] = f"{before}, {self._quota}{remaining};t={ceil(reset)}"
            reply["ratelimit-policy"] = f"{reply.get('ratelimit-policy', '')}, {self._policy}"

    def _refusal(self, call: Call, verdict: Verdict) -> RateLimitError:
        call.reply["retry-after"] = str(max(1, ceil(verdict.retry_after)))
        return RateLimitError(
            f"too many calls: the limit of {self._words} is used up; try again in {verdict.retry_after:.3g} s",
            retry_after=verdict.retry_after,
        )

    def _without_store(self, call: Call) -> None:
        if not self._open:
            call.reply["retry-after"] = "1"
            raise OverloadedError("calls cannot be counted now: the store of the rate limit is gone", retry_after=1.0)

    def close(self) -> None:
        """Close the connections to the store, if they were made here."""
        if self._link is not None:
            self._link.close()


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
    right = bool(names) and all(isinstance(name, str) for name in names)
    _check("functions", functions, right, "names of functions, a predicate of a Function, or None")
    return names


def _short(key: str) -> str:
    """The digest of a key that is long or could not be sent: memory for a caller is bounded."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _whole(value: object) -> bool:
    return type(value) is int and 0 < value <= 1_000_000_000


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _check(setting: str, value: object, right: bool, allowed: str) -> None:
    if not right:
        path = f"rate_limit.{setting}"
        raise ConfigError(f"{path} is {value!r:.80}; expected: {allowed}", path=path, expected=allowed)
