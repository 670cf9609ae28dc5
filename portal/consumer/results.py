"""What a Consumer does with the results of calls."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from .._internal.log import get_logger
from ..errors import PortalError
from ..function.returns import load_items, load_result

__all__ = ["load_items", "load_result", "log_failure"]

_log = get_logger("portal.consumer")


def log_failure(name: str, done: Future[Any]) -> None:
    """Log the error of a notification of a function."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PortalError):
        _log.warning("notification of %s failed: %s", name, error)
    elif error is not None:
        _log.error("notification of %s failed", name, exc_info=error)
