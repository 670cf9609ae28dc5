"""Counts and durations of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .observe import CallMetrics, CallRecord, Observe

__all__ = [
    "CallMetrics",
    "CallRecord",
    "Observe",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CallMetrics": "observe",
        "CallRecord": "observe",
        "Observe": "observe",
    },
)
