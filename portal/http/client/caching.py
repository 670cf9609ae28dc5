"""CachedCalls: calls of cacheable functions, from a ResponseCache while their responses are fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...cache.cache_control import freshness
from ...cache.response_cache import ResponseCache, key_of
from ...function import ResolvedFunction
from .request import ClientRequest
from .result import ReceivedResponse, decode_result

__all__ = ["CachedCalls"]


class CachedCalls:
    """Make calls through a cache.

    A stale response is requested again under its entity tag. Equal calls at the same time send one request.

    Args:
        cache: keeps the responses.
        exchange: sends a request and returns its response, 200 or 304; raises portal errors.
        scope: what responses depend on beside address and parameters: credential, TLS files, socket.

    Threads: any.
    """

    def __init__(
        self,
        cache: ResponseCache,
        exchange: Callable[[ClientRequest], ReceivedResponse],
        scope: Callable[[ClientRequest], str],
    ) -> None:
        self._cache = cache
        self._exchange = exchange
        self._scope = scope

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], request: ClientRequest) -> Any:
        """Return the result of a call, cached or new.

        Args:
            params: the parameters, which can be encoded as JSON.
            request: the request of the call, repeatable.

        Raises: portal errors only.
        """
        cache, address = self._cache, request.address
        key = key_of(address, params, self._scope(request))
        assert key is not None  # the parameters have been encoded
        entry = cache.lookup(key)
        if entry is not None and cache.is_fresh(entry):
            return entry.value

        def fetch() -> Any:
            epoch = cache.epoch
            condition = {} if entry is None or entry.etag is None else {"If-None-Match": entry.etag}
            received = self._exchange(request.with_headers(condition))
            seconds, may_keep = freshness(received.headers)
            if received.status == 304 and entry is not None:
                cache.refresh(key, seconds)
                return entry.value
            value = decode_result(received, address)
            if may_keep:
                cache.store(key, value, received.headers.get("etag"), seconds, epoch=epoch)
            return value

        return cache.once(key, request.context, function.name, fetch)
