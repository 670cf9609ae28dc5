"""The response cache of a client (RFC 9111), and invalidations that several processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .invalidations import Invalidation, SharedInvalidations
    from .response_cache import ResponseCache

__all__ = [
    "Invalidation",
    "ResponseCache",
    "SharedInvalidations",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Invalidation": "invalidations",
        "ResponseCache": "response_cache",
        "SharedInvalidations": "invalidations",
    },
)
