"""CachedCalls: calls of cacheable functions, from a ResponseCache while their responses are fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from ..._internal.at_fork import renew_after_fork
from ..._internal.executor import shared_executor
from ..._internal.log import get_logger
from ...cache.cache_control import freshness
from ...cache.response_cache import Key, ResponseCache, key_of
from ...context import CallContext
from ...errors import CallTimeout, OverloadedError, PortalError, ProtocolError, TransportError
from ...function import ResolvedFunction
from .request import ClientRequest
from .result import ReceivedResponse, decode_result

__all__ = ["CachedCalls"]

_log = get_logger("portal.http.client")
_REVALIDATION_SECONDS = 30.0


class CachedCalls:
    """Make calls through a cache.

    A stale response is requested again under its entity tag. Equal calls at the same time send one request.

    Args:
        cache: keeps the responses.
        exchange: sends a request and returns its response, 200 or 304; raises portal errors.
        scope: what responses depend on beside address and parameters: credential, TLS files, socket.

    Threads: any. Fork: a child requests again what its parent was requesting.
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
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start with no request under way; called by `__init__`, and in a child process after a fork."""
        self._revalidating: set[Key] = set()

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

        def fetch(request: ClientRequest = request) -> Any:
            epoch = cache.epoch
            condition = {} if entry is None or entry.etag is None else {"If-None-Match": entry.etag}
            received = self._exchange(request.with_headers(condition))
            seconds, may_keep = freshness(received.headers)
            if received.status == 304 and entry is not None:
                cache.refresh(key, seconds)
                return entry.value
            value = decode_result(received, address)
            if may_keep:
                strict = "must-revalidate" in received.headers.get("cache-control", "").lower()
                cache.store(key, value, received.headers.get("etag"), seconds, epoch=epoch, must_revalidate=strict)
            return value

        name = function.name
        if entry is not None and cache.may_revalidate_later(entry):
            context = CallContext(deadline=monotonic() + _REVALIDATION_SECONDS)
            self._revalidate(key, context, name, lambda: fetch(request._replace(context=context)))
            return entry.value
        try:
            return cache.once(key, request.context, name, fetch)
        except PortalError as error:
            if entry is None or not _is_unavailable(error) or not cache.may_use_after_error(entry):
                raise
            _log.info("%s failed (%s); a stale response is used", name, error.code)
            return entry.value

    def _revalidate(self, key: Key, context: CallContext, name: str, fetch: Callable[[], Any]) -> None:
        """Request a stale response again in a thread, unless one does so already or none is free.

        No caller waits for that request, so the log has its error.
        """

        def run() -> None:
            try:
                self._cache.once(key, context, name, fetch)
            except PortalError as error:
                _log.info("%s could not be revalidated: %s", name, error)
            except BaseException:
                _log.exception("%s could not be revalidated", name)
            finally:
                self._revalidating.discard(key)

        if key in self._revalidating:
            return
        self._revalidating.add(key)
        try:
            shared_executor().submit(run)
        except BaseException as error:
            self._revalidating.discard(key)
            if not isinstance(error, Exception):
                raise
            _log.info("%s is not revalidated: %s", name, error)


def _is_unavailable(error: PortalError) -> bool:
    """Return whether an error shows that the server cannot respond now."""
    if isinstance(error, ProtocolError):
        return error.status >= 500
    return isinstance(error, TransportError | CallTimeout | OverloadedError)
