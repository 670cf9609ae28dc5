"""The far side of a function that runs in another process: find it, run it, and make its errors portable.

This module is loaded in worker processes, in interpreters that load no schema library, and by the workers of a cluster.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import Any, NamedTuple

from ..context import CallContext, enter, leave
from ..errors import PortalError
from .failure import function_error, limit_exposure

__all__ = ["Reference", "context_of", "context_to_dict", "is_remote", "portable_error", "run_call"]

_SENT = (int, float, str, bool, bytes, type(None))
#: Whether a function runs here on behalf of another process. Such a function calls itself without a further process.
is_remote: ContextVar[bool] = ContextVar("portal_remote_call", default=False)


class Reference(NamedTuple):
    """The name of a function of a module, by which another process finds it."""

    module: str
    name: str

    @staticmethod
    def of(target: Any) -> Reference | None:
        """Return the reference of a function of a module; None for any other callable."""
        module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
        return Reference(module, name) if isinstance(module, str) and name.isidentifier() else None

    def find(self) -> Callable[..., Any]:
        """Import the callable. Raises: what the import raises; AttributeError if it is not there."""
        found = self.published()
        target: Callable[..., Any] = getattr(found, "__wrapped__", found) if hasattr(found, "schema") else found
        return target

    def published(self) -> Any:
        """Import what has the name: the callable, or the Function made of it. Raises: as `find`."""
        found: Any = sys.modules["__main__"] if self.module == "__main__" else importlib.import_module(self.module)
        return getattr(found, self.name)


def context_to_dict(context: CallContext) -> dict[str, Any]:
    """Return what travels with a call to another process. The deadline becomes the seconds that are left."""
    return {
        "request_id": context.request_id,
        "remaining": context.remaining(),
        "identity": context.identity,
        "traceparent": context.traceparent,
        "tracestate": context.tracestate,
        "baggage": dict(context.baggage),
        "metadata": {name: value for name, value in context.metadata.items() if isinstance(value, _SENT)},
        "idempotency_key": context.idempotency_key,
    }


def context_of(facts: Mapping[str, Any]) -> CallContext:
    """Return the context that `context_to_dict` wrote."""
    given = dict(facts)
    remaining = given.pop("remaining")
    return CallContext(deadline=None if remaining is None else monotonic() + remaining, **given)


def run_call(
    target: Reference | Callable[..., Any], native: dict[str, Any], facts: Mapping[str, Any], inject: str | None
) -> tuple[str, Any]:
    """Run one call.

    Args:
        target: the function.
        native: its arguments.
        facts: made by `context_to_dict`.
        inject: the parameter that gets the context, or None.

    Returns: ("ok", result); ("error", exception) for what the function raised; ("late", None) if the deadline had
        passed, and ("absent", text) if the function was not found. It did not run after these two.
    """
    context = context_of(facts)
    if context.expired:
        return "late", None
    try:
        function = target.find() if isinstance(target, Reference) else target
    except Exception as error:  # the import of user code may raise anything
        return "absent", f"{type(error).__name__}: {error}"
    if inject is not None:
        native = {**native, inject: context}
    tokens = enter(context), is_remote.set(True)
    try:
        result = "ok", function(**native)
        pickle.dumps(result)
        return result
    except BaseException as error:
        return "error", portable_error(error)
    finally:
        leave(tokens[0])
        is_remote.reset(tokens[1])


def portable_error(error: BaseException) -> Exception:
    """Return an exception that can be pickled, with the traceback of this process as a note, and without causes."""
    if isinstance(error, PortalError):
        limit_exposure(error)  # the traceback, which tells where it came from, stays here
        error = error.sendable()
    note = "in the process that ran it:\n" + "".join(traceback.format_exception(error))
    try:
        if not isinstance(error, Exception):  # SystemExit is meant for the process that ran it, not for the caller's
            raise TypeError
        error.add_note(note)
        # tblib, once installed, pickles these too. They stay here, and not all of them can be pickled.
        error.__cause__ = error.__context__ = None
        pickle.loads(pickle.dumps(error.with_traceback(None)))
        return error
    except Exception:  # the pickling of a foreign exception may raise anything
        made = function_error(error)
        made.add_note(note)
        return made
