"""The response cache of a client (RFC 9111)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .response_cache import ResponseCache

__all__ = [
    "ResponseCache",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ResponseCache": "response_cache",
    },
)
