"""CachedHTTPCalls: calls of cacheable functions through a cache, under the entity tags of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...cache.cache_control import freshness
from ...cache.cached_calls import CachedCalls, Fetched
from ...cache.response_cache import Entry, ResponseCache
from ...context import CallContext
from ...function import ResolvedFunction
from .request import ClientRequest
from .result import ReceivedResponse, decode_result

__all__ = ["CachedHTTPCalls"]


class CachedHTTPCalls(CachedCalls):
    """Make calls through a cache.

    Args:
        cache: keeps the responses.
        exchange: sends a request and returns its response, 200 or 304; raises portal errors.
        scope: what responses depend on beside address and parameters: credential, TLS files, socket.

    Threads: any. Fork: as `CachedCalls`.
    """

    def __init__(
        self,
        cache: ResponseCache,
        exchange: Callable[[ClientRequest], ReceivedResponse],
        scope: Callable[[ClientRequest], str],
    ) -> None:
        super().__init__(cache)
        self._exchange = exchange
        self._scope = scope

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], request: ClientRequest) -> Any:
        """Return the result of a call, cached or new.

        Args:
            params: the parameters, which can be encoded as JSON.
            request: the request of the call, repeatable.

        Raises: portal errors only.
        """

        def fetch(context: CallContext, entry: Entry | None) -> Fetched:
            condition = {} if entry is None or entry.etag is None else {"If-None-Match": entry.etag}
            received = self._exchange(request.with_headers(condition)._replace(context=context))
            seconds, may_keep = freshness(received.headers)
            if received.status == 304 and entry is not None:
                return Fetched(entry.value, max_age=seconds, unchanged=True)
            strict = "must-revalidate" in received.headers.get("cache-control", "").lower()
            value = decode_result(received, request.address)
            return Fetched(value, received.headers.get("etag"), seconds, may_keep, strict)

        return self.call(function, request.address, params, self._scope(request), request.context, fetch)
