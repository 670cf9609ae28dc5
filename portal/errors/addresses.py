"""Cut network addresses out of text for clients that must not learn them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Any

__all__ = ["cut_addresses"]

_CUT = "[address]"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s'\"<>,;]*[^\s'\"<>,;:.)\]]")
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?(?::[0-9]{1,5})?(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:])\[?([0-9A-Fa-f:.]{2,45})(?:%\w{1,15})?\]?(?:(?<=\]):[0-9]{1,5})?(?![\w:])")
#: Names with a port, and names below domains that are never public (RFC 6761, RFC 6762, RFC 8375, RFC 9476).
_NAMED = re.compile(
    r"(?<![\w.-])(?:localhost|[\w-]{1,63}(?:\.[\w-]{1,63}){1,20}):[0-9]{1,5}(?!\w)"
    r"|(?<![\w.-])(?:[\w-]{1,63}\.){1,20}(?:internal|local|localhost|localdomain|home\.arpa|lan|corp|alt|svc)(?![\w-])"
)
_SOCKET = re.compile(r"unix:[^\s'\"<>,;)]+|(?<![\w/.])/[^\s'\"<>,;)]*\.sock(?:et)?\b")


def cut_addresses(value: Any, known: tuple[str, ...] = ()) -> Any:
    """Return JSON data with `[address]` in place of each URL, IP address, host with a port and path of a socket.

    Args:
        known: further texts to cut, such as the host that was called.
    """
    if isinstance(value, str):
        return _cut(value, known)
    if isinstance(value, list | tuple):
        return [cut_addresses(one, known) for one in value]
    if isinstance(value, dict):
        return {name: cut_addresses(one, known) for name, one in value.items()}
    return value


def _cut(text: str, known: tuple[str, ...]) -> str:
    for one in known:
        text = text.replace(one, _CUT)
    for pattern in (_URL, _SOCKET):
        text = pattern.sub(_CUT, text)
    text = _IPV6.sub(_without_ipv6, text)
    return _NAMED.sub(_CUT, _IPV4.sub(_CUT, text))


def _without_ipv6(found: re.Match[str]) -> str:
    if ":" not in found[1]:
        return found[0]
    try:
        IPv6Address(found[1])
    except ValueError:
        return found[0]
    return _CUT
