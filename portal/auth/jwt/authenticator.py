"""JWTAuth: signed tokens in the Authorization header (RFC 7519, RFC 7515, best practices of RFC 8725).

PyJWT checks signatures and times. What a token may not decide is settled before: the algorithms are a list of the
server's, the key is tied to them, and whatever key or address of one a token brings along is ignored.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import ssl
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from types import MappingProxyType
from typing import Any, NamedTuple

from ...context import Identity
from ...errors import AuthenticationError, ConfigError, OverloadedError
from ...schema.jsondata import copy_json
from ..authenticators import Carrier, bearer_token
from ..secrets import digest_of, failure_origin, require_quotable
from .key_set import KeySet
from .keys import is_symmetric, require_algorithms, require_cryptography, require_key

__all__ = ["JWTAuth"]

_log = logging.getLogger("portal.auth")
_TIMES = ("exp", "nbf", "iat")


class _Good(NamedTuple):
    """A token that was found good: whose it is, until when (seconds since 1970), and by which key set."""

    identity: Identity
    until: float
    keys: object


class JWTAuth:
    """JSON Web Tokens in the Authorization header. The token's `sub` becomes the Identity's name.

    Where several issuers are allowed it is `iss#sub`: a `sub` is unique within its issuer (RFC 7519 section 4.1.2).

    Args:
        key: the secret of HS algorithms, not shorter than their hash; or a public key or certificate as PEM, an OpenSSH
            public key, or a public key of `cryptography`, which has to fit every algorithm.
        jwks_url: where the issuer publishes its public keys; this or `key`.
        algorithms: those that tokens may be signed with: HS, RS, PS, ES (256, 384, 512) and EdDSA.
        audience: one name or several, one of which the token has to be for. With None, tokens that name an audience
            are refused: they are for someone else.
        issuer: who has to have made the token, one or several; None for anybody who has the key.
        leeway: seconds by which clocks may differ.
        require: claims that have to be there, besides `name_claim` and what `audience` and `issuer` ask for.
        scopes_claim: text of scopes with spaces between, or a list of them; absent for none.
        name_claim: text, not empty.
        max_length: characters of a token.
        remembered: how many tokens that were found good are not checked again until they expire or the key set
            changes; digests are kept, not tokens. 0 checks every time.
        jwks_seconds, jwks_min_interval, jwks_keep, jwks_timeout, tls, clock: as of `KeySet`.
        realm: told to clients.

    Raises: ConfigError for a wrong setting; it tells neither key nor secret.

    Threads: any.
    """

    finds = "Authorization: Bearer"

    def __init__(
        self,
        *,
        algorithms: Iterable[str],
        key: Any = None,
        jwks_url: str | None = None,
        audience: str | Iterable[str] | None = None,
        issuer: str | Iterable[str] | None = None,
        leeway: float = 0.0,
        require: Iterable[str] = ("exp",),
        scopes_claim: str = "scope",
        name_claim: str = "sub",
        max_length: int = 8192,
        remembered: int = 1024,
        jwks_seconds: float = 300.0,
        jwks_min_interval: float = 10.0,
        jwks_keep: float = 86_400.0,
        jwks_timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
        realm: str = "portal",
    ) -> None:
        self._algorithms = require_algorithms(algorithms)
        if (key is None) == (jwks_url is None):
            raise _wrong("key", "either a key or jwks_url")
        if type(leeway) not in (int, float) or not 0 <= leeway < math.inf:
            raise _wrong("leeway", "seconds from 0")
        if type(max_length) is not int or max_length < 1:
            raise _wrong("max_length", "a whole number above 0")
        if type(remembered) is not int or remembered < 0:
            raise _wrong("remembered", "a whole number from 0")
        self._key: Any = None
        self._keys: KeySet | None = None
        if jwks_url is None:
            self._key = require_key(key, self._algorithms)
        else:
            if any(map(is_symmetric, self._algorithms)):
                raise _wrong("algorithms", "RS, PS, ES and EdDSA: what is published is no secret")
            require_cryptography()
            self._keys = KeySet(
                jwks_url,
                seconds=jwks_seconds,
                min_interval=jwks_min_interval,
                keep=jwks_keep,
                timeout=jwks_timeout,
                tls=tls,
                clock=clock,
            )
        self._audience = _names("audience", audience)
        self._issuer = _names("issuer", issuer)
        self._leeway = leeway
        self._scopes_claim = _claim("scopes_claim", scopes_claim)
        self._name_claim = _claim("name_claim", name_claim)
        self._options: dict[str, Any] = {"require": [*_claims("require", require), name_claim]}
        self._max_length = max_length
        self._remembered: dict[bytes, _Good] = {}
        self._max_remembered = remembered
        self._now = time
        self.challenge = f'Bearer realm="{require_quotable("jwt.realm", realm)}"'
        self.challenge_when_refused = f'{self.challenge}, error="invalid_token"'

    def __repr__(self) -> str:
        return f"JWTAuth(***, algorithms={sorted(self._algorithms)})"

    def authenticate(self, request: Carrier) -> Identity | None:
        header = request.headers.get("authorization")
        if header is not None and header.startswith("Bearer "):
            known = self._known(header[7:])
            if known is not None:
                return known
        token = bearer_token(request)
        return None if token is None else self.identity_of(token)

    def identity_of(self, token: str) -> Identity:
        """Whose token it is.

        Raises: AuthenticationError for a wrong one; OverloadedError while no key of `jwks_url` is to be had.
        """
        known = self._known(token)
        if known is not None:
            return known
        if len(token) > self._max_length:
            raise AuthenticationError("the token is too long")
        keys = None if self._keys is None else self._keys.current
        import jwt

        try:
            claims = self._verified(token)
            found = self._identity(claims)
            identity = _Remembered(found.name, found.scopes, found.claims)
            self._remember(token, _Good(identity, claims.get("exp", math.inf) + self._leeway, keys))
            return identity
        except jwt.ExpiredSignatureError:
            failure = "the token has expired"
        except OverloadedError:
            raise
        except Exception as error:  # what a token does to those who read it is the token's fault
            failure = "the token is not valid"
            _log.debug("a token was refused: %s", failure_origin(error))
        raise AuthenticationError(failure)

    def _known(self, token: str) -> Identity | None:
        """Whose token it is, if it was found good before and is good still."""
        good = self._remembered.get(digest_of(token))
        if good is None:
            return None
        identity, until, keys = good
        if self._now() >= until or (self._keys is not None and self._keys.current is not keys):
            return None
        return identity

    def _remember(self, token: str, good: _Good) -> None:
        # A set that came while the token was checked may lack the key that it was checked with.
        if self._keys is not None and (good.keys is None or self._keys.current is not good.keys):
            return
        if len(self._remembered) >= self._max_remembered:
            self._remembered.clear()
        if self._max_remembered:
            self._remembered[digest_of(token)] = good

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims. Raises anything for a token that is not valid."""
        import jwt

        head, payload, _ = token.split(".")
        header = _json_object(head)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise ValueError("the algorithm is not one of those allowed")
        if not isinstance(kid, str | None) or "crit" in header or "b64" in header:
            raise ValueError("the header asks for what is not understood here (RFC 7515 section 4.1.11)")
        key = self._key if self._keys is None else self._keys.find(kid, algorithm)
        if key is None:
            raise ValueError("no such key")
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
            raise ValueError("a time is a number (RFC 7519 section 2)")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        name, scopes = claims[self._name_claim], claims.get(self._scopes_claim)
        if isinstance(scopes, str):
            scopes = scopes.split()
        elif scopes is None:
            scopes = []
        if not isinstance(name, str) or not name:
            raise ValueError("the name is text")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValueError("scopes are text")
        if isinstance(self._issuer, list) and len(set(self._issuer)) > 1:
            name = f"{claims['iss']}#{name}"
        return Identity(name, frozenset(scopes), claims)


class _Remembered(Identity):
    """An identity that requests share: whoever asks for the claims is given some of his own, to change as he likes."""

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
    """A part of a token. A name that is there twice leaves open what the token says (RFC 8725 section 2.4)."""
    found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _is_time(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _names(setting: str, value: Any) -> str | list[str] | None:
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        names = list(value)
        if names and all(isinstance(name, str) and name for name in names):
            return names
    raise _wrong(setting, "a text, a list of texts, or None")


def _claims(setting: str, value: Any) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_claim(setting, name) for name in value]
    raise _wrong(setting, "names of claims")


def _claim(setting: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise _wrong(setting, "the name of a claim")


def _wrong(setting: str, allowed: str) -> ConfigError:
    path = f"jwt.{setting}"
    return ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)
