"""Errors of decoders, and of encoders: the data fits its schema, and the conversion to or from a native value raises.

Decoders call user code: `__post_init__`, default factories, hooks of marshmallow. ValueError and TypeError say that
the data is wrong, and the caller gets their text. A portal error passes unchanged. Anything else is a failure of the
function: it is logged, and its text does not reach the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..errors import Fault, PortalError, ValidationError
from ..errors.failure import function_error, is_raised_by_signal, text_of
from ..errors.fault import limit_faults
from .codecs import Codec
from .codecs.codec import GENERATED, Violation
from .jsondata import pointer, shorten

__all__ = ["decode_error", "describe_error", "encode_error", "hook_error"]

_DATA_ERRORS = (ValueError, TypeError)
_MAX_TEXT = 200
_HERE = __name__.rpartition(".")[0]


def decode_error(codec: Codec | None, value: Any, error: BaseException) -> PortalError:
    """Return the error for JSON data that fits and whose decoder raised `error`; it names each failing part.

    Args:
        codec: the codec that raised; None if it has no parts.
        value: the data.
        error: what it raised.
    """
    if isinstance(error, PortalError):
        return error
    if not _is_of_data(error):
        return function_error(error)
    faults: list[Fault] = []
    try:
        faults = limit_faults(_faults(codec, value, ())) if codec is not None else []
    except _Failed as failed:
        return function_error(failed.error)
    return ValidationError(errors=faults or [_fault((), value, error)])


def hook_error(value: Any, error: BaseException) -> PortalError:
    """Return the error for JSON data on which a hook of another schema library raised `error`."""
    return decode_error(None, value, error)


def encode_error(native: Any, error: BaseException) -> PortalError:
    """Return the error for a native value whose conversion to JSON data raised `error`."""
    if is_raised_by_signal(error):
        return function_error(error)
    message = f"cannot be converted to JSON: {describe_error(error)}"
    return ValidationError(errors=[Fault("", message, "json", None, shorten(native))])


def describe_error(error: BaseException) -> str:
    """Return class and text of an exception in one line."""
    return f"{type(error).__name__}: {text_of(error)}"[:_MAX_TEXT]


class _Failed(Exception):
    """A decoder has raised what is not about the data."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _is_of_data(error: BaseException) -> bool:
    if is_raised_by_signal(error):
        return False
    # a float does not hold every integer: float(10**400) in a codec of this library is an OverflowError
    return isinstance(error, _DATA_ERRORS) or (isinstance(error, ArithmeticError) and _is_raised_here(error))


def _is_raised_here(error: BaseException) -> bool:
    """Return whether a codec of this library raised an exception, and no user code that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    frame = trace.tb_frame
    return frame.f_code.co_filename == GENERATED or str(frame.f_globals.get("__name__")).startswith(_HERE)


def _fault(path: tuple[Any, ...], value: Any, error: BaseException) -> Fault:
    if isinstance(error, Violation):
        return replace(error.fault, path=pointer(path), value=shorten(value))
    text = text_of(error)
    if not text.startswith("must "):  # the texts of this library do
        text = f"cannot be converted to its Python type: {describe_error(error)}"
    return Fault(pointer(path), text[:_MAX_TEXT], "decode", None, shorten(value))


def _faults(codec: Codec, value: Any, path: tuple[Any, ...]) -> Iterator[Fault]:
    """Yield a fault for each innermost part whose decoder raises. Raises _Failed for what is not about the data."""
    if codec.decode is None:
        return
    try:
        codec.decode(value)
    except Exception as error:  # as in Schema.load
        found = False
        for token, child, part in codec.children(value) if codec.children is not None else ():
            for fault in _faults(child, part, (*path, token)):
                found = True
                yield fault
        if not found:
            if not _is_of_data(error):
                raise _Failed(error) from error
            yield _fault(path, value, error)
    except BaseException as error:
        raise _Failed(error) from error
