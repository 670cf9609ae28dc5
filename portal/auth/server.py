"""Authentication: who sent a request.

An authenticator gives None where a request has no credential of its kind, and raises AuthenticationError where there is
a wrong one. Of several, the first that finds its credential decides: a wrong credential is never made good by another
authenticator, and no credential at all is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ..context import Identity
from ..errors import AuthenticationError, AuthorizationError, ConfigError, OverloadedError, RateLimitError
from .authenticators import ApiKeyAuth, Authenticator, BasicAuth, BearerAuth, Carrier, CertificateAuth
from .passwords import hash_password
from .secrets import failure_origin

__all__ = [
    "ApiKeyAuth",
    "Authenticator",
    "BasicAuth",
    "BearerAuth",
    "Carrier",
    "CertificateAuth",
    "authenticate",
    "authenticators_of",
    "challenges_of",
    "hash_password",
]

_log = logging.getLogger("portal.auth")
_NO_CHALLENGE = 'Portal realm="portal"'  # RFC 9110 section 15.5.2: a 401 carries at least one
_UNCHECKED = "the credential could not be checked"
#: What a callable may raise to say something to the client; all else is a defect and refused without its words.
_MEANT = (AuthenticationError, AuthorizationError, RateLimitError, OverloadedError)


class _Callable:
    """A plain callable as an authenticator."""

    def __init__(self, function: Callable[[Carrier], Identity | None]) -> None:
        self.authenticate = function
        self.challenge = getattr(function, "challenge", _NO_CHALLENGE)

    def __repr__(self) -> str:
        return repr(self.authenticate)


def authenticators_of(source: Any) -> tuple[Authenticator, ...]:
    """The authenticators that an `auth=` setting names: none for None, else one, or those of a list.

    Raises: ConfigError for an empty list, for what is no authenticator, and for one that another before it would keep
        from ever being asked.
    """
    if source is None:
        return ()
    several = isinstance(source, list | tuple)
    made = tuple(_authenticator_of(one) for one in (source if several else (source,)))
    if not made:
        raise _wrong("auth", "at least one authenticator; None asks for no credential")
    kinds = [finds for one in made if (finds := getattr(one, "finds", None)) is not None]
    if twice := {kind for kind in kinds if kinds.count(kind) > 1}:
        allowed = "one authenticator for each kind of credential, such as one with a callable that knows all tokens"
        raise _wrong("auth", f"{allowed}; the second for {min(twice)!r} would never be asked")
    return made


def _authenticator_of(source: Any) -> Authenticator:
    # A class is callable, and would make an object of the request instead of looking at it.
    if not isinstance(source, type):
        if callable(getattr(source, "authenticate", None)):
            found: Authenticator = source
            return found
        if callable(source):
            return _Callable(source)
    kind = source.__name__ if isinstance(source, type) else type(source).__name__
    raise _wrong("auth", f"an authenticator, a callable of a request, or a list of these; not {kind}")


def authenticate(authenticators: Iterable[Authenticator], request: Carrier) -> Identity:
    """Who sent a request.

    Raises: AuthenticationError where no credential is found, or a wrong one; `challenges_of` it says what to ask for.
        Whatever else goes wrong in an authenticator is logged, without its words, and refused as well.
    """
    asked = tuple(authenticators)
    for one in asked:
        try:
            found: object = one.authenticate(request)
        except Exception as error:
            raise _refusal_by(one, asked, error) from None
        if isinstance(found, Identity):
            return found
        if found is not None:
            _log.error("%s refused a request: %r is no Identity", _name(one), type(found).__name__)
            raise _challenging(AuthenticationError(_UNCHECKED), asked, one)
    raise _challenging(AuthenticationError("a credential is needed"), asked)


def _refusal_by(one: Authenticator, asked: tuple[Authenticator, ...], error: Exception) -> Exception:
    """What a client hears of the error that an authenticator raised."""
    if isinstance(error, AuthenticationError):
        return _challenging(error, asked, one)
    if isinstance(error, _MEANT):
        return error
    _log.error("%s refused a request: it failed with %s", _name(one), failure_origin(error))
    return _challenging(AuthenticationError(_UNCHECKED), asked, one)


def _name(one: Authenticator) -> str:
    shown = one.authenticate if isinstance(one, _Callable) else type(one)
    return str(getattr(shown, "__qualname__", type(shown).__name__))


def _challenging(
    error: AuthenticationError, asked: Iterable[Authenticator], refusing: Authenticator | None = None
) -> AuthenticationError:
    error.challenges = _challenges(asked, refusing)
    return error


def _challenges(asked: Iterable[Authenticator], refusing: Authenticator | None = None) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for one in asked:
        challenge = getattr(one, "challenge", _NO_CHALLENGE)
        if one is refusing:
            challenge = getattr(one, "challenge_when_refused", challenge)
        found[challenge] = None
    return tuple(found) or (_NO_CHALLENGE,)


def challenges_of(error: BaseException, authenticators: Iterable[Authenticator] = ()) -> tuple[str, ...]:
    """Values of WWW-Authenticate to send with an AuthenticationError, one a header; () for any other error.

    Args:
        authenticators: those of the portal; they are asked where the error is not one of `authenticate`, such as that
            of a middleware that misses an identity.
    """
    if not isinstance(error, AuthenticationError):
        return ()
    return error.challenges or _challenges(authenticators)


def _wrong(path: str, allowed: str) -> ConfigError:
    return ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)
