"""CachedCalls: calls of cacheable functions, from a ResponseCache while their responses are fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from .._internal.at_fork import renew_after_fork
from .._internal.executor import shared_executor
from .._internal.log import get_logger
from ..address import Address
from ..context import CallContext
from ..errors import CallTimeout, OverloadedError, PortalError, ProtocolError, TransportError
from ..function import ResolvedFunction
from .response_cache import Entry, Key, ResponseCache, key_of

__all__ = ["CachedCalls", "Fetched"]

_log = get_logger("portal.cache")
_REVALIDATION_SECONDS = 30.0


class Fetched(NamedTuple):
    """The response of a server to a call.

    Attributes:
        value: the result.
        etag: the entity tag of the server with its quotes, or None.
        max_age: seconds for which it is fresh; None uses the default of the cache.
        may_keep: whether the server allows to keep it.
        must_revalidate: whether the server forbids its use while it is stale.
        unchanged: whether the cached response is still valid, so that only its freshness changes.
    """

    value: Any
    etag: str | None = None
    max_age: float | None = None
    may_keep: bool = True
    must_revalidate: bool = False
    unchanged: bool = False


#: Sends a call within a context; it gets the cached response, which may be stale, or None. Raises portal errors.
Fetch = Callable[[CallContext, "Entry | None"], Fetched]


class CachedCalls:
    """Make calls through a cache.

    A stale response is requested again. Equal calls at the same time send one request.

    Args:
        cache: keeps the responses.

    Threads: any. Fork: a child requests again what its parent was requesting.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start with no request under way; called by `__init__`, and in a child process after a fork."""
        self._revalidating: set[Key] = set()

    def call(
        self,
        function: ResolvedFunction,
        address: Address,
        params: Mapping[str, Any],
        scope: str,
        context: CallContext,
        fetch: Fetch,
    ) -> Any:
        """Return the result of a call, cached or new.

        Args:
            params: the parameters; those that are not JSON data are not cached.
            scope: what responses depend on beside address and parameters: the credential, the server.
            fetch: sends the call.

        Raises: portal errors only.
        """
        cache = self._cache
        key = key_of(address, params, scope)
        if key is None:
            return fetch(context, None).value
        entry = cache.lookup(key)
        if entry is not None and cache.is_fresh(entry):
            return entry.value

        def make(context: CallContext = context) -> Any:
            epoch = cache.epoch
            found = fetch(context, entry)
            if found.unchanged:
                cache.refresh(key, found.max_age)
            elif found.may_keep:
                cache.store(
                    key,
                    found.value,
                    found.etag,
                    found.max_age,
                    epoch=epoch,
                    must_revalidate=found.must_revalidate,
                    tags=function.schema.tags,
                )
            return found.value

        name = function.name
        if entry is not None and cache.may_revalidate_later(entry):
            later = CallContext(deadline=monotonic() + _REVALIDATION_SECONDS)
            self._revalidate(key, later, name, lambda: make(later))
            return entry.value
        try:
            return cache.once(key, context, name, make)
        except PortalError as error:
            if entry is None or not _is_unavailable(error) or not cache.may_use_after_error(entry):
                raise
            _log.info("%s failed (%s); a stale response is used", name, error.code)
            return entry.value

    def _revalidate(self, key: Key, context: CallContext, name: str, make: Callable[[], Any]) -> None:
        """Request a stale response again in a thread, unless one does so already or none is free.

        No caller waits for that request, so the log has its error.
        """

        def run() -> None:
            try:
                self._cache.once(key, context, name, make)
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
