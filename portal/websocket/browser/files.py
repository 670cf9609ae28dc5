"""BrowserFiles: serves /portal.js, the client for pages, with its types, and the page at /docs/websocket."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ...http11.entity_tags import entity_tag, matches_tag
from ...serving import Request, Response

__all__ = ["PATHS", "BrowserFiles"]


class _Kind(NamedTuple):
    file: str
    type: str
    headers: tuple[tuple[str, str], ...]


# Pages of other origins may load the client: it holds no secret.
_OPEN = (("Access-Control-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "cross-origin"))
# The page loads nothing of other origins, and nothing frames it. It may connect to any portal that lets it.
_PAGE = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_FILES = {
    "/portal.js": _Kind("portal.js", "text/javascript; charset=utf-8", _OPEN),
    "/portal.d.ts": _Kind("portal.d.ts", "text/plain; charset=utf-8", _OPEN),
    "/docs/websocket": _Kind("docs.html", "text/html; charset=utf-8", _PAGE),
    "/docs/websocket.js": _Kind("docs.js", "text/javascript; charset=utf-8", _PAGE),
    "/docs/websocket.css": _Kind("docs.css", "text/css; charset=utf-8", _PAGE),
}
#: The paths of the files at the root of the listener.
PATHS = tuple(_FILES)


class BrowserFiles:
    """Responds to a GET of one of PATHS.

    Threads: any.
    """

    def handle(self, request: Request) -> Response:
        """Return the response to a request; see `portal.serving.App`."""
        found = _FILES.get(request.path)
        if found is None:
            return Response(404, [("Content-Length", "0")])
        if request.method not in ("GET", "HEAD"):
            return Response(405, [("Allow", "GET, HEAD")])
        body = _read(found.file)
        tag = entity_tag(body)
        headers = [
            ("Content-Type", found.type),
            ("Cache-Control", "no-cache"),
            ("ETag", tag),
            ("X-Content-Type-Options", "nosniff"),
            *found.headers,
        ]
        if matches_tag(request.headers.get("if-none-match"), tag):
            return Response(304, headers)
        return Response(200, headers, body)


@lru_cache(maxsize=len(_FILES))
def _read(name: str) -> bytes:
    return (Path(__file__).parent / name).read_bytes()
