"""Exceptions of callables, and the portal errors that are sent for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import FunctionError, PortalError

__all__ = ["function_error", "is_failure", "portal_errors_only"]


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is the outcome of a call; if not, it is meant for the process and passes through.

    SystemExit and KeyboardInterrupt are meant for the process in the main thread. In another thread they would end that
    thread without an outcome for the caller: argparse raises SystemExit for wrong arguments.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def function_error(error: BaseException) -> FunctionError:
    """Return the portal error for an exception of a callable that is not a portal error."""
    kind = type(error).__name__
    return FunctionError(f"{kind}: {error}", type=kind, private=True)


@contextmanager
def portal_errors_only() -> Iterator[None]:
    """Run a callable inside: its portal errors pass unchanged, and other exceptions become FunctionErrors.

    Both then have `delivery` "executed". An exception that is not a failure passes unchanged.
    """
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
