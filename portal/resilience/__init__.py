"""Retries and circuit breakers: the middleware of a client against failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .breaker import Breaker
    from .retry import Retry, RetryBudget

__all__ = [
    "Breaker",
    "Retry",
    "RetryBudget",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Breaker": "breaker",
        "Retry": "retry",
        "RetryBudget": "retry",
    },
)
