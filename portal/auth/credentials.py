"""Credentials: what a client sends to say who it is.

A credential gives the headers for an address, and is told when the server has refused them. It goes to every address
that is called through its owner; `ByAuthority` says which one goes where.

    BearerToken               Authorization: Bearer TOKEN
    BasicCredential           Authorization: Basic BASE64
    ApiKey                    a header of its own
    OAuth2ClientCredentials   a bearer token, asked for at a token endpoint (oauth2.py)
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

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
    "Credential",
    "OAuth2ClientCredentials",
    "credentials_of",
]

_log = logging.getLogger("portal.auth")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_HEADERS = 20


class Credential(Protocol):
    """What a client sends. Threads: any."""

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        """The headers that go with a call of `address`; {} for none.

        Args:
            deadline: `time.monotonic()` moment by which they are wanted, or None.
        Raises: AuthenticationError, TransportError or CallTimeout where they cannot be had.
        """

    def refused(self, address: Address) -> bool:
        """The server did not accept what this thread was last given for `address`; whether a new attempt makes sense.

        What was kept for it is dropped.
        """


class BearerToken:
    """A bearer token (RFC 6750 section 2.1), or a callable that gives one for each call.

    Raises: ConfigError for a token that no header can carry; AuthenticationError when the callable fails.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._give: Callable[[], str] | None = None
        if isinstance(token, str):
            self._headers = _bearer("credentials.token", token)
        elif callable(token):
            self._give = token
        else:
            raise _wrong("credentials.token", "a text, or a callable that gives one")

    def __repr__(self) -> str:
        return "BearerToken(***)"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        if self._give is None:
            return self._headers
        return _bearer("credentials.token", _called(self._give))

    def refused(self, address: Address) -> bool:
        return self._give is not None


class _Fixed:
    """The same headers for every call, whatever a server says of them."""

    _headers: Mapping[str, str]

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        return self._headers

    def refused(self, address: Address) -> bool:
        return False


class BasicCredential(_Fixed):
    """User name and password (RFC 7617), sent as UTF-8."""

    def __init__(self, user: str, password: str) -> None:
        texts = (user, password)
        if not all(isinstance(text, str) and not _CONTROL.search(text) for text in texts) or not user or ":" in user:
            raise _wrong("credentials.basic", "text without control characters, and no colon in the user name")
        try:
            encoded = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        except UnicodeEncodeError:
            raise _wrong("credentials.basic", "text that UTF-8 can carry") from None
        self._headers = {"Authorization": f"Basic {encoded}"}

    def __repr__(self) -> str:
        return "BasicCredential(***)"


class ApiKey(_Fixed):
    """A key in a header of its own."""

    def __init__(self, key: str, header: str = "X-API-Key") -> None:
        name = require_header_name("credentials.header", header)
        self._headers = {name: require_header_value("credentials.key", key)}

    def __repr__(self) -> str:
        return f"ApiKey(***, header={next(iter(self._headers))!r})"


class _Headers(_Fixed):
    """Headers by name."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        if not 0 < len(headers) <= _MAX_HEADERS or any("://" in str(name) for name in headers):
            words = f"1 to {_MAX_HEADERS} headers by name; a credential for each server is ByAuthority"
            raise _wrong("credentials.headers", words)
        self._headers = _checked(headers)

    def __repr__(self) -> str:
        return f"credentials_of({', '.join(f'{name}: ***' for name in self._headers)})"


class ByAuthority:
    """A credential for each server, and none for any other.

        ByAuthority({"https://api.example": "token", "http://127.0.0.1:8080": ("ann", "password")})

    Scheme, host and port all have to be those of the address that is called: what is for https never goes over http.

    Args:
        credentials: anything that `credentials_of` takes, by `scheme://host[:port]`.

    Raises: ConfigError for what is no such origin, or no credential. Threads: any.
    """

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        if not isinstance(credentials, Mapping):
            raise _wrong("credentials.authority", "credentials by scheme://host[:port]")
        self._by_origin: dict[tuple[str, str, int | None], Credential] = {}
        self._names = ", ".join(map(str, credentials))  # no secrets: an address holds none
        for text, source in credentials.items():
            origin = _origin(text)
            credential = credentials_of(source)
            if origin in self._by_origin:
                raise _wrong("credentials.authority", f"one credential for {text}")
            if credential is not None:
                self._by_origin[origin] = credential

    def __repr__(self) -> str:
        return f"ByAuthority({self._names})"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        credential = self._by_origin.get(address.origin)
        return {} if credential is None else credential.headers(address, deadline)

    def refused(self, address: Address) -> bool:
        credential = self._by_origin.get(address.origin)
        return credential is not None and credential.refused(address)


class _Callable:
    """A callable of an address: it gives headers, a bearer token, or None."""

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
        if not isinstance(given, Mapping) or len(given) > _MAX_HEADERS:
            raise _wrong(
                "credentials.callable", f"a callable that gives at most {_MAX_HEADERS} headers, a token or None"
            )
        return _checked(given)

    def refused(self, address: Address) -> bool:
        return True


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        require_header_name("credentials.header", name): require_header_value("credentials.header", value)
        for name, value in headers.items()
    }


def credentials_of(source: Any) -> Credential | None:
    """The credential that an `auth=` setting means.

    Args:
        source: None for none; a text for a bearer token; (user, password); {"X-API-Key": key}, headers by name; a
            callable that gives the headers for an address, or a bearer token, or None; or an object with `headers`
            and `refused`.

    Raises: ConfigError for anything else, and for what no header can carry.
    """
    if source is None:
        return None
    if isinstance(source, str):
        return BearerToken(source)
    if isinstance(source, tuple) and len(source) == 2:
        return BasicCredential(*source)
    if isinstance(source, Mapping):
        return _Headers(source)
    if not isinstance(source, type):  # a class is callable, and is not what was meant
        if callable(getattr(source, "headers", None)) and callable(getattr(source, "refused", None)):
            found: Credential = source
            return found
        if callable(source):
            return _Callable(source)
    kind = source.__name__ if isinstance(source, type) else type(source).__name__
    allowed = "None, a token, (user, password), headers by name, a callable or a credential"
    raise _wrong("credentials", f"{allowed}; not {kind}")


def _called(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except PortalError:
        raise
    except Exception as error:
        origin = failure_origin(error)
    # Neither the words nor the cause: this error may travel on to a client of ours.
    _log.error("a credential's callable failed with %s", origin)
    raise AuthenticationError("the credential to send cannot be had: its callable failed")


def _bearer(path: str, token: Any) -> dict[str, str]:
    if not isinstance(token, str) or not is_visible(token):
        raise _wrong(path, 'the token alone, without "Bearer " before it: printable ASCII without spaces, not empty')
    return {"Authorization": f"Bearer {token}"}


def _origin(text: Any) -> tuple[str, str, int | None]:
    address: Address | None = None
    with suppress(AddressError):
        address = Address.parse(text)
    if address is None or not address.host or address.path != "/" or address.query or address.fragment:
        raise _wrong("credentials.authority", "scheme://host[:port], such as https://api.example")
    return address.origin


def _wrong(path: str, allowed: str) -> ConfigError:
    """The value is not told: it may be a secret."""
    return ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)
