"""Errors between a caller and a function: transports, deadlines, breakers, overload, protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from .base import Delivery, PortalError

__all__ = [
    "CallCancelled",
    "CallTimeout",
    "CircuitOpenError",
    "ConsumerError",
    "OverloadedError",
    "ProtocolError",
    "RetryAfterError",
    "TransportError",
]

_MAX_WAIT = 1_000_000_000  # seconds


class RetryAfterError(PortalError, abstract=True):
    """The base of errors that say when to try again.

    Attributes:
        retry_after: seconds to wait, or None when not known.
    """

    retryable = True
    members = ("retry_after",)

    def __init__(self, message: str = "", *, retry_after: float | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after

    def _member_to_json(self, name: str) -> Any:
        value = super()._member_to_json(name)
        return None if name == "retry_after" and isinstance(value, float) and not isfinite(value) else value

    def _restore_member(self, name: str, value: Any) -> None:
        if name == "retry_after" and value is not None and not 0 <= value <= _MAX_WAIT:
            value = None
        super()._restore_member(name, value)


class CircuitOpenError(RetryAfterError):
    """The circuit breaker of this peer rejects calls for now. Nothing was sent."""

    code = "circuit_open"
    status = 503
    rpc_code = -32005
    delivery = "not_sent"


class OverloadedError(RetryAfterError):
    """All workers are busy and the queue is full. The function did not run, unless `delivery` says otherwise."""

    code = "overloaded"
    status = 503
    rpc_code = -32006
    delivery = "not_sent"


class CallTimeout(PortalError, TimeoutError):
    """There was no response before the deadline. The function may still run, unless `delivery` says otherwise.

    Attributes:
        timeout: seconds the call was given, where known.
    """

    code = "timeout"
    status = 504
    rpc_code = -32004
    delivery = "unknown"
    members = ("timeout",)

    def __init__(self, message: str = "", *, timeout: float | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.timeout = timeout


class CallCancelled(PortalError):
    """The caller cancelled the call. The function may have run in part, unless `delivery` says otherwise."""

    code = "cancelled"
    status = 499
    rpc_code = -32800
    delivery = "unknown"


class TransportError(PortalError, ConnectionError):
    """The network or the peer failed.

    Args:
        delivery: "not_sent" only when it is certain that the function did not run. Such a call is safe to send again,
            so that `retryable` is True by default.
    """

    code = "transport_error"
    status = 502
    rpc_code = -32002
    delivery = "unknown"

    def __init__(self, message: str = "", *, delivery: Delivery = "unknown", **common: Any) -> None:
        common.setdefault("retryable", delivery == "not_sent")
        super().__init__(message, delivery=delivery, **common)


class ProtocolError(PortalError):
    """A message breaks the protocol.

    Attributes:
        status: the exact HTTP status where HTTP has one (405, 411, 413, 414, 415, 431, 501, 505).
    """

    code = "protocol_error"
    status = 400
    rpc_code = -32600

    def __init__(self, message: str = "", *, status: int | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        if status is not None:
            self.status = status


class ConsumerError(PortalError):
    """Every attempt to make a call failed.

    Attributes:
        attempts: the attempts in order, each with address and error, as JSON data.
        advice: what the caller can do about it.
    """

    code = "consumer_error"
    status = 502
    rpc_code = -32009
    members = ("attempts", "advice")

    def __init__(
        self, message: str = "", *, attempts: Iterable[Mapping[str, Any]] = (), advice: str = "", **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.attempts: list[dict[str, Any]] = [dict(row) for row in attempts]
        self.advice = advice

    def _restore_member(self, name: str, value: Any) -> None:
        if name == "attempts":
            value = [dict(row) for row in value if isinstance(row, Mapping)]
        super()._restore_member(name, value)
