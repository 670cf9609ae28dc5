"""The network that counts as one client: /32 of an IPv4 address, /64 of an IPv6 address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network

from .ip_address import parse_ip_address

__all__ = ["client_network"]


@lru_cache(maxsize=4096)
def client_network(address: str, prefix: int = 64) -> str:
    """Return the network that counts as one client: an IPv4 address, or the network of an IPv6 address.

    An IPv6 client commonly has a /64 of its own and can use a new address for every call. Other text is returned
    unchanged.

    Source: RFC 6177.
    """
    found = parse_ip_address(address)
    if found is None:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(IPv6Network((found, prefix), strict=False))
