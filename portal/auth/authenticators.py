"""Authenticators: find a credential in a request and return its identity.

    BearerAuth         Authorization: Bearer TOKEN (RFC 6750 section 2.1)
    BasicAuth          Authorization: Basic BASE64 (RFC 7617)
    ApiKeyAuth         a header of its own, or a query parameter
    CertificateAuth    the client's TLS certificate

Clients do not learn in detail why a credential was rejected. Messages and logs contain no secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from urllib.parse import unquote_to_bytes

from .._internal.settings import callback, count, require, text
from ..context import Identity
from ..errors import AuthenticationError
from ..http11.client_network import client_network
from ..http11.fields import TOKEN, VISIBLE
from .passwords import HashingLimit, Password, PasswordTable
from .secrets import KeyTable, require_header_name, require_realm

__all__ = [
    "ApiKeyAuth",
    "Authenticator",
    "BasicAuth",
    "BearerAuth",
    "CertificateAuth",
    "CredentialSource",
    "bearer_token",
]

_SCHEME = re.compile(rf"(?:{TOKEN})?")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_BEARER = re.compile(f"Bearer ({_TOKEN.pattern})")  # the usual spelling
_TOKEN68 = re.compile(f" +({_TOKEN.pattern})")
_KEY = re.compile(VISIBLE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class CredentialSource(Protocol):
    """A request that may have a credential, or the request that opened a connection."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields by lower-case name."""

    @property
    def query(self) -> str:
        """The query, percent-encoded."""

    @property
    def peer(self) -> str:
        """The client's network address."""

    @property
    def tls_identity(self) -> Identity | None:
        """The identity of the client's verified certificate, or None."""


class AuthRequest(CredentialSource, Protocol):
    """A request as a callable of `auth=` gets it. Its headers are found by a name in any case."""

    @property
    def body(self) -> bytes:
        """The whole body, for a callable with `@needs_body`."""


class Authenticator(Protocol):
    """Finds one kind of credential in a request and returns its identity. Threads: any.

    Attributes:
        challenge: value of WWW-Authenticate that asks for this credential (RFC 9110 section 11.6.1).
    """

    challenge: str

    def authenticate(self, request: CredentialSource) -> Identity | None:
        """Return the identity of the request's credential, or None if it has no credential of this kind.

        Raises: AuthenticationError for a wrong credential.
        """


class BearerAuth:
    """Authenticates bearer tokens of the Authorization header.

    Args:
        tokens: an Identity, or its name, by token; or a callable that returns the Identity of a token, or None.
        realm: sent to clients in the challenge.

    Raises: ConfigError for a wrong setting, such as a token that a header cannot contain.

    Threads: any; a callable must be thread-safe, too.

    Source: RFC 6750 section 2.1.
    """

    finds = "Authorization: Bearer"

    def __init__(
        self, tokens: Mapping[str, Identity | str] | Callable[[str], Identity | None], *, realm: str = "portal"
    ) -> None:
        self.challenge = f'Bearer realm="{require_realm("bearer.realm", realm)}"'
        self.challenge_on_rejection = f'{self.challenge}, error="invalid_token"'
        self._find = _finder("bearer.tokens", tokens, _TOKEN, "of letters, digits and -._~+/ (= at the end only)")

    def __repr__(self) -> str:
        return "BearerAuth(***)"

    def authenticate(self, request: CredentialSource) -> Identity | None:
        token = bearer_token(request)
        return None if token is None else self._find(token)


