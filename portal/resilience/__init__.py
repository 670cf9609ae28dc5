"""Policy and its stages: the middleware of a client against failures and overload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .adaptive_limit import AdaptiveLimit, identity_of
    from .breaker import Breaker
    from .bulkhead import Bulkhead
    from .chaos import Chaos
    from .fallback import Fallback
    from .hedge import Hedge
    from .policy import Policy, PolicyState
    from .probes import ProbeLeases
    from .retry import Retry
    from .retry_budget import RetryBudget

__all__ = [
    "AdaptiveLimit",
    "Breaker",
    "Bulkhead",
    "Chaos",
    "Fallback",
    "Hedge",
    "Policy",
    "PolicyState",
    "ProbeLeases",
    "Retry",
    "RetryBudget",
    "identity_of",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AdaptiveLimit": "adaptive_limit",
        "Breaker": "breaker",
        "Bulkhead": "bulkhead",
        "Chaos": "chaos",
        "Fallback": "fallback",
        "Hedge": "hedge",
        "Policy": "policy",
        "PolicyState": "policy",
        "ProbeLeases": "probes",
        "Retry": "retry",
        "RetryBudget": "retry_budget",
        "identity_of": "adaptive_limit",
    },
)
