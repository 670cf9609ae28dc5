"""Fallback: what a call returns when it has failed in spite of all attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, Protocol

from .._internal.closing import ClosingIterator
from .._internal.counter import Counter
from .._internal.log import get_logger
from .._internal.settings import callback, require
from ..address import Address
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import ConfigError, PortalError
from ..errors.delivery import RetryAfterError
from ..schema.jsondata import copy_json, is_json
from .breaker import counts_as_failure

__all__ = ["CallAddress", "Fallback", "is_unavailable"]

_log = get_logger("portal.calls")
_UNSET: Any = object()


class CallAddress(Protocol):
    """Makes the call of a fallback address, without a fallback of its own."""

    def __call__(self, address: str, params: Mapping[str, Any], context: CallContext, streaming: bool) -> Any:
        """Return the result of a call, or the items of a stream. Raises portal errors."""


def is_unavailable(error: PortalError) -> bool:
    """Return whether an error shows that a service cannot respond now, rather than that it has rejected the call."""
    return isinstance(error, RetryAfterError) or counts_as_failure(error) or error.code == "consumer_error"


class Fallback:
    """Middleware of the client: returns something else when a service cannot respond.

        Fallback([])                                        # a value
        Fallback(function=lambda call, error: cached_rates)      # what a function returns
        Fallback(address="local://rates")                   # what another function returns, for the same parameters

    Give one of the three. A stream falls back only before its first item; the value then has its items.

    Args:
        value: JSON data. Each caller gets a copy.
        function: callable (call, error) -> JSON data. Its exceptions reach the caller.
        address: of a function that is called with the same parameters. If that fails too, the first error is raised.
        on: callable (error) -> bool; for which errors. By default those that show that the service cannot respond:
            unreachable, too slow, overloaded, limited, an open circuit.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        value: Any = _UNSET,
        *,
        function: Callable[[Call, PortalError], Any] | None = None,
        address: Address | str | None = None,
        on: Callable[[PortalError], bool] = is_unavailable,
    ) -> None:
        given = (value is not _UNSET) + (function is not None) + (address is not None)
        if given != 1:
            expected = "one of value, function and address"
            raise ConfigError(f"fallback must be {expected}, got {given} of them", path="fallback", expected=expected)
        require(value is _UNSET or is_json(value), "fallback.value", value, "JSON data")
        self._value = value
        self._function = callback("fallback.function", function, optional=True)
        self._address = None if address is None else str(Address.of(address))
        self._on = callback("fallback.on", on)
        self._caller: CallAddress | None = None
        self._used = Counter()

    def for_consumer(self) -> Fallback:
        """Return a fallback with the same settings and a counter of its own."""
        made = copy(self)
        made._used = Counter()
        return made

    def with_caller(self, caller: CallAddress | None) -> Fallback:
        """Return this fallback with what calls its address."""
        made = copy(self)
        made._caller = caller
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call, or return what stands for its result."""
        try:
            result = call_next(call)
        except PortalError as error:
            if not self.replaces(call, error):
                raise
            return self.replace(call, error)
        return _FallbackStream(self, call, iter(result)) if call.streaming else result

    def replaces(self, call: Call, error: PortalError) -> bool:
        """Return whether something else is returned for a call that has failed."""
        if call.context.cancelled or not self._on(error):
            return False
        return self._address is None or self._caller is not None

    def replace(self, call: Call, error: PortalError) -> Any:
        """Return what stands for the result of a call. Raises: `error` if the address of the fallback fails, too."""
        self._used.add()
        _log.info("%s failed (%s); its fallback is used", call.function.name, error.code)
        if self._function is not None:
            return self._function(call, error)
        if self._address is None:
            return copy_json(self._value)
        assert self._caller is not None
        try:
            return self._caller(self._address, call.params, call.context, call.streaming)
        except PortalError as failure:
            error.context["fallback"] = f"{self._address}: {failure.code}"
            raise error from failure
        finally:
            del error  # else the exception and this frame refer to each other

    def stats(self) -> dict[str, int]:
        """Return how often the fallback was used."""
        return {"used": self._used.value}


class _FallbackStream(ClosingIterator):
    """The items of a stream, or those of its fallback if the stream fails before its first item.

    Threads: one at a time.
    """

    __slots__ = ("_at_start", "_call", "_fallback")

    def __init__(self, fallback: Fallback, call: Call, items: Iterator[Any]) -> None:
        super().__init__(items)
        self._fallback = fallback
        self._call = call
        self._at_start = True

    def __next__(self) -> Any:
        at_start, self._at_start = self._at_start, False
        try:
            return super().__next__()
        except PortalError as error:
            if not at_start or not self._fallback.replaces(self._call, error):
                raise
            self._items = iter(self._fallback.replace(self._call, error))
        return super().__next__()