class ApiKeyAuth:
    """Authenticates API keys in a header or in the query.

    A key in the query ends up in logs and histories; use it only for clients that cannot send a header. A request with
    more than one key is rejected.

    Args:
        keys: an Identity, or its name, by key; or a callable that returns the Identity of a key, or None.
        header: name of the header; None for keys in the query only.
        query: name of the query parameter; None for keys in the header only.
        realm: sent to clients in the challenge.

    Attributes:
        header, query: the names that were given; the OpenAPI document contains them.
        wanted: the same, for the message to a client without a key.

    Raises: ConfigError for a wrong setting.

    Threads: any; a callable must be thread-safe, too.
    """

    def __init__(
        self,
        keys: Mapping[str, Identity | str] | Callable[[str], Identity | None],
        *,
        header: str | None = "X-API-Key",
        query: str | None = None,
        realm: str = "portal",
    ) -> None:
        named = header is not None or query is not None
        require(named, "api_key.header", header, "the name of a header, unless query= is the name of a parameter")
        self._header = None if header is None else require_header_name("api_key.header", header).lower()
        own = self._header != "authorization"
        require(own, "api_key.header", header, "a header that BearerAuth and BasicAuth do not read")
        expected = "the name of a query parameter, printable ASCII characters without spaces"
        self._query = text("api_key.query", query, pattern=_KEY, expected=expected, optional=True)
        self.header, self.query = header, query
        self.finds = f"header {self._header}, query {query}"
        places = {"header": header, "query parameter": query}
        self.wanted = " or ".join(f"the {kind} {name}" for kind, name in places.items() if name is not None)
        self.challenge = f'ApiKey realm="{require_realm("api_key.realm", realm)}"'
        self._find = _finder("api_key.keys", keys, _KEY, "of printable ASCII characters without spaces")

    def __repr__(self) -> str:
        return f"ApiKeyAuth(***, header={self._header!r}, query={self._query!r})"

    def authenticate(self, request: CredentialSource) -> Identity | None:
        given = [] if self._header is None else [request.headers.get(self._header)]
        if self._query is not None:
            given += _query_values(request.query, self._query)
        keys = [key for key in given if key is not None]
        if not keys:
            return None
        if len(keys) > 1:
            raise AuthenticationError("the request has more than one API key")
        if not _KEY.fullmatch(keys[0]):
            raise AuthenticationError("the API key is malformed")
        return self._find(keys[0])


class BasicAuth:
    """Authenticates user name and password of the Authorization header, read as UTF-8.

    Args:
        users: passwords, or their hashes by `hash_password`, by user name; or a callable that returns the Identity of
            (user, password), or None.
        realm: shown to a person who is asked for a password.
        scopes: scopes by user name. With a callable, its Identity has the scopes.
        max_hashing: checks of hashed passwords under way at the same time. More are rejected at once with
            OverloadedError. One client has at most half of them. All processors but one compute hashes; other checks
            wait for their turn. A check of a password that has matched before needs no hash.

    Raises: ConfigError for a wrong setting.

    Threads: any; a callable must be thread-safe, too.

    Source: RFC 7617.
    """

    finds = "Authorization: Basic"

    def __init__(
        self,
        users: Mapping[str, str] | Callable[[str, str], Identity | None],
        *,
        realm: str = "portal",
        scopes: Mapping[str, Iterable[str]] | None = None,
        max_hashing: int = 4,
    ) -> None:
        self.challenge = f'Basic realm="{require_realm("basic.realm", realm)}", charset="UTF-8"'
        self._users: dict[str, Identity] = {}
        self._limit = HashingLimit(count("basic.max_hashing", max_hashing))
        self._callable: Callable[[str, str], Identity | None] | None = None
        by_user = {} if scopes is None else scopes
        require(isinstance(by_user, Mapping), "basic.scopes", scopes, "lists of scopes by user name", optional=True)
        if isinstance(users, Mapping):
            passwords = {user: self._add(user, password, by_user.get(user, ())) for user, password in users.items()}
            self._passwords = PasswordTable(passwords, self._limit)
        else:
            expected = "passwords by user name, or a callable (user, password) -> Identity or None"
            require(callable(users), "basic.users", users, expected, secret=True)
            self._callable = users
        known = set(by_user) <= set(self._users)
        require(known, "basic.scopes", list(by_user), "scopes by names of users that are in `users`")

    def __repr__(self) -> str:
        return f"BasicAuth({self._callable or f'{len(self._users)} users'})"

    def _add(self, user: str, password: str, scopes: Iterable[str]) -> Password:
        plain = isinstance(user, str) and user != "" and ":" not in user and not _CONTROL.search(user)
        require(plain, "basic.users", user, "user names without colons and control characters", secret=True)
        plain = isinstance(password, str) and password != "" and not _CONTROL.search(password)
        require(plain, "basic.users", password, "passwords that are not empty, without control characters", secret=True)
        several = isinstance(scopes, Iterable) and not isinstance(scopes, str)
        require(several, "basic.scopes", scopes, "lists of scopes by user name")
        self._users[user] = Identity(user, frozenset(scopes))
        return Password(password, "basic.users")

    def authenticate(self, request: CredentialSource) -> Identity | None:
        rest = _after_scheme(request, "basic")
        if rest is None:
            return None
        user, password = _user_and_password(rest)
        if self._callable is not None:
            return _known(self._callable(user, password))
        matches = self._passwords.matches(user, password, client_network(request.peer))
        return _known(self._users[user] if matches else None)

    def counters(self) -> dict[str, int]:
        """Return how many checks were rejected because too many hashes were being computed."""
        return {"rejected_password_checks": self._limit.rejected.value}


