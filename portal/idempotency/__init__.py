"""One execution for each idempotency key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .middleware import Idempotency

__all__ = [
    "Idempotency",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Idempotency": "middleware",
    },
)
