"""Credentials of a client: the headers that authenticate its calls.

A credential returns the headers for an address, and learns when a server rejected them. It is sent to every address
that its owner calls; `ByAuthority` sends a different one to each server.

    BearerToken               Authorization: Bearer TOKEN
    BasicCredential           Authorization: Basic BASE64
    ApiKey                    a header of its own
    OAuth2ClientCredentials   a bearer token from a token endpoint (oauth2.py)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from .._internal.log import get_logger
from .._internal.settings import require
from ..address import Address
from ..errors import AddressError, AuthenticationError, ConfigError, PortalError
from ..http11.fields import is_visible
from .oauth2 import OAuth2ClientCredentials
from .secrets import failure_origin, require_header_name, require_header_value

__all__ = [
    "ApiKey",
    "BasicCredential",
    "BearerToken",
    "ByAuthority",
    "ClientAuth",
    "Credential",
    "OAuth2ClientCredentials",
    "credentials_of",
]

_log = get_logger("portal.auth")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_HEADERS = 20


class Credential(Protocol):
    """Authenticates the calls of a client. Threads: any."""

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        """Return the headers for a call of `address`; {} for none.

        Args:
            deadline: `time.monotonic()` moment by which to return them, or None.

        Raises: AuthenticationError, TransportError or CallTimeout if it cannot obtain them.
        """

    def rejected(self, address: Address) -> bool:
        """Note that the server at `address` rejected the headers that this thread got last; discard what is cached.

        Returns: whether another attempt, with new headers, makes sense.
        """


class BearerToken:
    """A bearer token, or a callable that returns one for each call.

    Raises: ConfigError for a token that a header cannot contain. `headers` raises AuthenticationError if the callable
        fails.

    Threads: any; a callable must be thread-safe, too.

    Source: RFC 6750 section 2.1.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._provider: Callable[[], str] | None = None
        if isinstance(token, str):
            self._headers = _bearer("credentials.token", token)
        else:
            expected = "a string, or a callable that returns one"
            require(callable(token), "credentials.token", token, expected, secret=True)
            self._provider = token

    def __repr__(self) -> str:
        return "BearerToken(***)"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        if self._provider is None:
            return self._headers
        return _bearer("credentials.token", _called(self._provider))

    def rejected(self, address: Address) -> bool:
        return self._provider is not None


class _Fixed:
    """The same headers for every call."""

    _headers: Mapping[str, str]

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        return self._headers

    def rejected(self, address: Address) -> bool:
        return False


class BasicCredential(_Fixed):
    """User name and password, sent as UTF-8 (RFC 7617). Raises: ConfigError for text that cannot be sent."""

    def __init__(self, user: str, password: str) -> None:
        plain = all(isinstance(text, str) and _is_sendable(text) for text in (user, password))
        ok = plain and user != "" and ":" not in user
        expected = "a user name that is not empty and has no colon, and a password, both without control characters"
        require(ok, "credentials.basic", None, expected, secret=True)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {encoded}"}

    def __repr__(self) -> str:
        return "BasicCredential(***)"


class ApiKey(_Fixed):
    """A key in a header of its own. Raises: ConfigError for text that a header cannot contain."""

    def __init__(self, key: str, header: str = "X-API-Key") -> None:
        name = require_header_name("credentials.header", header)
        self._headers = {name: require_header_value("credentials.key", key)}

    def __repr__(self) -> str:
        return f"ApiKey(***, header={next(iter(self._headers))!r})"


