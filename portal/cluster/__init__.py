"""Functions on a Dask cluster: `dask://scheduler:8786/NAME/ID`. It needs the extra `dask`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .portal import DaskPortal
    from .resolver import DaskResolver

__all__ = ["DaskPortal", "DaskResolver"]

__getattr__, __dir__ = lazy_exports(__name__, {"DaskPortal": "portal", "DaskResolver": "resolver"})
