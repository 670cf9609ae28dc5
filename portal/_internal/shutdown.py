"""The error for a call that needs a thread while the interpreter ends.

CPython 3.12 and later start no threads once the main thread has ended, so not in `atexit` handlers either. That is not
an overload that passes.
"""

from __future__ import annotations

from ..errors import PortalError

__all__ = ["raise_if_shutting_down"]


def raise_if_shutting_down(error: BaseException) -> None:
    """Raise a PortalError if `error` is what a thread or an executor raises while the interpreter ends.

    Args:
        error: what was raised; its cause is looked at as well.
    """
    words = f"{error} {error.__cause__}"
    if "interpreter shutdown" in words:
        message = "the interpreter is shutting down and starts no threads, which this call needs"
        hint = "make the call before atexit handlers run, or without a timeout where the function runs in this process"
        raise PortalError(message, delivery="not_sent", hint=hint) from error
