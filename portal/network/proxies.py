"""Proxies: choose the proxy for an address: one for all, those in the environment, or none.

HTTP_PROXY and the like have no specification. They are read as `urllib.request` does; NO_PROXY may also name networks,
as in `requests`.

Sources: RFC 9110 sections 3.7 (proxies) and 11.7.2 (Proxy-Authorization), RFC 7617 (Basic).
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import unquote_to_bytes

from ..address import Address
from ..errors import AddressError, ConfigError

__all__ = ["Proxies", "Proxy"]

_SCHEMES = ("http", "https")
_USES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # a tunnel for ws and wss
_EXPECTED = 'the URL of a proxy, http[s]://[user:password@]host[:port], or "environment" for proxy='
_USER_INFO = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]*")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: `scheme://host[:port]`, without user and password.
        authorization: the value of Proxy-Authorization, or None; `repr` does not show it.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)


class Proxies:
    """The proxies of one client.

    Args:
        setting: the address of a proxy for all requests; None for no proxy. "environment" reads HTTP_PROXY,
            HTTPS_PROXY, ALL_PROXY and NO_PROXY now, in upper or lower case. In a CGI process HTTP_PROXY is ignored,
            since it may come from a header of the client (CVE-2016-5385); http_proxy is not.
        sockets: authorities with a Unix socket, for http; no proxy is used for them.

    Raises: ConfigError for a wrong proxy address. It names the setting or variable, and does not show the value.

    Threads: any; the object is immutable.
    """

    def __init__(self, setting: str | None = None, sockets: Iterable[str] = ()) -> None:
        self._by_scheme: dict[str, Proxy] = {}
        self._no_proxy = ""
        self._sockets = frozenset(f"http://{authority}" for authority in sockets)
        if setting == "environment":
            self._read_environment()
        elif setting is not None:
            self._by_scheme = dict.fromkeys(_SCHEMES, _proxy_of(setting, "client.proxy"))

    def _read_environment(self) -> None:
        from urllib.request import getproxies_environment

        found = getproxies_environment()
        self._no_proxy = _normal(found.get("no", ""))
        for scheme in _SCHEMES:
            key = scheme if scheme in found else "all"
            if key in found:
                text = found[key].strip()
                whole = text if "://" in text else f"http://{text}"
                self._by_scheme[scheme] = _proxy_of(whole, _variable(key, found[key]))

    def find(self, address: Address) -> Proxy | None:
        """Return the proxy for an address, or None for a direct connection."""
        if not self._by_scheme:  # nearly always
            return None
        proxy = self._by_scheme.get(_USES.get(address.scheme, ""))
        if proxy is None or address.base in self._sockets or _is_excepted(address, self._no_proxy):
            return None
        return proxy


def _variable(key: str, value: str) -> str:
    """Return the name of the environment variable with a value, in the case it has there."""
    name = f"{key}_proxy"
    return next((one for one, text in os.environ.items() if one.lower() == name and text == value), name)


def _proxy_of(text: object, name: str) -> Proxy:
    scheme, _, rest = text.strip().partition("://") if isinstance(text, str) else ("", "", "")
    user_info, _, place = rest.rpartition("@")  # the last one: a password may contain "@" and "/"
    address = _address_of(f"{scheme}://{place}")
    if address is None or not _USER_INFO.fullmatch(user_info):
        raise ConfigError.invalid(name, None, _EXPECTED, secret=True)
    return Proxy(address.base, _basic(user_info) if user_info else None)


def _address_of(text: str) -> Address | None:
    """Return the address of a server without a path, or None. An error would show the text and a secret in it."""
    try:
        address = Address.parse(text)
    except AddressError:
        return None
    return address if address.scheme in _SCHEMES and str(address) == f"{address.base}/" else None


def _basic(user_info: str) -> str:
    user, _, password = user_info.partition(":")
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode("ascii")


# NO_PROXY


def _normal(no_proxy: str) -> str:
    """Return NO_PROXY in the form that `urllib.request` reads: commas between names, no "*." before a suffix."""
    names = [name.removeprefix("*.") for name in re.split(r"[,\s]+", no_proxy)]
    return "*" if "*" in names else ",".join(filter(None, names))


@lru_cache(maxsize=1024)
def _is_excepted(address: Address, no_proxy: str) -> bool:
    """Return whether NO_PROXY names the host, with or without its port, or a domain or network that contains it."""
    if not no_proxy:
        return False
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

    _, name, port = address.origin
    host = name.removesuffix(".")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return bool(proxy_bypass_environment(authority, {"no": no_proxy})) or _is_within(host, no_proxy)


def _is_within(host: str, no_proxy: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _networks(no_proxy))


def _networks(no_proxy: str) -> Iterable[IPv4Network | IPv6Network]:
    for name in no_proxy.split(","):
        try:
            yield ip_network(name, strict=False)
        except ValueError:
            continue  # a name
