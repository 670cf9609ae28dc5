"""JWTAuth: JSON Web Tokens in the Authorization header.

PyJWT verifies signatures and times. A token does not choose how it is verified: the server lists the algorithms, each
key has its algorithms, and keys or key URLs in a token are ignored.

Sources: RFC 7519, RFC 7515, RFC 8725.
"""

from __future__ import annotations

import base64
import json
import math
import ssl
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from types import MappingProxyType
from typing import Any, NamedTuple

from ..._internal.at_fork import new_lock
from ..._internal.log import get_logger
from ..._internal.settings import count, seconds, strings, text, whole_number
from ..._internal.settings import require as require_setting
from ...context import Identity
from ...errors import AuthenticationError, OverloadedError
from ...schema.jsondata import copy_json
from ..authenticators import CredentialSource, bearer_token
from ..secrets import digest_of, failure_origin, require_realm
from .key_set import KeySet
from .keys import PublicKey, is_symmetric, require_algorithms, require_cryptography, require_key

__all__ = ["JWTAuth"]

_log = get_logger("portal.auth")
_TIMES = ("exp", "nbf", "iat")


class _CachedToken(NamedTuple):
    """A valid token: its identity, when it is valid (seconds since 1970), and the key set that verified it.

    A clock may step back to before `valid_from`.
    """

    identity: Identity
    valid_from: float
    expires_at: float
    key_set: object


class JWTAuth:
    """Authenticates JSON Web Tokens of the Authorization header. The token's `sub` is the name of the Identity.

    With several issuers the name is `iss#sub`, because a `sub` is unique within its issuer (RFC 7519 section 4.1.2).

    Args:
        key: the secret of HS algorithms, at least as long as their hash; or a public key or certificate as PEM, an
            OpenSSH public key, or a public key of `cryptography`. It must be valid for all algorithms.
        jwks_url: URL of the issuer's public keys; either this or `key`.
        algorithms: allowed signature algorithms: HS, RS, PS, ES (256, 384, 512) and EdDSA.
        audience: one name or several; the token must be for one of them. With None, tokens that name an audience are
            rejected: they are for another service.
        issuer: one name or several; one of them must have issued the token. None allows all that have the key.
        leeway: seconds by which clocks may differ.
        require: required claims, besides `name_claim` and those of `audience` and `issuer`.
        scopes_claim: claim with the scopes: text with spaces between them, or a list. A token may omit it.
        name_claim: claim with the name of the Identity: text that is not empty.
        max_length: characters of a token at most.
        max_cached_tokens: valid tokens to cache until they expire or the key set changes. Digests are kept, not tokens.
            0 verifies every token again.
        jwks_seconds, jwks_min_interval, jwks_keep, jwks_timeout, jwks_wait, tls, clock: see `KeySet`.
        realm: sent to clients in the challenge.

    Raises: ConfigError for a wrong setting; it contains neither key nor secret.

    Threads: any.
    """

    finds = "Authorization: Bearer"

    def __init__(
        self,
        *,
        algorithms: Iterable[str],
        key: str | bytes | PublicKey | None = None,
        jwks_url: str | None = None,
        audience: str | Iterable[str] | None = None,
        issuer: str | Iterable[str] | None = None,
        leeway: float = 0.0,
        require: Iterable[str] = ("exp",),
        scopes_claim: str = "scope",
        name_claim: str = "sub",
        max_length: int = 8192,
        max_cached_tokens: int = 1024,
        jwks_seconds: float = 300.0,
        jwks_min_interval: float = 10.0,
        jwks_keep: float = 86_400.0,
        jwks_timeout: float = 5.0,
        jwks_wait: float = 1.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
        realm: str = "portal",
    ) -> None:
        self._algorithms = require_algorithms(algorithms)
        require_setting((key is None) != (jwks_url is None), "jwt.key", None, "given, or else jwks_url", secret=True)
        self._key: Any = None
        self._keys: KeySet | None = None
        if jwks_url is None:
            self._key = require_key(key, self._algorithms)
        else:
            public = not any(map(is_symmetric, self._algorithms))
            expected = "RS, PS, ES and EdDSA with jwks_url (published keys are not secret)"
            require_setting(public, "jwt.algorithms", sorted(self._algorithms), expected)
            require_cryptography()
            self._keys = KeySet(
                jwks_url,
                seconds=jwks_seconds,
                min_interval=jwks_min_interval,
                keep=jwks_keep,
                timeout=jwks_timeout,
                wait=jwks_wait,
                tls=tls,
                clock=clock,
            )
        self._audience = _one_or_several("audience", audience)
        self._issuer = _one_or_several("issuer", issuer)
        self._leeway = seconds("jwt.leeway", leeway)
        self._scopes_claim = text("jwt.scopes_claim", scopes_claim)
        self._name_claim = text("jwt.name_claim", name_claim)
        self._options: dict[str, Any] = {"require": [*_names("require", require), name_claim]}
        self._max_length = count("jwt.max_length", max_length)
        self._lock = new_lock()  # guards adding to the dict below and clearing it
        self._cache: dict[bytes, _CachedToken] = {}
        self._max_cached_tokens = whole_number("jwt.max_cached_tokens", max_cached_tokens, minimum=0)
        self._now = time
        self.challenge = f'Bearer realm="{require_realm("jwt.realm", realm)}"'
        self.challenge_on_rejection = f'{self.challenge}, error="invalid_token"'

    def __repr__(self) -> str:
        return f"JWTAuth(***, algorithms={sorted(self._algorithms)})"

    def authenticate(self, request: CredentialSource) -> Identity | None:
        header = request.headers.get("authorization")
        if header is not None and header.startswith("Bearer "):
            known = self._cached(header[7:])
            if known is not None:
                return known
        token = bearer_token(request)
        return None if token is None else self.identity_of(token)

    def identity_of(self, token: str) -> Identity:
        """Return the identity of a token.

        Raises: AuthenticationError for a wrong token; OverloadedError if the keys of `jwks_url` cannot be fetched.
        """
        known = self._cached(token)
        if known is not None:
            return known
        if len(token) > self._max_length:
            raise AuthenticationError("the token is too long")
        key_set = None if self._keys is None else self._keys.current
        import jwt

        try:
            claims = self._verified(token)
            found = self._identity(claims)
            identity = _SharedIdentity(found.name, found.scopes, found.claims)
            self._keep(token, _CachedToken(identity, *self._validity(claims), key_set))
            return identity
        except jwt.ExpiredSignatureError:
            failure, guess = "the token has expired", False
        except OverloadedError:
            raise
        except Exception as error:  # a malformed token may cause any exception
            failure, guess = "the token is not valid", not isinstance(error, _claim_errors())
            _log.debug("token rejected: %s", failure_origin(error))
        raise AuthenticationError(failure, guess=guess)

    def counters(self) -> dict[str, int]:
        """Return how many tokens were rejected because their keys were being fetched."""
        return {"rejected_during_key_fetch": 0 if self._keys is None else self._keys.rejected.value}

    def _cached(self, token: str) -> Identity | None:
        """Return the identity of a cached token that has not expired, if the key set is still the same."""
        cached = self._cache.get(digest_of(token))
        if cached is None:
            return None
        identity, valid_from, expires_at, key_set = cached
        if not valid_from <= self._now() < expires_at or (self._keys is not None and self._keys.current is not key_set):
            return None
        return identity

    def _validity(self, claims: Mapping[str, Any]) -> tuple[float, float]:
        """Return from when to when PyJWT accepts a token; it also rejects one that was issued in the future."""
        starts = max(claims.get("nbf", -math.inf), claims.get("iat", -math.inf))
        return starts - self._leeway, claims.get("exp", math.inf) + self._leeway

    def _keep(self, token: str, cached: _CachedToken) -> None:
        # A key set that was fetched during the check may lack the key that verified the token.
        if self._keys is not None and (cached.key_set is None or self._keys.current is not cached.key_set):
            return
        if not self._max_cached_tokens:
            return
        digest = digest_of(token)
        with self._lock:
            if len(self._cache) >= self._max_cached_tokens:
                self._cache.clear()
            self._cache[digest] = cached

    def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims. An invalid token may raise any exception."""
        import jwt

        head, payload, _ = token.split(".")
        header = _json_object(head)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise ValueError("the algorithm is not allowed")
        if not isinstance(kid, str | None) or "crit" in header or "b64" in header:
            raise ValueError("the header requires an unknown extension (RFC 7515 section 4.1.11)")
        key = self._key if self._keys is None else self._keys.find(kid, algorithm)
        if key is None:
            raise ValueError("there is no key with this id")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options=self._options,  # type: ignore[arg-type]
        )
        _json_object(payload)
        if not all(_is_time(claims[name]) for name in _TIMES if name in claims):
            raise ValueError("a time must be a number (RFC 7519 section 2)")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        name, scopes = claims[self._name_claim], claims.get(self._scopes_claim)
        if isinstance(scopes, str):
            scopes = scopes.split()
        elif scopes is None:
            scopes = []
        if not isinstance(name, str) or not name:
            raise ValueError("the name must be text")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValueError("scopes must be text")
        if isinstance(self._issuer, list) and len(set(self._issuer)) > 1:
            name = f"{claims['iss']}#{name}"
        return Identity(name, frozenset(scopes), claims)


def _claim_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions for claims; PyJWT checks claims after the signature, which nobody guesses."""
    import jwt

    return (
        jwt.ImmatureSignatureError,
        jwt.InvalidAudienceError,
        jwt.InvalidIssuedAtError,
        jwt.InvalidIssuerError,
        jwt.MissingRequiredClaimError,
    )


