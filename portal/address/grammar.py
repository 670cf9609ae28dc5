"""The shape of an address, and the error for text that does not have it."""

from __future__ import annotations

import re
from typing import NoReturn

from ..errors import AddressError

__all__ = ["DEFAULT_PORTS", "MAX_LENGTH", "NETWORK_SCHEMES", "SCHEME", "reject", "split"]

MAX_LENGTH = 8192
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: The schemes whose addresses have a host and a port.
NETWORK_SCHEMES = frozenset((*DEFAULT_PORTS, "dask"))

#: A scheme; group 1 is the colon after it.
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(:)?")
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\\ud800-\udfff]|%(?![0-9A-Fa-f]{2})")
_IN_BRACKETS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\[[^\]/?#]*")
_CREDENTIAL = re.compile(r"//.*@", re.DOTALL)


def split(text: str) -> re.Match[str]:
    """Split a text into scheme, authority, path, query and fragment: groups 1 to 5.

    Raises: AddressError for text without that shape, too long, or with a character that no address has.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None or len(text) > MAX_LENGTH or _FORBIDDEN.search(text):
        _reject_shape(text)
    return shape


def reject(text: str, position: int | None, reason: str) -> NoReturn:
    """Raise AddressError for a text.

    Args:
        text: the whole text; what stands before an "@" may be a password and is not repeated.
        position: index of the first offending character, or None.
        reason: what is wrong there, in a few words.
    """
    shown = _CREDENTIAL.sub("//***@", text)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    where = "" if position is None else f" at position {position}"
    raise AddressError(f"{shown!r} is not an address: {reason}{where}", position=position, reason=reason)


def _reject_shape(text: str) -> NoReturn:
    if len(text) > MAX_LENGTH:
        reject(text, MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        reject(text, forbidden.start(), _name_forbidden(text, forbidden.start()))
    scheme = SCHEME.match(text)
    if scheme is None:
        reject(text, 0, f"no scheme (such as {_likely_scheme(text)})" if text else "empty")
    reject(text, scheme.end() - len(scheme[1] or ""), f"no :// after a scheme (such as {_likely_scheme(text)})")


def _likely_scheme(text: str) -> str:
    """Guess the scheme that was left out; a name with a port or a path is a server's."""
    return "http://" if re.match(r"[\w.-]*[:/]", text) else "local://"


def _name_forbidden(text: str, position: int) -> str:
    character = text[position]
    if character == "%":
        in_brackets = _IN_BRACKETS.fullmatch(text, 0, position)
        return "zone id" if in_brackets else "percent sign without two hex digits"
    if character == "\\":
        return "backslash"
    if "\ud800" <= character <= "\udfff":
        return "lone surrogate"
    return "whitespace" if character.isspace() else "control character"
