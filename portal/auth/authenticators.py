"""Authenticators: where each kind of credential is found in a request, and whose it is.

    BearerAuth         Authorization: Bearer TOKEN (RFC 6750 section 2.1)
    BasicAuth          Authorization: Basic BASE64 (RFC 7617)
    ApiKeyAuth         a header of its own, or a query parameter
    CertificateAuth    the client's TLS certificate

What is wrong with a credential is not told to the client in detail, and no secret is told to anybody.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from ..context import Identity
from ..errors import AuthenticationError, ConfigError
from ..http11.fields import TOKEN, VISIBLE
from .passwords import Password
from .secrets import KeyTable, require_header_name, require_quotable

__all__ = [
    "ApiKeyAuth",
    "Authenticator",
    "BasicAuth",
    "BearerAuth",
    "Carrier",
    "CertificateAuth",
    "bearer_token",
]

_SCHEME = re.compile(rf"(?:{TOKEN})?")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_BEARER = re.compile(f"Bearer ({_TOKEN.pattern})")  # as nearly everybody writes it
_TOKEN68 = re.compile(f" +({_TOKEN.pattern})")
_KEY = re.compile(VISIBLE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Carrier(Protocol):
    """What may carry credentials: a request, or the one that opened a connection."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields by lower-case name."""

    @property
    def query(self) -> str:
        """The query as it came, percent-encoded."""

    @property
    def peer(self) -> str:
        """The client's network address."""

    @property
    def tls_identity(self) -> Identity | None:
        """Who the client is by its verified certificate, or None."""


class Authenticator(Protocol):
    """One way to know who is calling. Threads: any.

    Attributes:
        challenge: value of WWW-Authenticate that asks for this credential (RFC 9110 section 11.6.1).
    """

    challenge: str

    def authenticate(self, request: Carrier) -> Identity | None:
        """Whose credential the request carries, or None where it has none of this kind.

        Raises: AuthenticationError for a wrong one.
        """


class BearerAuth:
    """Bearer tokens in the Authorization header (RFC 6750 section 2.1).

    Args:
        tokens: an Identity, or the name of one, by token; or a callable that gives the Identity of a token, or None.
        realm: told to clients.

    Raises: ConfigError for a token that no header can carry (letters, digits, `-._~+/`, `=` at the end).

    Threads: any; a callable must stand that too.
    """

    finds = "Authorization: Bearer"

    def __init__(
        self, tokens: Mapping[str, Identity | str] | Callable[[str], Identity | None], *, realm: str = "portal"
    ) -> None:
        self.challenge = f'Bearer realm="{require_quotable("bearer.realm", realm)}"'
        self.challenge_when_refused = f'{self.challenge}, error="invalid_token"'
        self._find = _finder("bearer.tokens", tokens, _TOKEN, "letters, digits and -._~+/, with = at the end only")

    def __repr__(self) -> str:
        return "BearerAuth(***)"

    def authenticate(self, request: Carrier) -> Identity | None:
        token = bearer_token(request)
        return None if token is None else self._find(token)


class ApiKeyAuth:
    """API keys in a header or in the query.

    A key in the query ends up in logs and histories: offer it only where a client can send no header. A request that
    carries more than one key is refused.

    Args:
        keys: an Identity, or the name of one, by key; or a callable that gives the Identity of a key, or None.
        header: its name; None for keys in the query only.
        query: name of the query parameter; None for keys in the header only.
        realm: told to clients.

    Attributes:
        header, query: as they were given; documents name them.

    Threads: any; a callable must stand that too.
    """

    def __init__(
        self,
        keys: Mapping[str, Identity | str] | Callable[[str], Identity | None],
        *,
        header: str | None = "X-API-Key",
        query: str | None = None,
        realm: str = "portal",
    ) -> None:
        if header is None and query is None:
            raise _wrong("api_key.header", "the name of a header, where no query parameter is named")
        if query is not None and not (isinstance(query, str) and _KEY.fullmatch(query)):
            raise _wrong("api_key.query", "the name of a query parameter: printable ASCII without spaces")
        self._header = None if header is None else require_header_name("api_key.header", header).lower()
        if self._header == "authorization":
            raise _wrong("api_key.header", "a header of its own; BearerAuth and BasicAuth read Authorization")
        self._query = query
        self.header, self.query = header, query
        self.finds = f"header {self._header}, query {query}"
        self.challenge = f'ApiKey realm="{require_quotable("api_key.realm", realm)}"'
        self._find = _finder("api_key.keys", keys, _KEY, "printable ASCII without spaces")

    def __repr__(self) -> str:
        return f"ApiKeyAuth(***, header={self._header!r}, query={self._query!r})"

    def authenticate(self, request: Carrier) -> Identity | None:
        given = [] if self._header is None else [request.headers.get(self._header)]
        if self._query is not None:
            given += _query_values(request.query, self._query)
        keys = [key for key in given if key is not None]
        if not keys:
            return None
        if len(keys) > 1:
            raise AuthenticationError("more than one API key was sent")
        if not _KEY.fullmatch(keys[0]):
            raise AuthenticationError("the API key is malformed")
        return self._find(keys[0])


