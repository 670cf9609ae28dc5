"""The errors of a connection that cannot be opened or is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from ...address import Address
from ...context import CallContext
from ...errors import (
    AuthenticationError,
    AuthorizationError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    TransportError,
)
from ...network.dial import NotSent
from ...network.error_mapping import as_portal_error
from ..close_codes import CloseCode

__all__ = [
    "as_failure",
    "close_error",
    "copy_error",
    "is_final",
    "is_refused",
    "locate",
    "lost_error",
    "report_failure",
]

_HINT = "the call may have been executed"
_CLASSES: dict[int, type[PortalError]] = {
    CloseCode.CREDENTIALS_EXPIRED: AuthenticationError,
    CloseCode.FORBIDDEN: AuthorizationError,
    CloseCode.TOO_MANY: RateLimitError,
    CloseCode.TRY_AGAIN_LATER: OverloadedError,
    CloseCode.POLICY_VIOLATION: ProtocolError,
    CloseCode.PROTOCOL_ERROR: ProtocolError,
    CloseCode.INVALID_DATA: ProtocolError,
    CloseCode.UNSUPPORTED_DATA: ProtocolError,
    CloseCode.MESSAGE_TOO_BIG: ProtocolError,
}


def as_failure(error: BaseException, address: Address) -> PortalError:
    """Return the portal error for what a dialer raised, or for a thread that could not be started."""
    if isinstance(error, PortalError):
        return error
    wrapped = NotSent(str(error) or type(error).__name__)
    wrapped.__cause__ = error
    return as_portal_error(wrapped, address, CallContext())


def close_error(code: int, reason: str, address: Address) -> PortalError:
    """Return the error for a connection that ended with a close code. No call is meant: it says `not_sent`."""
    if code in (CloseCode.ABNORMAL, CloseCode.NO_STATUS, CloseCode.NORMAL, CloseCode.GOING_AWAY):
        message = f"lost the connection to {address.authority}: {reason or 'the server closed it'}"
    else:
        message = f"{address.authority} closed the connection with code {code}: {reason}"
    cls = _CLASSES.get(code, TransportError)
    return cls(message, delivery="not_sent", address=address, scheme=address.scheme)


def lost_error(address: Address, reason: str) -> TransportError:
    """Return the error for a call that was sent and whose response cannot come any more."""
    message = reason or f"lost the connection to {address.authority}"
    return TransportError(message, delivery="unknown", hint=_HINT, address=address, scheme=address.scheme)


def locate(error: PortalError, address: Address, context: CallContext, *, has_credential: bool) -> PortalError:
    """Return the error of a call with its address and its request id."""
    error.address, error.scheme = str(address), address.scheme
    error.with_context(request_id=context.request_id)
    if isinstance(error, AuthenticationError) and not has_credential and not error.executed:
        error.hint = "pass Consumer(auth=...)"
    return error


def is_final(error: PortalError) -> bool:
    """Return whether connecting again makes no sense after a failed handshake: the server or a setting must change."""
    return not error.retryable and (error.status < 500 or isinstance(error, TransportError))


def is_refused(error: PortalError) -> bool:
    """Return whether the host of the server has refused the connection: no process listens at the port."""
    return isinstance(error.__cause__, ConnectionRefusedError)


def copy_error(error: PortalError, *, sent: bool) -> PortalError:
    """Return a copy of an error for one of several calls that fail by it, since each gets a traceback of its own.

    Args:
        sent: whether the call may have been executed.
    """
    made = copy.copy(error)
    made.context = dict(error.context)
    made.__cause__ = error.__cause__
    made.__traceback__ = None
    if sent:
        made.delivery, made.retryable, made.hint = "unknown", False, _HINT
    return made


def report_failure(
    report: Callable[[BaseException], object],
    future: Future[Any],
    *,
    soon: Callable[[Callable[[], object]], object] | None = None,
) -> None:
    """Report what a job has raised that could not do so itself, as it was not begun. It is a callback of a future.

    Args:
        report: gets the error.
        soon: calls something later, for a `report` that takes a lock which the caller may hold.
    """
    error = CancelledError() if future.cancelled() else future.exception()
    if error is not None:
        report(error) if soon is None else soon(partial(report, error))
