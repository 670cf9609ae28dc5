"""Errors of data that does not fit its schema, or that JSON cannot carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import PortalError
from .fault import Fault, faults_of

__all__ = ["FunctionError", "SerializationError", "ValidationError"]


class FaultsError(PortalError, abstract=True):
    """The base of errors that list faults."""

    errors: tuple[Fault, ...]

    def _member_to_json(self, name: str) -> Any:
        return [fault.to_dict() for fault in self.errors] if name == "errors" else super()._member_to_json(name)

    def _restore_member(self, name: str, value: Any) -> None:
        super()._restore_member(name, faults_of(value) if name == "errors" else value)


class ValidationError(FaultsError):
    """Parameters that do not fit the function's schema.

    Attributes:
        errors: every fault with its path. If there are more than 1,000, the first ones and a last one that says so.
    """

    code = "validation_error"
    status = 422
    rpc_code = -32602
    members = ("errors",)

    def __init__(self, message: str = "", *, errors: Iterable[Fault] = (), **common: Any) -> None:
        self.errors = tuple(errors)
        super().__init__(message or _summary(self.errors), **common)


def _summary(faults: tuple[Fault, ...]) -> str:
    if not faults:
        return "the data does not fit its schema"
    text = "; ".join(f"{fault.path or 'value'}: {fault.message}" for fault in faults[:3])
    return text if len(faults) <= 3 else f"{text}; and {len(faults) - 3} more"


class FunctionError(FaultsError):
    """The function itself failed: it raised, or its result does not fit the output schema.

    Args:
        type: class name of the exception; "InvalidOutput" for a result that does not fit.
        errors: the faults of a result that does not fit.
        private: whether the message quotes another exception or a result. A server then sends another message, unless
            it runs with debug=True. The message of a FunctionError that the function itself raises is sent.
    """

    code = "function_error"
    status = 500
    rpc_code = -32000
    delivery = "executed"
    members = ("type", "errors")
    transient = ("private",)

    def __init__(
        self, message: str = "", *, type: str = "", errors: Iterable[Fault] = (), private: bool = False, **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.type = type
        self.errors = tuple(errors)
        self.private = private

    private = False

    def hides_details(self, *, debug: bool) -> bool:
        """Return whether clients get only the message of `message_for_client`."""
        return (self.private and not debug) or super().hides_details(debug=debug)


class SerializationError(PortalError):
    """Bytes that are not JSON, or a value that JSON cannot carry."""

    code = "serialization_error"
    status = 400
    rpc_code = -32700
