"""Log the errors of calls whose details the client does not get."""

from __future__ import annotations

from .._internal.log import SafeLogger
from ..errors import FunctionError, PortalError

__all__ = ["log_failure"]


def log_failure(log: SafeLogger, error: PortalError, request_id: str) -> None:
    """Log an error whose details the client does not get; any other error is not logged.

    Args:
        log: of the transport.
    """
    name = error.context.get("operation", "a function")
    if isinstance(error, FunctionError):
        log.error("%s failed, request %s: %s", name, request_id, error, exc_info=error.__cause__)
    elif error.exposure == "hidden":
        log.error("%s failed in a nested call, request %s: %s: %s", name, request_id, type(error).__name__, error)
