"""Exceptions of user code, and the portal error that is sent for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from types import FrameType
from typing import Any

from .data import FunctionError

__all__ = ["function_error", "is_failure", "is_raised_by_signal", "text_of"]


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is the outcome of a call; if not, it is meant for the process and passes through.

    SystemExit and KeyboardInterrupt are meant for the process in the main thread. In another thread they would end that
    thread without an outcome for the caller: argparse raises SystemExit for wrong arguments.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def function_error(error: BaseException) -> FunctionError:
    """Return the portal error for an exception of user code that is not a portal error."""
    kind = type(error).__name__
    return FunctionError(f"{kind}: {text_of(error)}", type=kind, private=True)


def text_of(error: BaseException) -> str:
    """Return what an exception says; a note in its place if its `__str__` raises."""
    try:
        return str(error)
    except Exception:
        return "<its text cannot be read>"


def is_raised_by_signal(error: BaseException) -> bool:
    """Return whether the handler of a signal raised an exception, and not the code that it interrupted.

    For example a soft time limit: it says nothing of the data that is being validated. A handler gets the number of the
    signal and the frame that it interrupts, and only the main thread runs handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    # Not the frame that has caught it. Up to CPython 3.12 a frame keeps its `f_locals`, and so would keep the error.
    trace = None if error.__traceback__ is None else error.__traceback__.tb_next
    while trace is not None:
        frame = trace.tb_frame
        caller = frame.f_back
        if caller is not None:
            for number, interrupted in pairwise(_arguments(frame)):
                if interrupted is caller and isinstance(number, int):
                    return True
        trace = trace.tb_next
    return False


def _arguments(frame: FrameType) -> Iterator[Any]:
    """Yield the positional arguments that a frame was called with, as far as they have not been replaced since."""
    code, values = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount]:
        yield values.get(name)
    if code.co_flags & 0x04:  # CO_VARARGS
        yield from values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
