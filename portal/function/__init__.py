"""Function: a callable with a name and a schema. `@function` makes one from a Python callable.

    add(a=1, b=2)                     native values; raises what the callable raises
    add.invoke(params, context)       JSON data; raises portal errors only. Portals call this.
    add.iterate(params, context)      the same for a stream

A `ResolvedFunction` has the same methods and sends each call to an address.
"""

from __future__ import annotations

from .callable import Function
from .decorator import function
from .describe import OutputCheck
from .failure import is_failure
from .resolved import CallRunner, CallTransport, ResolvedFunction

__all__ = ["CallRunner", "CallTransport", "Function", "OutputCheck", "ResolvedFunction", "function", "is_failure"]
