"""Compile the call of a function in this process into one Python function without inner calls.

This is for functions with scalar parameters, called by keyword, with nothing around the call but its context. Each
Python call on the way to such a function costs as much as the function itself (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..context import CallContext, enter, leave, new_context, running
from ..errors import PortalError
from ..function import Function, is_failure
from ..function.failure import function_error
from ..portal import topology
from ..schema.codecs import generate
from ..schema.loading import if_plain

__all__ = ["FastCall", "compile_call", "general_call"]

FastCall = Callable[..., Any]

_SOURCE = """
def codec(resolved, args, params):
{when_plain}\
  if not args and running() is None and topology.version == resolved.seen_version:
   context = new_context(CallContext)
   begin()
   token = enter(context)
   try:
    result = target({arguments})
    if {fits}:
     return result
    return native(encode(result))
   except PortalError as error:
    if error.sendable() is not error:
     raise fail(error, context) from error
    fail(error, context)
    raise
   except BaseException as error:
    if not is_failure(error):
     raise
    raise fail(failure(error), context) from error
   finally:
    leave(token)
    end()
 return resolved.call(*args, **params)
"""


def general_call(resolved: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Call a resolved function in the general way, which is right for every function and every state of its portal."""
    return resolved.call(*args, **params)


def compile_call(
    found: Function,
    *,
    begin: Callable[[], object],
    end: Callable[[], object],
    fail: Callable[[PortalError, CallContext], PortalError],
    native: Callable[[Any], Any],
) -> FastCall:
    """Compile a callable `fast(resolved, args, params)` that calls `found` with native values.

    The compiled code falls back to `general_call` in three cases: a value needs conversion, a call already runs in this
    thread, or portals have changed since `resolved.seen_version`.

    Args:
        found: the function.
        begin: counts the start of a call.
        end: counts its end.
        fail: counts a failure and returns the error to raise.
        native: converts an encoded result to its native value.

    Returns: the compiled callable; `general_call` if a parameter is not a scalar.
    Threads: any.
    """
    tests, fits = found.parameters.plain_tests, found.output.plain_test
    if tests is None:
        return general_call
    names = found.parameters.names
    source = _SOURCE.format(
        when_plain=if_plain(tests, names),
        arguments=", ".join(f"{name}=value{index}" for index, name in enumerate(names)),
        fits="False" if fits is None else fits.format("result"),
    )
    scope = {
        "CallContext": CallContext,
        "PortalError": PortalError,
        "begin": begin,
        "topology": topology,
        "encode": found.encode_result,
        "end": end,
        "enter": enter,
        "failure": function_error,
        "is_failure": is_failure,
        "leave": leave,
        "native": native,
        "new_context": new_context,
        "fail": fail,
        "running": running,
        "target": found.target,
    }
    return generate(source, scope)