class CertificateAuth:
    """Authenticates the client's TLS certificate, which the handshake has verified.

    Args:
        identity_of: callable (identity) -> Identity or None. It receives the Identity of the certificate and returns
            another one, for example with scopes, or None to reject it.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    finds = "certificate"
    challenge = 'Certificate realm="portal"'

    def __init__(self, identity_of: Callable[[Identity], Identity | None] | None = None) -> None:
        expected = "a callable (identity) -> Identity or None"
        self._identity_of = callback("certificate.identity_of", identity_of, expected=expected, optional=True)

    def authenticate(self, request: CredentialSource) -> Identity | None:
        found = request.tls_identity
        if found is None or self._identity_of is None:
            return found
        identity = self._identity_of(found)
        if identity is None:  # nobody guesses a certificate
            raise AuthenticationError("the credential is not valid", guess=False)
        return _known(identity)


def bearer_token(request: CredentialSource) -> str | None:
    """Return the token of `Authorization: Bearer`, or None if the header is absent or has another scheme.

    Raises: AuthenticationError for a malformed token (RFC 6750 section 2.1), or more than one.
    """
    return _after_scheme(request, "bearer")


def _after_scheme(request: CredentialSource, scheme: str) -> str | None:
    """Return the token68 after the scheme, whose case is ignored (RFC 9110 sections 11.1 and 11.4)."""
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
    # RFC 7617 section 2: user name and password contain no control characters.
    if not colon or _CONTROL.search(user + password):
        raise AuthenticationError("the basic credential is malformed") from None
    return user, password


def _query_values(query: str, name: str) -> list[str]:
    wanted = name.encode()
    pairs = [part.partition("=") for part in query.split("&")]
    # Bytes that are not UTF-8 become a character that no key contains.
    return [
        unquote_to_bytes(value).decode("utf-8", "replace") for key, _, value in pairs if unquote_to_bytes(key) == wanted
    ]


def _finder(
    path: str,
    source: Mapping[str, Identity | str] | Callable[[str], Identity | None],
    grammar: re.Pattern[str],
    words: str,
) -> Callable[[str], Identity]:
    if isinstance(source, Mapping):
        for key in source:
            valid = isinstance(key, str) and grammar.fullmatch(key)
            require(valid, path, key, f"a mapping whose keys consist {words}", secret=True)
        table = KeyTable((key, _identity(path, value)) for key, value in source.items())
        return lambda given: _known(table.find(given))
    ok = callable(source) and not isinstance(source, type)
    require(ok, path, source, "identities by secret, or a callable (secret) -> Identity or None", secret=True)
    return lambda given: _known(source(given))


def _identity(path: str, value: Identity | str) -> Identity:
    ok = isinstance(value, Identity) or (isinstance(value, str) and value != "")
    require(ok, path, value, "a mapping whose values are an Identity or its name", secret=True)
    return Identity(value) if isinstance(value, str) else value


def _known(found: object) -> Identity:
    """Return the identity. Raises: AuthenticationError for None, TypeError for anything but an Identity."""
    if found is None:
        raise AuthenticationError("the credential is not valid")
    if not isinstance(found, Identity):
        raise TypeError(f"expected an Identity, got {type(found).__name__}")
    return found
