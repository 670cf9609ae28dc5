"""Functions of this process at `local://` addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .portal import LocalPortal

__all__ = [
    "LocalPortal",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "LocalPortal": "portal",
    },
)