class _SharedIdentity(Identity):
    """An identity that requests share: each access to `claims` returns a copy."""

    __slots__ = ("_shared",)
    _shared: Mapping[str, Any]

    def __init__(self, name: str, scopes: Iterable[str] = (), claims: Mapping[str, Any] = MappingProxyType({})) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "scopes", frozenset(scopes))
        object.__setattr__(self, "_shared", claims)

    @property
    def claims(self) -> dict[str, Any]:
        claims: dict[str, Any] = copy_json(dict(self._shared))
        return claims

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.name, self.scopes) == (other.name, other.scopes)

    def __hash__(self) -> int:
        return hash((self.name, self.scopes))

    def __repr__(self) -> str:
        return repr(Identity(self.name, self.scopes, self.claims))

    def __reduce__(self) -> tuple[type[Identity], tuple[str, frozenset[str], dict[str, Any]]]:
        return Identity, (self.name, self.scopes, self.claims)


def _json_object(part: str) -> dict[str, Any]:
    """Parse a part of a token; reject duplicate names, which parsers read differently (RFC 8725 section 2.4)."""
    found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_without_duplicates)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate name")
    return found


def _is_time(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _one_or_several(setting: str, value: str | Iterable[str] | None) -> str | list[str] | None:
    if value is None or (isinstance(value, str) and value):
        return value
    names = _listed(value)
    expected = "a string, a list of strings, or None"
    require_setting(names, f"jwt.{setting}", value, expected)
    return strings(f"jwt.{setting}", names, expected=expected)


def _names(setting: str, value: Iterable[str]) -> list[str]:
    return strings(f"jwt.{setting}", _listed(value, [""]), expected="a list of names of claims")


def _listed(value: Iterable[str], otherwise: Iterable[str] = ()) -> list[str]:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return list(value if several else otherwise)
