"""Errors of access: who calls, what the caller may do, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import PortalError
from .delivery import RetryAfterError

__all__ = ["AuthenticationError", "AuthorizationError", "RateLimitError"]


class AuthenticationError(PortalError):
    """Who is calling is not known: no credential, or a wrong one.

    Attributes:
        challenges: values of WWW-Authenticate that the transport sends with it, one a header.
    """

    code = "authentication_error"
    status = 401
    rpc_code = -32001
    transient = ("challenges",)
    challenges: tuple[str, ...] = ()

    def __init__(self, message: str = "", *, challenges: Iterable[str] = (), **common: Any) -> None:
        super().__init__(message, **common)
        self.challenges = tuple(challenges)


class AuthorizationError(PortalError):
    """The caller is known and may not do this."""

    code = "authorization_error"
    status = 403
    rpc_code = -32003


class RateLimitError(RetryAfterError):
    """Too many calls; the function did not run."""

    code = "rate_limited"
    status = 429
    rpc_code = -32029
    delivery = "not_sent"
