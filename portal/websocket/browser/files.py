"""BrowserFiles: serves /portal.js, the client for pages, and its types."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ...http11.entity_tags import entity_tag, matches_tag
from ...serving import Request, Response

__all__ = ["PATHS", "BrowserFiles"]

#: The paths of the files at the root of the listener.
PATHS = ("/portal.js", "/portal.d.ts")
_KINDS = {"/portal.js": "text/javascript; charset=utf-8", "/portal.d.ts": "text/plain; charset=utf-8"}


class BrowserFiles:
    """Responds to a GET of one of PATHS. Pages of other origins may load them: they hold no secret.

    Threads: any.
    """

    def handle(self, request: Request) -> Response:
        """Return the response to a request; see `portal.serving.App`."""
        if request.path not in _KINDS:
            return Response(404, [("Content-Length", "0")])
        if request.method not in ("GET", "HEAD"):
            return Response(405, [("Allow", "GET, HEAD")])
        body = _read(request.path)
        tag = entity_tag(body)
        headers = [
            ("Content-Type", _KINDS[request.path]),
            ("Cache-Control", "no-cache"),
            ("ETag", tag),
            ("X-Content-Type-Options", "nosniff"),
            ("Access-Control-Allow-Origin", "*"),
            ("Cross-Origin-Resource-Policy", "cross-origin"),
        ]
        if matches_tag(request.headers.get("if-none-match"), tag):
            return Response(304, headers)
        return Response(200, headers, body)


@lru_cache(maxsize=2)
def _read(path: str) -> bytes:
    return (Path(__file__).parent / path[1:]).read_bytes()
