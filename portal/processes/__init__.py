"""Other processes and interpreters of this machine, in which functions run: `@function(executor="processes")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .interpreters import InterpreterPool
    from .pool import ProcessPool

__all__ = ["InterpreterPool", "ProcessPool"]

__getattr__, __dir__ = lazy_exports(__name__, {"InterpreterPool": "interpreters", "ProcessPool": "pool"})
