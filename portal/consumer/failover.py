"""FailOver: send a call to an instance of its group, and to another one if that is safe."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from .._internal.closing import ClosingIterator
from ..calls.middleware import Call, CallNext
from ..errors import (
    CallTimeout,
    CircuitOpenError,
    OverloadedError,
    PortalError,
    RegistryError,
    TransportError,
)
from ..function import Function
from .balanced_call import BalancedCall
from .group import Lease

__all__ = ["FailOver", "cost_of", "may_send_again"]

FindFunction = Callable[[str], Function[..., Any]]


def may_send_again(error: PortalError, call: Call) -> bool:
    """Return whether another attempt cannot run the function twice where that is not allowed."""
    if not error.may_have_executed or call.function.schema.idempotent:
        return True
    return not error.executed and call.context.idempotency_key is not None


def cost_of(error: PortalError, call: Call) -> int | None:
    """Return what another attempt costs: 0 if no instance did any work, 1 token of the budget, None if there is none.

    Source: gRFC A6, transparent retries and retry throttling.
    """
    if call.context.cancelled or call.context.expired or not may_send_again(error, call):
        return None
    if isinstance(error, TransportError | CircuitOpenError):
        return 1 if error.may_have_executed or error.received else 0
    if isinstance(error, RegistryError):
        return 0 if error.kind == "not_found" and not error.may_have_executed else None
    if isinstance(error, OverloadedError):
        return 1 if error.retryable else None
    return 1 if isinstance(error, CallTimeout) else None


class FailOver:
    """The stage that picks an instance for each attempt.

    An attempt that did not reach an instance costs nothing. Any other one costs a token of the group's budget, and
    there are at most `max_sends` of them. What may have run is sent again only if the function is idempotent, or the
    call has an idempotency key.

    Args:
        attempt: the stages of one attempt, down to the transport.
        find: returns the function at an address, given as text.

    Threads: any.
    """

    def __init__(self, attempt: CallNext, find: FindFunction) -> None:
        self.attempt = attempt
        self._find = find

    def __call__(self, call: Call) -> Any:
        """Make a BalancedCall. Raises the error of the last attempt."""
        balanced = cast(BalancedCall, call)
        lease = self.begin(balanced)
        if call.streaming:
            return _BalancedStream(self, balanced, lease)
        result, lease = self.run(balanced, lease, self.attempt)
        lease.done()
        balanced.instances.tokens.succeed()
        return result

    def begin(self, call: BalancedCall) -> Lease:
        """Return a lease for the first attempt of a round. Raises: RegistryError if the group has no instance."""
        group = call.instances
        lease = self._lease(call)
        if lease is None:
            call.used.clear()
            lease = self._lease(call)
        if lease is None:
            message = f"there is no instance of {group.name}"
            raise RegistryError(message, name=group.name, context={"request_id": call.context.request_id})
        return lease

    def _lease(self, call: BalancedCall) -> Lease | None:
        lease = call.instances.lease(call, call.used)
        if lease is not None:
            call.used.append(lease.candidate.text)
        return lease

    def run(self, call: BalancedCall, lease: Lease, attempt: Callable[[Call], Any]) -> tuple[Any, Lease]:
        """Make attempts until one succeeds; return its result, and its lease, which is not done yet."""
        may_have_executed = False
        while True:
            started = monotonic()
            try:
                return self._make(call, lease, attempt), lease
            except PortalError as error:
                lease.done(error)
                following = self._next(call, lease, error, monotonic() - started)
                if following is None:
                    if isinstance(error, TransportError):
                        error.merge_previous_attempt(may_have_executed=may_have_executed)
                    raise
                may_have_executed |= error.may_have_executed
                lease = following
            except BaseException as error:
                lease.done(error)
                raise

    def _make(self, call: BalancedCall, lease: Lease, attempt: Callable[[Call], Any]) -> Any:
        candidate = lease.candidate
        call.address = candidate.address
        function = call.function = self._find(candidate.text)
        group = call.instances
        context = call.context
        context.fail_fast = has_others = len(group.candidates) > 1
        limit = group.balancing.attempt_timeout
        if limit is None or call.streaming or not has_others:
            return attempt(call)
        if not (function.schema.idempotent or context.idempotency_key is not None):
            return attempt(call)
        call.context = context.child(timeout=limit)
        call.context.idempotency_key = context.idempotency_key
        call.context.fail_fast = True
        try:
            return attempt(call)
        finally:
            call.context = context

    def _next(self, call: BalancedCall, lease: Lease, error: PortalError, seconds: float) -> Lease | None:
        """Return a lease of another instance, or None if there must be no other attempt."""
        group, text = call.instances, lease.candidate.text
        cost = cost_of(error, call)
        call.note(text, error, seconds, skipped=isinstance(error, CircuitOpenError) and not error.received)
        if cost is None:
            return None
        if cost:
            group.tokens.fail()
            if call.sends >= group.balancing.max_sends:
                return None
            if not group.tokens.allow_retry():
                error.context["retry_budget"] = "spent"
                return None
        return self._lease(call)


_END = object()


class _BalancedStream(ClosingIterator):
    """The items of a streaming call. Until its first item the call may go to another instance.

    The call counts as in progress at its instance until the stream ends or is closed.

    Threads: one at a time.
    """

    def __init__(self, stage: FailOver, call: BalancedCall, lease: Lease) -> None:
        self._stage = stage
        self._call = call
        self._at_start = True
        # This checks the parameters; other failures come with the first item.
        items, self._lease = stage.run(call, lease, stage.attempt)
        super().__init__(iter(items))

    def __next__(self) -> Any:
        if self._at_start:
            self._at_start = False
            item, self._lease = self._stage.run(self._call, self._lease, self._first)
        else:
            try:
                item = next(self._items, _END) if self._items is not None else _END
            except BaseException as error:
                self._lease.done(error)
                raise
        if item is _END:
            self._lease.done()
            raise StopIteration
        return item

    def _first(self, call: Call) -> Any:
        items, self._items = self._items, None
        if items is None:  # another instance
            items = iter(self._stage.attempt(call))
        item = next(items, _END)
        self._items = items
        return item

    def close(self) -> None:
        """End the call and close the generator behind it."""
        self._at_start = False
        try:
            self._lease.done(GeneratorExit())
        finally:
            super().close()
