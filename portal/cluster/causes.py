"""Errors of functions on workers as bytes, with traceback, causes and class.

Pickle alone drops tracebacks and causes. tblib, which comes with Dask, keeps them. A class that the caller cannot
import becomes a FunctionError that names it.
"""

from __future__ import annotations

import io
import pickle
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple

from ..errors import FunctionError, PortalError
from ..function.failure import function_error
from ..function.remote_call import portable_error

__all__ = ["PackedError", "pack_error", "unpack_error"]

_MAX_SIZE = 1_000_000  # bytes of the exceptions with their tracebacks


class PackedError(NamedTuple):
    """An exception of a function.

    Attributes:
        error: the PortalError without its cause, pickled; None for another exception.
        cause: the other exception, or the cause of the PortalError, with its causes and tracebacks, pickled; None if
            there is none, or if that is not possible.
        fallback: stands for the exception where it cannot be unpickled.
    """

    error: bytes | None
    cause: bytes | None
    fallback: FunctionError


class _Pickler(pickle.Pickler):
    """Pickles exceptions and tracebacks as tblib does, without changing how others pickle them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._tblib: Any = import_module("tblib.pickling_support")

    def reducer_override(self, value: Any) -> Any:
        """Return how an object is pickled."""
        if isinstance(value, TracebackType):
            return self._tblib.pickle_traceback(value)
        if isinstance(value, BaseException):
            return self._tblib.pickle_exception(value)
        return NotImplemented


def pack_error(error: BaseException) -> PackedError:
    """Return an exception of a function as data."""
    fallback = function_error(error)
    if not isinstance(error, PortalError):
        return PackedError(None, _pickled(error), fallback)
    cause = error.__cause__
    found = portable_error(error)
    return PackedError(pickle.dumps(found), None if cause is None else _pickled(cause), fallback)


def _pickled(error: BaseException) -> bytes | None:
    if not isinstance(error, Exception):  # SystemExit is meant for the process that ran it, not for the caller's
        return None
    file = io.BytesIO()
    try:
        _Pickler(file).dump(error)
        data = file.getvalue()
        pickle.loads(data)
    except Exception:  # what the class of a user raises here may be anything
        return None
    return data if len(data) <= _MAX_SIZE else None


def unpack_error(packed: PackedError) -> Exception:
    """Return the exception, with its causes and tracebacks if its classes can be imported here."""
    cause = _loaded(packed.cause)
    if packed.error is None:
        return packed.fallback if cause is None else cause
    error = _loaded(packed.error) or packed.fallback
    error.__cause__ = cause
    return error


def _loaded(data: bytes | None) -> Exception | None:
    if data is None:
        return None
    try:
        found = pickle.loads(data)
    except Exception:  # the class of a user may raise anything
        return None
    return found if isinstance(found, Exception) else None
