"""JavaScript functions at `js://` addresses: engines, sandboxes, and the pools in which untrusted code runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .config import FunctionConfig
    from .engine import Capabilities, Engine, EngineError
    from .fuel import FuelQuota
    from .function import JSFunction
    from .host import Grant, HostAPI, Scratch
    from .limits import Limits
    from .parsing.analysis import Analysis
    from .pool.runner import PoolSettings
    from .portal import JavaScriptPortal
    from .program import Program
    from .sandbox import Sandbox
    from .service import JSService

__all__ = [
    "Analysis",
    "Capabilities",
    "Engine",
    "EngineError",
    "FuelQuota",
    "FunctionConfig",
    "Grant",
    "HostAPI",
    "JSFunction",
    "JSService",
    "JavaScriptPortal",
    "Limits",
    "PoolSettings",
    "Program",
    "Sandbox",
    "Scratch",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Analysis": "parsing.analysis",
        "Capabilities": "engine",
        "Engine": "engine",
        "EngineError": "engine",
        "FuelQuota": "fuel",
        "FunctionConfig": "config",
        "Grant": "host",
        "HostAPI": "host",
        "JSFunction": "function",
        "JSService": "service",
        "JavaScriptPortal": "portal",
        "Limits": "limits",
        "PoolSettings": "pool.runner",
        "Program": "program",
        "Sandbox": "sandbox",
        "Scratch": "host",
    },
)
