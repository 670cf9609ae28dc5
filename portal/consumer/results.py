"""What a Consumer does with the results of calls."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from .._internal.log import get_logger
from ..errors import PortalError, ValidationError
from ..schema import Schema

__all__ = ["load_result", "log_failure"]

_log = get_logger("portal.consumer")


def load_result(result: Any, returns: Any, name: str) -> Any:
    """Return the JSON result of a function as an instance of a type. Raises: ValidationError."""
    try:
        return Schema.of(returns).load(result)
    except ValidationError as error:
        message = f"the result of {name} does not fit returns={getattr(returns, '__name__', returns)}: {error}"
        raise ValidationError(message, errors=error.errors) from None


def log_failure(name: str, done: Future[Any]) -> None:
    """Log the error of a notification of a function."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PortalError):
        _log.warning("notification of %s failed: %s", name, error)
    elif error is not None:
        _log.error("notification of %s failed", name, exc_info=error)
