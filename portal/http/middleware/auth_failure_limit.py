"""AuthFailureLimit: reject the requests of a client that sent wrong credentials too often."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from time import monotonic

from ..._internal.redis_client import RedisClient
from ...limits.auth_failures import AuthFailures
from ...serving import Request, Response
from .base import HTTPNext

__all__ = ["AuthFailureLimit"]


class AuthFailureLimit:
    """HTTP middleware that limits failed authentications of each client.

    Every rejected credential takes one of the client's `rate`. A client that has used up its rate gets 429 with
    Retry-After until the limiter allows another attempt. So "10/minute" allows ten attempts, then one in six seconds.
    Requests that are handled at the same time are not held back: there may be as many more attempts as there are
    workers. Put it inside RequestLog and CORS, and outside of all other middleware.

    A 401 that is not a guess takes nothing: one for a request without a credential, one for a valid token that has
    expired or is for another audience, and one of a function. HTTP middleware that checks a credential itself raises
    `AuthenticationError(guess=True)`, which is counted.

    A client is its IPv4 address, or the /64 of its IPv6 address. Behind proxies, set `trusted_proxies` of the portal:
    without it all clients of a proxy count as one, and one of them could lock out the others.

    Args:
        rate: "10/minute", "100/hour".
        store: URL or client of Redis or Valkey, shared by all processes that use it; None counts in this process.
            While the store does not respond, nothing is counted.
        namespace: the portals that share the counts in the store; None for the `name=` of the portal. A shared store
            requires one of the two.
        max_entries: clients to count, and clients to block, at most. Beyond it the oldest is removed.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "request"  # the kind of middleware; see `resolve_middleware`
    guards_authentication = True  # see `early_authentication`

    def __init__(
        self,
        rate: str,
        *,
        store: str | RedisClient | None = None,
        namespace: str | None = None,
        max_entries: int = 100_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._failures = AuthFailures(
            rate,
            store=store,
            namespace=namespace,
            max_entries=max_entries,
            clock=clock,
            setting="auth_failure_limit",
        )

    def bind_namespace(self, name: str | None) -> AuthFailureLimit:
        """Return the limit for a portal with this name; see `portal.calls.plugins.NamespacedMiddleware`.

        Raises: ConfigError for a shared store without a name and without `namespace`.
        """
        bound = copy(self)
        bound._failures = self._failures.bind_namespace(name)
        return bound

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        """Pass the request on unless its client is blocked. Raises: RateLimitError."""
        if "late" not in request.notes:
            self._failures.check(request.peer)
        response = call_next(request)
        if request.notes.get("guess"):
            self._failures.record(request.peer)
        return response

    def counters(self) -> dict[str, int]:
        """Return how many clients are in the table of blocked clients, and how many requests were rejected."""
        return {"blocked_clients": self._failures.blocked, "rejected_blocked": self._failures.rejected.value}

    def close(self) -> None:
        """Close the connections to the store that were opened for a URL."""
        self._failures.close()
