"""Conversion and delivery of results by a Consumer."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from .._internal.log import get_logger
from ..calls.middleware import Call, CallNext
from ..errors import PortalError
from ..function.returns import load_items, load_result
from ..schema.codecs.files import FileTable, files_of_call

__all__ = ["call_and_load", "load_items", "load_result", "log_failure"]

_log = get_logger("portal.consumer")


def call_and_load(chain: CallNext, call: Call, returns: Any) -> Any:
    """Make a call, and return its result as an instance of `returns`. Files need no base64 on their way."""
    with files_of_call(FileTable(call.context)):
        return load_result(chain(call), returns, call.function.name)


def log_failure(name: str, done: Future[Any]) -> None:
    """Log the error of a notification of a function."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PortalError):
        _log.warning("notification of %s failed: %s", name, error)
    elif error is not None:
        _log.error("notification of %s failed", name, exc_info=error)
