"""The path of a WSGI request, from SCRIPT_NAME and PATH_INFO (PEP 3333).

All paths of a portal begin with its base path, "/api" for example. The first rule that matches gives the path:

1. If SCRIPT_NAME ends with the base path, PATH_INFO is the rest of the path.
2. If PATH_INFO is the base path or below it, PATH_INFO is the path.
3. If there is another SCRIPT_NAME, "/rpc" for example, it takes the place of the base path.
4. Otherwise PATH_INFO must be a document such as "/docs". Everything else gets 404.

The documents are also below the base path, at "/api/docs" for example.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from ...errors import ProtocolError, RegistryError
from .target import check_encoding

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["is_below", "locate"]

_SAFE = "/!$&'()*+,;=:@~"  # unencoded in a path, like letters, digits and -._~ (RFC 3986 section 3.3)
_PLAIN = re.compile(r"[/!$&'()*+,;=:@~A-Za-z0-9_.\-]*")
_OCTET = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
#: A path whose text says more than PATH_INFO.
_RESPELT = re.compile(r"//|/\.|[^/!$&'()*+,;=:@~A-Za-z0-9_.\-]")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is a prefix or below it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def locate(environ: WSGIEnvironment, base_path: str) -> tuple[str, str]:
    """Return the path for the portal, and the base path as the client sees it, both percent-encoded.

    Raises: ProtocolError for a path that is not valid; RegistryError for one with empty or dot segments.
    """
    script, info = _raw_path(environ)
    if script.endswith(base_path):
        return base_path + info or "/", script
    if is_below(info, base_path):
        return info, script + base_path
    if script:
        return base_path + info, script
    return info or "/", base_path


def _raw_path(environ: WSGIEnvironment) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO percent-encoded, as the client sent them if the server has kept that.

    PEP 3333 passes them decoded, so that an encoded slash looks like any other.
    """
    script, info = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    given = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if "#" in given:
        raise ProtocolError("the request target must not have a fragment")
    try:
        path = _ORIGIN.sub("", given.partition("?")[0], count=1)
        if _RESPELT.search(path):
            decoded, served = unquote_to_bytes(path), (script + info).encode("latin-1")
            if _resolved(decoded) == served:  # the server has removed empty and dot segments
                raise RegistryError(f"nothing is served at {path[:200]}; write the path without empty and dot segments")
            if decoded == served:
                check_encoding(path)
                octets = [found.end() for found in _OCTET.finditer(path)]
                cut = octets[len(script) - 1] if script else 0
                return path[:cut], path[cut:]
        return _encoded(script), _encoded(info)
    except UnicodeEncodeError:
        raise ProtocolError("the path must be Latin-1 text, as PEP 3333 demands") from None


def _resolved(path: bytes) -> bytes | None:
    """Return a path without empty and dot segments, or None if it has none."""
    resolved = posixpath.normpath(b"/" + path.lstrip(b"/"))
    return None if resolved == path.removesuffix(b"/") else resolved


def _encoded(path: str) -> str:
    return path if _PLAIN.fullmatch(path) else quote(path.encode("latin-1"), safe=_SAFE)
