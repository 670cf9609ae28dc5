"""What a call of a function in this process costs at least, as one flat piece of code made for that function.

It is for functions whose parameters are scalars, called by keyword, with nothing around the call but its context: there
each step that is a Python call of its own costs as much as the function itself (docs/performance.md).
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
from ..schema.parameters import if_plain

__all__ = ["QuickCall", "ordinary_call", "quick_call"]

QuickCall = Callable[..., Any]

_SOURCE = """
def codec(resolved, args, params):
{when_plain}\
  if not args and running() is None and topology.version == resolved.seen:
   context = new_context(CallContext)
   begin()
   token = enter(context)
   try:
    result = target({arguments})
    if {fits}:
     return result
    return native(encode(result))
   except PortalError as error:
    if (sent := note(error, context)) is not error:
     raise sent from error
    raise
   except BaseException as error:
    if not is_failure(error):
     raise
    raise note(failure(error), context) from error
   finally:
    leave(token)
    end()
 return resolved.call(*args, **params)
"""


def ordinary_call(resolved: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Call it in the way that is right for every function and every state of its portal."""
    return resolved.call(*args, **params)


def quick_call(
    found: Function,
    *,
    begin: Callable[[], object],
    end: Callable[[], object],
    note: Callable[[PortalError, CallContext], PortalError],
    native: Callable[[Any], Any],
) -> QuickCall:
    """Calls `found` with native values: quick_call(resolved, args, params).

    It is `ordinary_call` where parameters are not scalars, and makes one wherever a value is not the commonest of its
    type, a call is running already, or `resolved.seen` says that portals have changed.

    Args:
        begin, end: count a call.
        note: counts a failure and completes its error.
        native: the native value of a result that has been encoded.
    """
    tests, fits = found.parameters.plain_tests, found.output.plain_test
    if tests is None:
        return ordinary_call
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
        "note": note,
        "running": running,
        "target": found.target,
    }
    return generate(source, scope)
