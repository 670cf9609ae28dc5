"""Failures: what a callable raised, and the error that is sent for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import FunctionError, PortalError

__all__ = ["function_error", "is_failure", "reported"]


def is_failure(error: BaseException) -> bool:
    """Return whether an exception of a callable is the outcome of its call, and not meant for the process.

    SystemExit and KeyboardInterrupt have a meaning in the main thread. In any other thread they would end that thread
    without an outcome for the caller; argparse raises SystemExit for wrong arguments.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def function_error(error: BaseException) -> FunctionError:
    """Return the portal error for another exception that a callable raised."""
    kind = type(error).__name__
    return FunctionError(f"{kind}: {error}", type=kind, private=True)


@contextmanager
def reported() -> Iterator[None]:
    """Raise portal errors only: the callable's own as it is, FunctionError for anything else that it raised."""
    try:
        yield
    except PortalError as error:
        error.delivery = "executed"
        if (sent := error.sendable()) is not error:
            raise sent from error
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise function_error(error) from error
