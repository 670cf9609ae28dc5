"""AuthFailureLimit: a client that sends wrong credentials repeatedly must wait (NIST SP 800-63B, section 5.2.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..._internal.at_fork import new_lock
from ..._internal.redis_client import StoreClient, StoreUnavailable
from ...errors import ConfigError, RateLimitError
from ...http11.forwarded import client_network
from ...limits.algorithms import Rate, rate_store
from ...serving import Request, Response
from .base import HTTPNext

__all__ = ["AuthFailureLimit"]

_log = logging.getLogger("portal.auth")


class AuthFailureLimit:
    """HTTP middleware that keeps a client waiting who was answered 401 too often.

    Each answer 401, one to a request without a credential too, takes one of the client's `rate`. Once that is used up,
    whatever the client sends is answered 429 with Retry-After, unread, until one has come back; so "10/minute" lets ten
    guesses through and then one in six seconds. Requests that are answered at the same moment are let through together:
    there may be as many guesses more as there are workers. Put it inside RequestLog and CORS and outside of the rest.

    A client is its network address (an IPv6 client is its /64), behind proxies only with the portal's
    `trusted_proxies`: without it all clients of a proxy are one, and one of them could lock the others out.

    Args:
        rate: "10/minute", "100/hour".
        store: None counts in this process; a Redis or Valkey URL or client is shared by all who use it. One that is
            lost counts nothing.
        max_keys: clients that are known at once.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError. Threads: any. `close` ends the connections made for a URL.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self, rate: str, *, store: Any = None, max_keys: int = 100_000, clock: Callable[[], float] = monotonic
    ) -> None:
        parsed = Rate.parse(rate, path="guess_limit.rate")
        if type(max_keys) is not int or max_keys < 1:
            path, allowed = "guess_limit.max_keys", "a whole number above 0"
            raise ConfigError(f"{path} is {max_keys!r}; expected: {allowed}", path=path, expected=allowed)
        self._link = None if store is None else StoreClient(store, path="guess_limit.store", clock=clock)
        prefix = f"portal:guesses:{parsed.calls}/{parsed.seconds}"
        self._take = rate_store(parsed, parsed.calls, self._link, prefix, max_keys, clock).take
        self._pause = parsed.seconds / parsed.calls
        self._max = max_keys
        self._clock = clock
        self._lock = new_lock()  # guards what follows against two that write; readers take none
        self._waiting: dict[str, float] = {}  # until when, by client

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        if self._waiting and "late" not in request.notes:
            self._let_wait(client_network(request.peer))
        response = call_next(request)
        if response.status == 401:
            self._count(client_network(request.peer))
        return response

    def _let_wait(self, client: str) -> None:
        left = self._waiting.get(client, 0.0) - self._clock()
        if left > 0:
            raise RateLimitError("too many wrong credentials came from here; try again later", retry_after=left)

    def _count(self, client: str) -> None:
        try:
            verdict = self._take(client)
        except StoreUnavailable:
            return
        if verdict.remaining:
            return
        _log.warning("wrong credentials came from %s too often: it has to wait", client)
        now = self._clock()
        with self._lock:
            self._waiting.pop(client, None)
            if len(self._waiting) >= self._max:
                self._drop(now)
            self._waiting[client] = now + (verdict.retry_after or self._pause)

    def _drop(self, now: float) -> None:
        """Forget those who have waited long enough, else whoever waits longest."""
        waiting = {client: until for client, until in self._waiting.items() if until > now}
        if len(waiting) >= self._max:
            del waiting[next(iter(waiting))]
        self._waiting = waiting

    def close(self) -> None:
        """Close the connections to the store, if they were made here."""
        if self._link is not None:
            self._link.close()
