"""Authenticate requests: run the authenticators of a portal and return the identity of the client.

An authenticator returns None if a request has no credential of its kind, and raises AuthenticationError for a wrong
one. The first authenticator that finds its credential decides: no other authenticator is asked after a wrong
credential. A request without any credential is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .._internal.log import get_logger
from .._internal.settings import require
from ..context import Identity
from ..errors import AuthenticationError, AuthorizationError, ConfigError, OverloadedError, RateLimitError
from .authenticators import (
    ApiKeyAuth,
    Authenticator,
    AuthRequest,
    BasicAuth,
    BearerAuth,
    CertificateAuth,
    CredentialSource,
)
from .missing import missing_credential
from .passwords import hash_password
from .request_view import RequestView
from .secrets import failure_origin

__all__ = [
    "ApiKeyAuth",
    "Authenticator",
    "BasicAuth",
    "BearerAuth",
    "CertificateAuth",
    "CredentialSource",
    "ServerAuth",
    "authenticate",
    "authenticators_of",
    "challenges_of",
    "hash_password",
]

_log = get_logger("portal.auth")
_NO_CHALLENGE = 'Portal realm="portal"'  # RFC 9110 section 15.5.2: a 401 response has at least one challenge
_UNCHECKED = "the credential could not be checked"
#: Errors of an authenticator that the client may see. Any other error is a defect; its message stays hidden.
_VISIBLE = (AuthenticationError, AuthorizationError, RateLimitError, OverloadedError)


_AuthFunction = Callable[[AuthRequest], Identity | None]
#: The `auth=` setting of a portal: one authenticator, several, or None for a portal that requires no credential.
ServerAuth = Authenticator | _AuthFunction | Sequence[Authenticator | _AuthFunction] | None


class _Callable:
    """A plain callable as an authenticator. It gets the request with headers by name in any case."""

    def __init__(self, function: _AuthFunction) -> None:
        self.function = function
        self.challenge = getattr(function, "challenge", _NO_CHALLENGE)
        self.needs_body = bool(getattr(function, "needs_body", False))

    def authenticate(self, request: CredentialSource) -> Identity | None:
        return self.function(RequestView(request, has_body=self.needs_body or getattr(request, "body", b"") != b""))

    def __repr__(self) -> str:
        return repr(self.function)


def authenticators_of(source: ServerAuth) -> tuple[Authenticator, ...]:
    """Return the authenticators of an `auth=` setting; () for None.

    Raises: ConfigError for an empty list, for an object that is not an authenticator, and for two authenticators of the
        same kind of credential, because the second would never be used.
    """
    if source is None:
        return ()
    made = tuple(_authenticator_of(one) for one in (source if isinstance(source, list | tuple) else (source,)))
    require(made, "auth", source, "at least one authenticator, or None to require no credential")
    kinds = [finds for one in made if (finds := getattr(one, "finds", None)) is not None]
    if twice := {kind for kind in kinds if kinds.count(kind) > 1}:
        expected = f"one authenticator for each kind of credential (two read {min(twice)!r}; use one with a callable)"
        raise ConfigError.invalid("auth", source, expected, secret=True)
    return made


def _authenticator_of(source: Authenticator | _AuthFunction) -> Authenticator:
    # A class is callable, too: it would make an object of the request.
    if not isinstance(source, type):
        if callable(getattr(source, "authenticate", None)):
            return source  # type: ignore[return-value]
        if callable(source):
            return _Callable(source)
    kind = source if isinstance(source, type) else type(source)  # not the value, which may be a secret
    raise ConfigError.invalid(
        "auth", kind, "an authenticator, a callable (request) -> Identity or None, or a list of them"
    )


def authenticate(authenticators: Iterable[Authenticator], request: CredentialSource) -> Identity:
    """Return the identity of the client that sent a request.

    Raises: AuthenticationError without a credential, or with a wrong one; `challenges_of` returns its challenges. If an
        authenticator fails in any other way, that is logged without its message, and the request is rejected.
    """
    asked = tuple(authenticators)
    for one in asked:
        try:
            found: object = one.authenticate(request)
        except Exception as error:
            raise _rejection_by(one, asked, error) from None
        if isinstance(found, Identity):
            return found
        if found is not None:
            _log.error("authentication failed: %s returned %s, not an Identity", _name(one), type(found).__name__)
            raise _challenging(AuthenticationError(_UNCHECKED), asked, one)
    raise _challenging(AuthenticationError(missing_credential(asked, request)), asked)


def _rejection_by(one: Authenticator, asked: tuple[Authenticator, ...], error: Exception) -> Exception:
    """Return the error that the client gets for one that an authenticator raised."""
    if isinstance(error, AuthenticationError):
        error.guess = error.guess is not False
        return _challenging(error, asked, one)
    if isinstance(error, _VISIBLE):
        return error
    _log.error("authentication failed: %s raised %s", _name(one), failure_origin(error))
    # `tokens[token]` raises a KeyError for a guess. Other errors, as for a lost database, tell nothing of a credential.
    guess = isinstance(error, LookupError | ValueError)
    return _challenging(AuthenticationError(_UNCHECKED, guess=guess), asked, one)


def _name(one: Authenticator) -> str:
    shown = one.function if isinstance(one, _Callable) else type(one)
    return str(getattr(shown, "__qualname__", type(shown).__name__))


def _challenging(
    error: AuthenticationError, asked: Iterable[Authenticator], rejecting: Authenticator | None = None
) -> AuthenticationError:
    error.challenges = _challenges(asked, rejecting)
    return error


def _challenges(asked: Iterable[Authenticator], rejecting: Authenticator | None = None) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for one in asked:
        challenge = getattr(one, "challenge", _NO_CHALLENGE)
        if one is rejecting:
            challenge = getattr(one, "challenge_on_rejection", challenge)
        found[challenge] = None
    return tuple(found) or (_NO_CHALLENGE,)


def challenges_of(error: BaseException, authenticators: Iterable[Authenticator] = ()) -> tuple[str, ...]:
    """Return the values of WWW-Authenticate for an AuthenticationError, one for each header; () for any other error.

    Args:
        authenticators: those of the portal. Their challenges are returned if the error has none, for example an error
            of a middleware that requires an identity.
    """
    if not isinstance(error, AuthenticationError):
        return ()
    return error.challenges or _challenges(authenticators)
