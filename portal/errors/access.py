"""Errors of authentication, authorization and rate limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import PortalError
from .delivery import RetryAfterError

__all__ = ["AuthenticationError", "AuthorizationError", "RateLimitError"]


class AuthenticationError(PortalError):
    """The credential is missing or wrong.

    Attributes:
        challenges: the values of the WWW-Authenticate headers that the transport sends.
        guess: whether the credential may have been guessed. `AuthFailureLimit` counts such errors of authenticators and
            HTTP middleware. None is True for an error of an authenticator, False for others.
    """

    code = "authentication_error"
    status = 401
    rpc_code = -32001
    transient = ("challenges", "guess")
    challenges: tuple[str, ...] = ()
    guess: bool | None = None

    def __init__(
        self, message: str = "", *, challenges: Iterable[str] = (), guess: bool | None = None, **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.challenges = tuple(challenges)
        self.guess = guess


class AuthorizationError(PortalError):
    """The caller is known, but may not make this call."""

    code = "authorization_error"
    status = 403
    rpc_code = -32003


class RateLimitError(RetryAfterError):
    """The caller has made too many calls. The function did not run."""

    code = "rate_limited"
    status = 429
    rpc_code = -32029
    delivery = "not_sent"
