"""The outcome of a call on a cluster as its result or as a portal error."""

from __future__ import annotations

from copy import copy
from typing import Any

from ..errors import CallTimeout, FunctionError, PortalError, RegistryError
from ..function import Function
from ..function.failure import function_error, limit_exposure
from .causes import unpack_error
from .chunk import Outcome

__all__ = ["result_of"]


def result_of(function: Function, outcome: Outcome, request_id: str | None) -> Any:
    """Return the result in an outcome. Raises: the error in it, with the request id."""
    kind, value = outcome
    if kind == "ok":
        return value
    facts = {"request_id": request_id}
    if kind == "failed":
        raise _error_of_call(value, request_id)
    if kind == "late":
        message = f"{function.name} was not called: the deadline had already passed"
        raise CallTimeout(message, delivery="not_sent", context=facts, address=function.address)
    if kind == "absent":
        message = f"{function.name} was not found on a worker of the cluster: {value}"
        raise RegistryError(message, name=function.name, address=function.address, context=facts)
    value = unpack_error(value)
    if not isinstance(value, PortalError):
        error = function_error(value)
        raise error.with_context(**facts) from value
    limit_exposure(value, function.name)
    if isinstance(value, FunctionError) and value.address is None and function.address is not None:
        value.address = str(function.address)
    raise value.with_context(**facts)


def _error_of_call(error: PortalError, request_id: str | None) -> PortalError:
    """Return the error of a chunk as the error of one of its calls."""
    if request_id is None or error.request_id == request_id:
        return error
    found = copy(error)
    found.context = {**error.context, "request_id": request_id}
    found.__cause__ = error.__cause__
    return found
