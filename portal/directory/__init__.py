"""Directories: the instances of a named function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .base import Directory, Watch
    from .instance import Instance
    from .polled import PolledDirectory
    from .registration import Registration
    from .urls import open_directory

__all__ = ["Directory", "Instance", "PolledDirectory", "Registration", "Watch", "open_directory"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Directory": "base",
        "Instance": "instance",
        "PolledDirectory": "polled",
        "Registration": "registration",
        "Watch": "base",
        "open_directory": "urls",
    },
)
