"""Conclusions about an instance from the outcome of a call to it."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import (
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    FunctionError,
    JavaScriptError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
)

__all__ = ["ASKED", "SUCCESS", "Outcome", "outcome_of", "reason_of_pause"]

ASKED = "asked for no calls"

_WITHOUT_HINT = 1.0  # seconds for which an instance gets no calls if its error does not say how long
_MAX_WAIT = 300.0  # seconds; the number comes from a peer


class Outcome(NamedTuple):
    """The conclusion about an instance from one call.

    Attributes:
        failed: whether the call counts as failed; None if it does not count.
        reached: whether the instance responded; False if it cannot be reached, None if that is not known.
        pause: seconds for which it gets no calls if there are others, or None.
    """

    failed: bool | None
    reached: bool | None
    pause: float | None


SUCCESS = Outcome(False, True, None)
_FAILURE = Outcome(True, True, None)
_NO_RESPONSE = Outcome(True, None, None)
_UNREACHABLE = Outcome(True, False, None)
_NOTHING = Outcome(None, None, None)


def outcome_of(error: BaseException | None) -> Outcome:
    """Return what the error of a call says of the instance; None is a response.

    An exception of the function counts as a failure: an instance on which it raises more than on others is an outlier.
    """
    if error is None:
        return SUCCESS
    if not isinstance(error, PortalError) or isinstance(error, CallCancelled):
        return _NOTHING
    if isinstance(error, CircuitOpenError) and not error.received:
        return Outcome(None, None, _pause(error))
    if isinstance(error, TransportError):
        return _NO_RESPONSE if error.may_have_executed else _UNREACHABLE
    if isinstance(error, CallTimeout):
        return _NO_RESPONSE
    if isinstance(error, OverloadedError | CircuitOpenError):
        return Outcome(True, True, _pause(error))
    if isinstance(error, RateLimitError):
        return Outcome(False, True, _pause(error))
    if isinstance(error, RegistryError) and error.kind == "not_found" and not error.may_have_executed:
        return Outcome(True, True, _WITHOUT_HINT)
    if isinstance(error, FunctionError | JavaScriptError) or (isinstance(error, ProtocolError) and error.status >= 500):
        return _FAILURE
    return SUCCESS if error.received else _NOTHING


def reason_of_pause(error: BaseException | None) -> str:
    """Return why an instance gets no calls after an error with a pause, worded to precede "for another"."""
    if isinstance(error, CircuitOpenError) and not error.received:
        return "its circuit is open"
    if isinstance(error, RegistryError):
        return "without the function; not called"
    return ASKED


def _pause(error: PortalError) -> float:
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
        return _WITHOUT_HINT
    return float(min(asked, _MAX_WAIT))