class _Headers(_Fixed):
    """Headers by name, sent with every call."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        ok = 0 < len(headers) <= _MAX_HEADERS and not any("://" in str(name) for name in headers)
        expected = f"1 to {_MAX_HEADERS} headers by name (use ByAuthority for a credential for each server)"
        require(ok, "credentials.headers", headers, expected, secret=True)
        self._headers = _checked(headers)

    def __repr__(self) -> str:
        return f"credentials_of({', '.join(f'{name}: ***' for name in self._headers)})"


class ByAuthority:
    """Sends a different credential to each server, and none to servers that are not listed.

        ByAuthority({"https://api.example": "token", "http://127.0.0.1:8080": ("ann", "password")})

    Scheme, host and port must be those of the called address: a credential for https is never sent over http.

    Args:
        credentials: values of `auth=` of a Consumer, by `scheme://host[:port]`.

    Raises: ConfigError for a key that is not an origin, and for a value that is not a credential.

    Threads: any.
    """

    def __init__(self, credentials: Mapping[str, ClientAuth]) -> None:
        mapping = isinstance(credentials, Mapping)
        require(mapping, "credentials.authority", credentials, "credentials by scheme://host[:port]", secret=True)
        self._by_origin: dict[tuple[str, str, int | None], Credential] = {}
        self._names = ", ".join(map(str, credentials))  # addresses contain no secrets
        for text, source in credentials.items():
            origin = _origin(text)
            credential = credentials_of(source)
            expected = "a mapping with one credential for each server"
            require(origin not in self._by_origin, "credentials.authority", text, expected)
            if credential is not None:
                self._by_origin[origin] = credential

    def __repr__(self) -> str:
        return f"ByAuthority({self._names})"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        credential = self._by_origin.get(address.origin)
        return {} if credential is None else credential.headers(address, deadline)

    def rejected(self, address: Address) -> bool:
        credential = self._by_origin.get(address.origin)
        return credential is not None and credential.rejected(address)


class _Callable:
    """A callable (address) that returns headers, a bearer token, or None."""

    def __init__(self, function: Callable[[Address], Mapping[str, str] | str | None]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"credentials_of({getattr(self._function, '__qualname__', type(self._function).__name__)})"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        given = _called(self._function, address)
        if given is None:
            return {}
        if isinstance(given, str):
            return _bearer("credentials.token", given)
        ok = isinstance(given, Mapping) and len(given) <= _MAX_HEADERS
        expected = f"a callable that returns at most {_MAX_HEADERS} headers, a token or None"
        require(ok, "credentials.callable", given, expected, secret=True)
        return _checked(given)

    def rejected(self, address: Address) -> bool:
        return True


def _is_sendable(text: str) -> bool:
    """Return whether a user name or a password has no control characters and no lone surrogates."""
    return not _CONTROL.search(text) and text.encode("utf-8", "replace").decode() == text


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        require_header_name("credentials.header", name): require_header_value("credentials.header", value)
        for name, value in headers.items()
    }


#: The `auth=` setting of a Consumer; see `credentials_of`.
ClientAuth = (
    Credential | str | tuple[str, str] | Mapping[str, str] | Callable[[Address], Mapping[str, str] | str | None] | None
)


def credentials_of(source: ClientAuth) -> Credential | None:
    """Return the credential of an `auth=` setting.

    Args:
        source: None for no credential; a string, which is a bearer token; (user, password); headers by name, such as
            {"X-API-Key": key}; a callable (address) that returns headers, a bearer token or None; or an object with the
            methods of Credential.

    Raises: ConfigError for anything else, and for text that a header cannot contain.
    """
    if source is None:
        return None
    if isinstance(source, str):
        return BearerToken(source)
    if isinstance(source, tuple) and len(source) == 2:
        return BasicCredential(*source)
    if isinstance(source, Mapping):
        return _Headers(source)
    if not isinstance(source, type):  # a class is callable, too, but is not a credential
        if callable(getattr(source, "headers", None)) and callable(getattr(source, "rejected", None)):
            return source  # type: ignore[return-value]
        if callable(source):
            return _Callable(source)
    kind = source if isinstance(source, type) else type(source)  # not the value, which may be a secret
    expected = "None, a token, (user, password), headers by name, a callable or a credential"
    raise ConfigError.invalid("credentials", kind, expected)


def _called(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except PortalError:
        raise
    except Exception as error:
        origin = failure_origin(error)
    # Without message and cause: this error may travel on to a client of this process.
    _log.error("the callable of a credential failed: %s", origin)
    raise AuthenticationError(
        "the call was not sent: the callable that provides its credential raised an exception; the log has the cause"
    )


def _bearer(path: str, token: Any) -> dict[str, str]:
    ok = isinstance(token, str) and is_visible(token)
    expected = 'a token of printable ASCII characters without spaces, without "Bearer " before it'
    require(ok, path, token, expected, secret=True)
    return {"Authorization": f"Bearer {token}"}


def _origin(text: Any) -> tuple[str, str, int | None]:
    address: Address | None = None
    with suppress(AddressError):
        address = Address.parse(text)
    bare = address is not None and address.host and address.path == "/" and not (address.query or address.fragment)
    expected = "a mapping whose keys are scheme://host[:port], such as https://api.example"
    require(bare, "credentials.authority", text, expected, secret=True)
    assert address is not None
    return address.origin
