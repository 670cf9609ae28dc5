"""Calls of a group whose attempts end as the test says."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from portal import CallContext, Function, PortalError, TransportError, function
from portal.calls.middleware import Call
from portal.consumer.balanced_call import BalancedCall
from portal.consumer.balancing import Balancing
from portal.consumer.failover import FailOver
from portal.consumer.group import InstanceGroup

from .clocks import Clock
from .instances import group_of

__all__ = ["NOT_SENT", "UNKNOWN", "Calls", "charge", "level", "script"]

NOT_SENT = TransportError("refused", delivery="not_sent")
UNKNOWN = TransportError("reset", delivery="unknown")
Outcome = PortalError | BaseException | str


@function(idempotent=True)
def level(sku: str = "") -> str:
    return sku


@function
def charge(sku: str = "") -> str:
    return sku


def script(**outcomes: Outcome | list[Outcome]) -> Callable[[Call], Any]:
    """Return attempts that end as given for each host; one that is not given returns its host."""

    def attempt(call: Call) -> Any:
        assert call.address is not None
        host = call.address.host
        outcome = outcomes.get(host, host)
        if isinstance(outcome, list):
            outcome = outcome.pop(0) if outcome else host
        if isinstance(outcome, PortalError):
            raise copy(outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return attempt


class Calls:
    """A FailOver over a, b, c, d in this order."""

    def __init__(
        self, of: Function[..., Any] = charge, *, key: str | None = None, streaming: bool = False, **options: Any
    ) -> None:
        self.group: InstanceGroup = group_of(Balancing(picker="pick_first", **options), clock=Clock())
        self.of = of
        self.call = BalancedCall(of, {}, CallContext(idempotency_key=key), self.group, streaming)

    def run(self, attempt: Callable[[Call], Any]) -> Any:
        try:
            return FailOver(attempt, lambda address: self.of)(self.call)
        finally:
            if not self.call.streaming:
                assert self.group.stats().outstanding == 0

    @property
    def tried(self) -> str:
        return "".join(row["address"].partition("://")[2][0] for row in self.call.rows)
