"""IP addresses as header fields and sockets write them: with port, brackets and zone."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["parse_ip_address"]

_MAX_LENGTH = 64  # characters; the longest IPv6 address with zone and port is shorter


def parse_ip_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" or "[::1]:5", or None for other text.

    The zone is removed. An IPv4 address mapped into IPv6 becomes an IPv4 address. Threads: any.
    """
    # The length is checked before the cache is used, because a header may be long.
    return _parse(text) if len(text) <= _MAX_LENGTH and text.isascii() else None


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    host, port = _split(text)
    if port is not None and not (port.isdigit() and int(port) < 65536):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv6Address(int(address)) if address.scope_id is not None else address


def _split(text: str) -> tuple[str, str | None]:
    """Return host and port of "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" or "[::1]:5"."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            return "", None
        return host, rest[1:] if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None
