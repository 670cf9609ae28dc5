"""The target of a request: the path and the version of a function."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from ...address import Address
from ...errors import AddressError
from ...serving import Request

__all__ = ["public_base", "read_target"]

Target = tuple[tuple[str, ...], str | None]
_MAX_CACHED = 256  # characters


def read_target(tail: str, query: str) -> Target:
    """Return the catalogue path and the version that a request asks for.

    Args:
        tail: the path below the base path, still percent-encoded.
    """
    return (_cached_target if len(tail) + len(query) <= _MAX_CACHED else _read_target)(tail, query)


def _read_target(tail: str, query: str) -> Target:
    path = tuple(unquote(segment) for segment in tail.split("/") if segment)
    versions = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "version"]
    return path, versions[0] if versions else None


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
