"""AllowedHosts: which values of the Host header a server accepts.

`network/host_check.py` has the default of a portal, and rejects requests with another host.

A page of an attacker's site can reach a server of the visitor's own machine or network: its name comes to mean another
address (DNS rebinding). For the browser both are of one origin. Only the Host header shows the attacker's name.

Sources: RFC 9110 section 7.2 (Host), RFC 6761 section 6.3 (localhost).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv6Address

from ..errors import ConfigError
from .ip_address import parse_ip_address

__all__ = ["LOOPBACK_HOSTS", "AllowedHosts", "is_loopback"]

#: The hosts of a loopback bind. A name that somebody else controls is not among them.
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::[0-9]*)?")
_NAME = re.compile(r"(?:\*\.)?(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*|\*")
_MAX_LENGTH = 300  # characters of a Host header; the longest name has 253


class AllowedHosts:
    """A set of hosts, by name and by pattern.

    Args:
        hosts: names ("shop.example"), addresses ("127.0.0.1", "::1"), "*.shop.example" for all names below a name, and
            "*" for every host. A port is not part of them.

    Attributes:
        patterns: the hosts as given.
        any: whether every host is accepted.

    Raises: ConfigError for any other value.

    Threads: immutable.
    """

    __slots__ = ("_exact", "_suffixes", "any", "patterns")

    def __init__(self, hosts: Iterable[str], *, setting: str = "allowed_hosts") -> None:
        values = None if isinstance(hosts, str) or not isinstance(hosts, Iterable) else tuple(hosts)
        if not values or not all(isinstance(value, str) and _is_pattern(value) for value in values):
            expected = 'a list of hosts without port, such as "shop.example", "*.shop.example" or "*"'
            raise ConfigError.invalid(setting, hosts, expected)
        self.patterns = values
        self.any = "*" in values
        self._suffixes = tuple(value[1:].lower() for value in values if value.startswith("*."))
        self._exact = frozenset(_normal(value) for value in values if not value.startswith("*"))

    def accepts(self, header: str) -> bool:
        """Return whether the value of a Host header names one of the hosts; its port does not matter."""
        if self.any:
            return True
        found = _HOST.fullmatch(header) if len(header) <= _MAX_LENGTH else None
        if found is None:
            return False
        host = _normal(found[1])
        return host in self._exact or host.endswith(self._suffixes)


def is_loopback(host: str) -> bool:
    """Return whether a host is "localhost" or a loopback address."""
    address = parse_ip_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _is_pattern(value: str) -> bool:
    return _NAME.fullmatch(value) is not None or _ipv6(value) is not None


def _normal(host: str) -> str:
    address = _ipv6(host)
    return host.lower().removesuffix(".") if address is None else f"[{address}]"


def _ipv6(host: str) -> IPv6Address | None:
    if ":" not in host or "%" in host:
        return None
    try:
        return IPv6Address(host[1:-1] if host[0] + host[-1] == "[]" else host)
    except AddressValueError:
        return None
