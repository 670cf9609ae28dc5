"""BalancedCall: a call that any instance of a group may take, and what became of its attempts."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from ..calls.middleware import Call
from ..context import CallContext
from ..errors import CallTimeout, ConsumerError, PortalError, RateLimitError
from ..function import Function
from .group import InstanceGroup

__all__ = ["BalancedCall", "concerns_group", "group_error"]

_MAX_ROWS = 32  # attempts that an error lists; the number of attempts is bounded elsewhere


class BalancedCall(Call):
    """A call of a group. Its address is None until an instance is picked.

    Copies of a call, such as those of a hedge, share the lists.

    Attributes:
        instances: the group.
        rows: the outcome of each attempt as JSON data, for ConsumerError.
        used: the addresses that were picked in this round; another round begins when none is left.

    Threads: one at a time; the lists are changed by one step each.
    """

    __slots__ = ("instances", "rows", "used")

    def __init__(
        self,
        function: Function[..., Any],
        params: Mapping[str, Any],
        context: CallContext,
        instances: InstanceGroup,
        streaming: bool = False,
    ) -> None:
        super().__init__(function, params, context, None, streaming)
        self.instances = instances
        self.rows: list[dict[str, Any]] = []
        self.used: list[str] = []

    @property
    def sends(self) -> int:
        """The number of attempts that may have reached an instance."""
        return sum(row["outcome"] == "failed" and row["delivery"] != "not_sent" for row in self.rows)

    def note(self, address: str, error: PortalError, seconds: float, *, skipped: bool) -> None:
        """Note that an attempt failed, or that an instance was skipped without being called."""
        if len(self.rows) < _MAX_ROWS:
            row = {
                "address": address,
                "outcome": "skipped" if skipped else "failed",
                "error": error.code,
                "message": error.message,
                "delivery": error.delivery,
                "seconds": round(seconds, 4),
            }
            self.rows.append(row)


def concerns_group(call: BalancedCall, error: PortalError) -> bool:
    """Return whether a ConsumerError with all attempts is raised for the last error of a call of a group.

    That is so if more than one instance was tried or skipped. The error itself is raised where it says more: the
    deadline is over, the caller cancelled the call, or a function responded with it.
    """
    error.with_context(explain=call.instances.summary())
    is_over = isinstance(error, CallTimeout) and call.context.expired
    return not is_over and error.code in _MERGED and len({row["address"] for row in call.rows}) > 1


def group_error(call: BalancedCall, error: PortalError) -> ConsumerError:
    """Return the error of a call of a group with all attempts, of which `error` is the last one."""
    group = call.instances
    tried = {row["address"] for row in call.rows}
    seen = [*call.rows, *_not_tried(group, tried)]
    deliveries = [row["delivery"] for row in call.rows]
    worst = next((one for one in ("executed", "unknown") if one in deliveries), error.delivery)
    made = ConsumerError(
        f"{len(tried)} of {len(group.candidates)} instances of {group.name} were tried without success; "
        f"the last one said: {error.message}",
        attempts=seen,
        advice=_advice(error, may_have_executed=worst != "not_sent"),
        delivery=worst,
        retryable=error.retryable,
        hint=error.hint,
        context={**error.context, "explain": group.summary()},
        cause=error,
    )
    made.with_context(request_id=call.context.request_id)
    return made


#: Codes of errors that say nothing about the function: only which instance could not take the call.
_MERGED = frozenset(("transport_error", "circuit_open", "overloaded", "rate_limited", "timeout"))


def _not_tried(group: InstanceGroup, tried: set[str]) -> list[dict[str, Any]]:
    now = monotonic()
    return [
        {"address": one.text, "outcome": "not_tried", "reason": group.reason_against(one, now) or "the call had ended"}
        for one in group.candidates[:_MAX_ROWS]
        if one.text not in tried
    ]


def _advice(error: PortalError, *, may_have_executed: bool) -> str:
    if may_have_executed:
        return "an attempt may have run the function: declare it idempotent, or pass an idempotency_key"
    if isinstance(error, RateLimitError):
        return "call less often"
    return "no instance could take the call: see attempts, and Consumer.explain"
