"""Exceptions of user code, and the portal error that is sent for one."""

from __future__ import annotations

import threading

from .data import FunctionError

__all__ = ["function_error", "is_failure"]


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is the outcome of a call; if not, it is meant for the process and passes through.

    SystemExit and KeyboardInterrupt are meant for the process in the main thread. In another thread they would end that
    thread without an outcome for the caller: argparse raises SystemExit for wrong arguments.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def function_error(error: BaseException) -> FunctionError:
    """Return the portal error for an exception of user code that is not a portal error."""
    kind = type(error).__name__
    return FunctionError(f"{kind}: {error}", type=kind, private=True)
