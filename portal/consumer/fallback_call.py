"""FallbackCalls: calls of the address of a Fallback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..calls.middleware import Call, CallNext
from ..context import CallContext
from .function_cache import FunctionCache

__all__ = ["FallbackCalls"]


class FallbackCalls:
    """Call the function at an address once, within the deadline of a call that has failed, without any stage.

    So a fallback has no fallback of its own.

    Args:
        functions: finds the function at an address.
        send: makes the call.

    Threads: any.
    """

    def __init__(self, functions: FunctionCache, send: CallNext) -> None:
        self._functions = functions
        self._send = send

    def __call__(self, address: str, params: Mapping[str, Any], context: CallContext, streaming: bool) -> Any:
        """Return the result of the call, or the items of a stream. Raises: portal errors only."""
        function, _ = self._functions.find(address, address)
        return self._send(Call(function, params, context.child(), function.address, streaming))
