"""Bundles: several calls of a map in one message, where the transport of their function carries that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol, runtime_checkable

from ...address import Address
from ...calls.call_future import submit_call
from ...context import CallContext
from ...errors import PortalError
from ...function import ResolvedFunction
from ...function.returns import load_result
from ...schema import Schema
from ..function_cache import FunctionCache
from ..stages import WITHOUT_POLICY
from .bundle_size import BundleSize

__all__ = ["Bundles", "CarriesBatches", "Outcomes", "together"]

Params = Mapping[str, Any]
#: Results and errors of the calls of a message, by position. A call that is missing is to be made alone. None if the
#: function takes no batches.
Outcomes = dict[int, Any] | None

_SHARE = 0.1  # of the timeout of a call, for a message with it; the rest is for the call alone, if it comes to that
_MAX_WAIT = 2.0  # seconds for a message


@runtime_checkable
class CarriesBatches(Protocol):
    """A transport that carries calls of one function in one message."""

    def call_batch(
        self, function: ResolvedFunction, params: Sequence[Params], context: CallContext
    ) -> dict[int, Any] | None:
        """Make calls. A call that has no outcome may be made again. Raises: CallCancelled."""


class Bundles:
    """Submits the calls of a map in messages, and finds how many calls a message should have.

    A message is given up early: after a tenth of the timeout of a call, and after two seconds. Its calls are then made
    alone within the rest of their timeout, so that one that hangs takes nothing from the others.

    Args:
        submit: runs a callable in a thread.
        call_together: makes calls: (params, context=) -> Outcomes.
        call_alone: makes one call: (params, timeout=, context=) -> result.
        max_in_flight: calls at a time.
        timeout: seconds for each call; None for no limit.
        clock: seconds, as `time.monotonic`.

    Threads: one at a time.
    """

    def __init__(
        self,
        submit: Callable[..., Future[Any]],
        call_together: Callable[..., Outcomes],
        call_alone: Callable[..., Any],
        max_in_flight: int,
        timeout: float | None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._submit = submit
        self._call_together = call_together
        self._call_alone = call_alone
        self._timeout = timeout
        self._clock = clock
        self._wait = _MAX_WAIT if timeout is None else min(_MAX_WAIT, _SHARE * timeout)
        self._size = BundleSize(max_in_flight)

    @property
    def size(self) -> int:
        """How many calls the next message should have."""
        return self._size.value

    def submit(self, params: Sequence[Params]) -> Future[Outcomes]:
        """Make calls in one message, in a thread. Raises: what `submit` raises."""
        future = submit_call(self._submit, self._make, params)
        self._size.began(len(params))
        return future

    def submit_again(self, params: Params, began: float) -> Future[Any]:
        """Make a call alone, in a thread, that had no outcome in a message.

        Args:
            began: when it was sent first; its timeout counts from then.

        Raises: what `submit` raises.
        """
        left = None if self._timeout is None else max(0.0, self._timeout - (self._clock() - began))
        return submit_call(self._submit, self._call_alone, params, timeout=left)

    def ended(self, calls: int, seconds: float, outcomes: Outcomes) -> None:
        """Note how long a message took, and whether all of its calls have an outcome."""
        if outcomes is None:
            self._size.stop()
        elif len(outcomes) < calls:
            self._size.failed(calls)
        else:
            self._size.ended(calls, seconds)

    def _make(self, params: Sequence[Params], *, context: CallContext) -> Outcomes:
        nested = context.child(timeout=self._wait)
        nested.abortable = True
        return self._call_together(params, context=nested)


def together(functions: FunctionCache, address: Address | str, returns: Any) -> Callable[..., Outcomes]:
    """Return a callable that makes calls of the function at an address in one message.

    Args:
        functions: finds the function.
        returns: a type to load each result into; None for JSON data.
    """
    schema = None if returns is None else Schema.of(returns)

    def call(params: Sequence[Params], *, context: CallContext) -> Outcomes:
        try:
            function = functions.fetch(str(address), context)
        except PortalError:
            return {}  # a call alone has the error
        if not isinstance(function, ResolvedFunction) or not isinstance(function.transport, CarriesBatches):
            return None
        outcomes = function.transport.call_batch(function, params, context)
        if outcomes is None:
            return None
        for one in outcomes.values():
            if isinstance(one, PortalError):
                one.with_context(explain=WITHOUT_POLICY)
        if schema is None:
            return outcomes
        return {number: _loaded(one, returns, function.name, schema) for number, one in outcomes.items()}

    return call


def _loaded(outcome: Any, returns: Any, name: str, schema: Schema) -> Any:
    if isinstance(outcome, PortalError):
        return outcome
    try:
        return load_result(outcome, returns, name, schema)
    except PortalError as error:
        return error