class BasicAuth:
    """User name and password in the Authorization header (RFC 7617), read as UTF-8.

    Args:
        users: the password, or a hash of it by `hash_password`, by user name; or a callable that gives the Identity of
            (user, password), or None.
        realm: shown to a person who is asked for a password.
        scopes: what each user may do, by user name; for a callable its Identity says so.

    Threads: any; a callable must stand that too.
    """

    finds = "Authorization: Basic"

    def __init__(
        self,
        users: Mapping[str, str] | Callable[[str, str], Identity | None],
        *,
        realm: str = "portal",
        scopes: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.challenge = f'Basic realm="{require_quotable("basic.realm", realm)}", charset="UTF-8"'
        self._users: dict[str, tuple[Password, Identity]] = {}
        self._callable: Callable[[str, str], Identity | None] | None = None
        scopes = scopes or {}
        if isinstance(users, Mapping):
            for user, password in users.items():
                self._add(user, password, scopes.get(user, ()))
            self._nobody = _decoy(self._users)
        elif callable(users):
            self._callable = users
        else:
            raise _wrong("basic.users", "passwords by user name, or a callable")
        if not set(scopes) <= set(self._users):
            raise _wrong("basic.scopes", "scopes by the name of a user that has a password here")

    def __repr__(self) -> str:
        return f"BasicAuth({self._callable or f'{len(self._users)} users'})"

    def _add(self, user: object, password: object, scopes: object) -> None:
        if not isinstance(user, str) or not user or ":" in user or _CONTROL.search(user):
            raise _wrong("basic.users", "user names without colons and control characters")
        if not isinstance(password, str) or not password or _CONTROL.search(password):
            raise _wrong("basic.users", "passwords without control characters, none empty")
        if isinstance(scopes, str) or not isinstance(scopes, Iterable):
            raise _wrong("basic.scopes", "lists of scopes by user name")
        self._users[user] = (Password(password, "basic.users"), Identity(user, frozenset(scopes)))

    def authenticate(self, request: Carrier) -> Identity | None:
        rest = _after_scheme(request, "basic")
        if rest is None:
            return None
        user, password = _user_and_password(rest)
        if self._callable is not None:
            return _known(self._callable(user, password))
        row = self._users.get(user)
        stored, identity = (self._nobody, None) if row is None else row
        # A name that nobody has costs as much as a wrong password: time does not tell who exists.
        return _known(identity if stored.fits(password) and row is not None else None)


class CertificateAuth:
    """The client's TLS certificate, verified in the handshake against the authorities that the listener trusts.

    Args:
        identity_of: turns the certificate's Identity into another one, such as one with scopes, or None to refuse it.

    Threads: any.
    """

    finds = "certificate"
    challenge = 'Certificate realm="portal"'

    def __init__(self, identity_of: Callable[[Identity], Identity | None] | None = None) -> None:
        if identity_of is not None and not callable(identity_of):
            raise _wrong("certificate.identity_of", "a callable of an Identity, or None")
        self._identity_of = identity_of

    def authenticate(self, request: Carrier) -> Identity | None:
        found = request.tls_identity
        if found is None or self._identity_of is None:
            return found
        return _known(self._identity_of(found))


def bearer_token(request: Carrier) -> str | None:
    """The token of `Authorization: Bearer`, or None where the header is absent or of another scheme.

    Raises: AuthenticationError for what is no token (RFC 6750 section 2.1), such as two of them.
    """
    return _after_scheme(request, "bearer")


def _after_scheme(request: Carrier, scheme: str) -> str | None:
    """The token68 behind a scheme of any case (RFC 9110 sections 11.1 and 11.4)."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    header = header.strip(" \t")
    usual = _BEARER.fullmatch(header) if scheme == "bearer" else None
    if usual is not None:
        return usual[1]
    found = _SCHEME.match(header)
    if found is None or found[0].lower() != scheme:
        return None
    credentials = _TOKEN68.fullmatch(header, found.end())
    if credentials is None:
        raise AuthenticationError(f"the {scheme} credential is malformed")
    return credentials[1]


def _user_and_password(text: str) -> tuple[str, str]:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    # RFC 7617 section 2: neither holds control characters
    if not colon or _CONTROL.search(user + password):
        raise AuthenticationError("the basic credential is malformed") from None
    return user, password


def _query_values(query: str, name: str) -> list[str]:
    wanted = name.encode()
    pairs = [part.partition("=") for part in query.split("&")]
    # What is not UTF-8 becomes what no key holds.
    return [
        unquote_to_bytes(value).decode("utf-8", "replace") for key, _, value in pairs if unquote_to_bytes(key) == wanted
    ]


def _finder(path: str, source: object, fits: re.Pattern[str], words: str) -> Callable[[str], Identity]:
    if isinstance(source, Mapping):
        rows = []
        for key, value in source.items():
            if not isinstance(key, str) or not fits.fullmatch(key):
                raise _wrong(path, f"keys of {words}")
            rows.append((key, _identity(path, value)))
        table = KeyTable(rows)
        return lambda given: _known(table.find(given))
    if callable(source) and not isinstance(source, type):
        asked = source
        return lambda given: _known(asked(given))
    raise _wrong(path, "identities by secret, or a callable of a secret")


def _identity(path: str, value: object) -> Identity:
    if isinstance(value, str) and value:
        return Identity(value)
    if isinstance(value, Identity):
        return value
    raise _wrong(path, "values that are an Identity or its name")


def _known(found: Any) -> Identity:
    """The identity found; AuthenticationError for None, TypeError for what is no Identity."""
    if found is None:
        raise AuthenticationError("the credential is not valid")
    if not isinstance(found, Identity):
        raise TypeError("no Identity")
    return found


def _decoy(users: Mapping[str, tuple[Password, Identity]]) -> Password:
    passwords = sorted((password for password, _ in users.values()), key=lambda one: not one.hashed)
    return passwords[0].decoy() if passwords else Password("-")


def _wrong(path: str, allowed: str) -> ConfigError:
    """The value is not told: it may be a secret."""
    return ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)
