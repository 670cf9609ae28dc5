"""Limits: how many calls, and how many failed authentications, a client may make in a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .rate_limit import RateLimit

__all__ = [
    "RateLimit",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "RateLimit": "rate_limit",
    },
)
