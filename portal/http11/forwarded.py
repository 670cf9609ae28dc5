"""X-Forwarded-For: find the client's network address behind trusted proxies.

Anyone can send `X-Forwarded-For`, so only entries that a trusted proxy wrote count. Each proxy appends the address that
called it. Read from the right, the first address that is not a trusted proxy is the client.

Source: RFC 7239 section 8.1 explains why nothing to the left of it counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from ..errors import ConfigError
from .ip_address import parse_ip_address

__all__ = ["Proxy", "client_address", "is_trusted_proxy", "trusted_networks"]

Proxy = IPv4Network | IPv6Network | str

_UNIX = "unix:"
_MAX_HOPS = 32  # entries that are followed


def trusted_networks(proxies: Iterable[str | IPv4Network | IPv6Network]) -> tuple[Proxy, ...]:
    """Return the networks of trusted proxies, for `client_address`.

    Args:
        proxies: networks ("10.0.0.0/8"), addresses ("::1"), and "unix:" for all clients of a Unix socket.

    Raises: ConfigError for any other value, and for a network with host bits set.
    """
    if isinstance(proxies, str):
        raise _invalid(proxies)
    return tuple(_network(proxy) for proxy in proxies)


def _network(proxy: str | IPv4Network | IPv6Network) -> Proxy:
    if proxy == _UNIX or isinstance(proxy, IPv4Network | IPv6Network):
        return proxy
    if not isinstance(proxy, str):
        raise _invalid(proxy)
    try:
        return ip_network(proxy)
    except ValueError:
        raise _invalid(proxy) from None


def _invalid(value: object) -> ConfigError:
    expected = 'a list of networks such as "10.0.0.0/8", addresses, and "unix:"'
    return ConfigError.invalid("trusted_proxies", value, expected)


def client_address(peer: str, forwarded_for: str | None, trusted: Iterable[Proxy]) -> str:
    """Return the client's address, without port, brackets and zone.

    An IPv4 address mapped into IPv6 becomes an IPv4 address.

    Args:
        peer: the other end of the connection: an address with or without a port, or "unix:..." for a Unix socket.
        forwarded_for: the value of X-Forwarded-For, with repeated headers joined by commas, or None.
        trusted: the result of `trusted_networks`.

    Returns: the rightmost address that is not a trusted proxy; the leftmost one if all are trusted. If an entry is not
        an address ("unknown", a name), the proxy that wrote it. A peer that is not an address is returned unchanged.
    """
    networks = tuple(trusted)
    here = parse_ip_address(peer)
    if forwarded_for and networks and _is_trusted(peer, here, networks):
        rest = forwarded_for
        for _ in range(_MAX_HOPS):
            rest, _, entry = rest.rpartition(",")
            found = parse_ip_address(entry.strip())
            if found is None:
                break
            here = found
            if not rest or not _in(here, networks):
                break
    return _UNIX if here is None and peer.startswith(_UNIX) else peer if here is None else str(here)


def is_trusted_proxy(peer: str, trusted: tuple[Proxy, ...]) -> bool:
    """Return whether `peer` is the address of a trusted proxy.

    Args:
        trusted: the result of `trusted_networks`.
    """
    return bool(trusted) and _is_trusted(peer, parse_ip_address(peer), trusted)


def _is_trusted(peer: str, address: IPv4Address | IPv6Address | None, networks: tuple[Proxy, ...]) -> bool:
    if address is None:
        return peer.startswith(_UNIX) and _UNIX in networks
    return _in(address, networks)


def _in(address: IPv4Address | IPv6Address, networks: tuple[Proxy, ...]) -> bool:
    return any(not isinstance(network, str) and address in network for network in networks)
