"""The target of a request: the path and the version of a function.

A function has one path. A second spelling of it could pass a rule of a proxy, which compares paths as text.

Source: RFC 3986 sections 3.3 (characters of a path) and 6.2.2 (normalization of case and percent-encoding).
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote

from ...address import Address
from ...address.percent import SEGMENT_SAFE
from ...errors import AddressError, RegistryError
from ...serving import Request

__all__ = ["RPC_PATH", "check_encoding", "public_base", "read_target"]

Target = tuple[tuple[str, ...], str | None]
#: The path of JSON-RPC, unless a function is published there.
RPC_PATH = ("rpc",)
_MAX_CACHED = 256  # characters


def read_target(tail: str, query: str) -> Target:
    """Return the catalogue path and the version that a request asks for.

    Args:
        tail: the path below the base path, still percent-encoded.
    Raises: RegistryError for a path with an empty segment, or with another percent-encoding than that of addresses.
    """
    return (_cached_target if len(tail) + len(query) <= _MAX_CACHED else _read_target)(tail, query)


def _read_target(tail: str, query: str) -> Target:
    _check_path(tail)
    path = tuple(unquote(segment) for segment in tail.split("/")[1:] if segment)
    versions = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "version"]
    return path, versions[0] if versions else None


def _check_path(path: str) -> None:
    """Reject a second spelling of a path.

    Args:
        path: still percent-encoded; "/" is the one path that may end with a slash.
    Raises: RegistryError for an empty segment, or for another percent-encoding than that of addresses.
    """
    if "//" in path or (path.endswith("/") and path != "/"):
        raise _not_found(path, "write the path without empty segments, as in its address")
    check_encoding(path)


def check_encoding(path: str) -> None:
    """Reject a path whose percent-encoding is not that of addresses.

    There, the characters that a segment may have are not encoded, all others are, and the digits are upper case.

    Raises: RegistryError.
    """
    if any(quote(unquote(segment), safe=SEGMENT_SAFE) != segment for segment in path.split("/")):
        plain = f"letters, digits and -._~{SEGMENT_SAFE}"
        raise _not_found(path, f"write {plain} as they are, and percent-encode all else in upper case")


def _not_found(path: str, hint: str) -> RegistryError:
    return RegistryError(f"no function is published at {path[:200]}", hint=hint)


_cached_target = lru_cache(maxsize=1024)(_read_target)


def public_base(request: Request) -> Address | None:
    """Return the base path's address as the client sees it, if another server serves this app.

    It is None if the client's Host header is not a valid one.
    """
    base = getattr(request, "base", None)
    try:
        return None if base is None else Address.parse(base)
    except AddressError:
        return None
