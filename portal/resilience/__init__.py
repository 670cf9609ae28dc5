"""Policy and its stages: the middleware of a client against failures and overload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .breaker import Breaker
    from .bulkhead import Bulkhead
    from .policy import Policy, PolicyState
    from .retry import Retry
    from .retry_budget import RetryBudget

__all__ = [
    "Breaker",
    "Bulkhead",
    "Policy",
    "PolicyState",
    "Retry",
    "RetryBudget",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Breaker": "breaker",
        "Bulkhead": "bulkhead",
        "Policy": "policy",
        "PolicyState": "policy",
        "Retry": "retry",
        "RetryBudget": "retry_budget",
    },
)
