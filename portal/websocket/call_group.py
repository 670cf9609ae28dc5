"""Make calls of one function over one connection together, so that one thread waits for all of them.

A thread for each call costs more than a small call: it is woken for the response, and waits for the interpreter's lock.
Each call has a message of its own, so the server may run them at a time, and a slow one delays no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..calls.deadlines import cancelled_error
from ..context import CallContext
from ..errors import (
    CallTimeout,
    Fault,
    OverloadedError,
    PortalError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from .client.exchange import Exchange
from .client.failures import locate
from .client.link import Link

__all__ = ["call_together", "context_to_send"]

_MAX_BYTES = 64 * 1024  # of requests that leave together
_UNKNOWN = 4 * 1024  # bytes that count for a request whose text is not kept

#: A call that fails so is made alone: it then has more time, or another connection, or learns where the function is.
_OF_THE_GROUP = (TransportError, CallTimeout, OverloadedError, RegistryError)


Params = Mapping[str, Any]


def call_together(
    link: Link,
    params: Sequence[Params],
    make: Callable[[Params], Exchange],
    context: CallContext,
    *,
    has_credential: bool,
) -> dict[int, Any]:
    """Make calls, and wait for their ends until the deadline.

    Args:
        params: of each call. The function must be idempotent.
        make: returns the exchange of a call. Raises portal errors for parameters that do not fit.
        context: of all calls.
        has_credential: whether the client has one, for the hint of an error.

    Returns: results and errors by position. A call that is not in it is to be made alone.
    Raises: CallCancelled.
    """
    group = _Group(link, context)
    give_up = group.give_up  # a bound method is another object each time
    context.on_cancel(give_up)
    try:
        group.start(params, make)
        group.wait()
    finally:
        give_up()
        context.forget(give_up)
    if context.cancelled:
        raise cancelled_error(context)
    for number, outcome in group.outcomes.items():
        if isinstance(outcome, PortalError) and number in group.started:
            address = group.started[number].address
            assert address is not None
            locate(outcome, address, context, has_credential=has_credential)
    return group.outcomes


def context_to_send(context: CallContext) -> CallContext:
    """Return the context that the messages of calls tell of: outside of other calls they begin no trace."""
    outer = context.parent
    if outer is None or outer.parent is not None or context.traceparent is not None:
        return context
    return CallContext(deadline=context.deadline, request_id=context.request_id)


class _Group:
    """Calls that are made together.

    Attributes:
        started: the calls that were sent, by position.
        outcomes: results and errors by position.

    Threads: one; any may call `give_up`.
    """

    def __init__(self, link: Link, context: CallContext) -> None:
        self._link = link
        self._context = context
        self.started: dict[int, Exchange] = {}
        self.outcomes: dict[int, Any] = {}

    def start(self, params: Sequence[Params], make: Callable[[Params], Exchange]) -> None:
        """Send the calls. Stop at the deadline, or if no more can be sent."""
        link, context, size = self._link, self._context, 0
        for number, one in enumerate(params):
            if context.cancelled or context.expired or not link.wait_for_room(context.deadline):
                break
            try:
                exchange = self.started[number] = make(one)
                link.start(exchange, flush=False)
            except SerializationError as error:
                del self.started[number]  # a ValidationError, as where the function runs in this process
                self.outcomes[number] = ValidationError(errors=[Fault("", str(error), "json", None)])
                continue
            except PortalError as error:
                if self.started.pop(number, None) is not None:
                    break
                self.outcomes[number] = error.with_traceback(None)  # of the parameters
                continue
            size += len(exchange.text) or _UNKNOWN
            if size >= _MAX_BYTES:
                size = 0
                link.flush()
        link.flush()

    def wait(self) -> None:
        """Wait for the ends of the calls until the deadline, and note their outcomes."""
        for exchange in reversed(self.started.values()):  # mostly the last one to end, so that the thread wakes once
            if not (exchange.finished or self._link.wait(exchange, self._context.deadline)):
                break
        for number, exchange in self.started.items():
            error = exchange.error
            if exchange.finished and not isinstance(error, _OF_THE_GROUP):
                self.outcomes[number] = exchange.result if error is None else error

    def give_up(self) -> None:
        """End the calls that still run."""
        for exchange in list(self.started.values()):
            if not exchange.finished:
                self._link.give_up(exchange, cancelled_error(self._context))
