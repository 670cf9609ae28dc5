"""Host and port of an address: parse, normalise and write them.

Source: RFC 3986 section 3.2.2, RFC 5891 and UTS 46 (IDN), RFC 5952 (IPv6 text).
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

from ..errors import AddressError
from .grammar import reject
from .percent import normalize_segment

__all__ = ["join_decoded_host_port", "join_host_port", "parse_host_port"]

_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_NUMERIC_HOST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


def parse_host_port(text: str, authority: str, start: int) -> tuple[str, int | None]:
    """Return the host in normal form and the port of an authority.

    Args:
        text: the whole address, for the error.
        authority: the part between "//" and the path.
        start: index of the authority in the text.

    Returns: host, an IPv6 address without brackets; port, or None when absent.
    Raises: AddressError with position and reason.
    """
    if "@" in authority:
        reject(text, start, "userinfo: a credential does not belong in an address")
    if not authority or authority[0] == ":":
        reject(text, start, "empty host")
    found = _HOST_PORT.match(authority)
    end = found.end() if found else 0
    if found is None or end < len(authority):
        reject(text, start + end, "neither host nor port; an IPv6 address needs brackets, a port is a number")
    host, digits = found[1], (found[2] or "").lstrip("0") or found[2]
    if digits and (len(digits) > 5 or int(digits) > 65535):
        reject(text, start + found.start(2), "port above 65535")
    normal = _parse_ipv6(text, host, start) if host[0] == "[" else _parse_name(text, host, start)
    return normal, int(digits) if digits else None


def _parse_name(text: str, host: str, start: int) -> str:
    if "%" in host:
        host = unquote(normalize_segment(text, host, start))
    if not host.isascii() and len(host) <= 254:
        host = _to_ascii(host) or host
    host = host.lower()
    if len(host) > 254 or not _HOST_NAME.fullmatch(host):
        reject(text, start, "not a valid host name")
    if _NUMERIC_HOST.fullmatch(host):  # such a host is never a name; resolvers read 0x7f.1 or 2130706433 as IPv4
        try:
            IPv4Address(host)
        except AddressValueError:
            reject(text, start, "not a valid IPv4 address")
    return host


def _to_ascii(host: str) -> str | None:
    """Return a host with its labels as IDNA 2008 encodes them; None if it is not valid.

    The codec of the standard library is of 2003. To it, "faß.de" is another domain, fass.de.
    """
    import idna  # here, because most addresses have no such host

    with suppress(UnicodeError):  # the base of the errors of idna
        labels = idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")
        return ".".join([label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels])
    return None


def _parse_ipv6(text: str, host: str, start: int) -> str:
    if "%" in host:
        reject(text, start + host.index("%"), "zone id: it has a meaning on one machine only")
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        reject(text, start + 1, "not a valid IPv6 address")
    mapped = address.ipv4_mapped  # Python versions differ in how they write it
    return str(address) if mapped is None else f"::ffff:{mapped}"


def join_host_port(host: str, port: int | None) -> str:
    """Return the authority of a host in normal form and a port, with brackets around IPv6."""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def join_decoded_host_port(host: str, port: int | None) -> str:
    """Return the authority of a host that a program gave.

    Raises: AddressError for a character that would end the host early, so that the address would lead elsewhere.
    """
    if not set(host).isdisjoint("/?#@%[]"):
        raise AddressError("the host holds a character that no host has", reason="not a valid host name")
    return join_host_port(host, port)
