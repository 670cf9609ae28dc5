"""DocsPage: the page at /docs, which shows the portal's OpenAPI document in Swagger UI 5.

The page loads nothing from the network. The files of Swagger UI are in the package drf-spectacular-sidecar, the extra
`docs`. The package is read and never imported. Only the files named here are served, so no path leads out of its
folder. Every script is a file of this origin, as the Content-Security-Policy demands (W3C CSP level 3).
"""

from __future__ import annotations

import html
import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ...errors import RegistryError
from ...http11.entity_tags import entity_tag, matches_tag, not_modified_headers
from ...serving import Response

__all__ = ["CONTENT_SECURITY_POLICY", "WEBSOCKET_PAGE", "DocsPage", "docs_response", "file_response"]

#: Swagger UI sets styles by attribute. Scripts must be files, and the page may connect to this origin only.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PACKAGE = "drf_spectacular_sidecar"
_FOLDER = "static/drf_spectacular_sidecar/swagger-ui-dist"
_TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_ABSENT = (
    "The docs page needs the files of Swagger UI, which are not installed. Install them with\n\n"
    "    pip install 'portal-functions[docs]'\n\n"
    "The OpenAPI document does not need them. It is at openapi.json beside this page.\n"
)
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" type="image/png" href="favicon-32x32.png">
<link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
{more}<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The OpenAPI document is at <a href="{url}">{url}</a>.</noscript>
<script src="swagger-ui-bundle.js"></script>
<script src="init.js"></script>
</body>
</html>
"""
#: The page of a WebSocketPortal on the same listener.
WEBSOCKET_PAGE = "/docs/websocket"
_MORE = (
    f'<p style="margin: 1em; font-family: sans-serif"><a href="{WEBSOCKET_PAGE}">'
    "Functions and topics over WebSocket</a></p>\n"
)
_SCRIPT = """"use strict";
SwaggerUIBundle({{
  url: {url},
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  responseInterceptor(response) {{
    // The body of a stream is lines of JSON, which the page cannot parse as JSON. It is shown as text.
    const headers = response.headers || {{}};
    if (headers["content-type"] === "application/x-ndjson") headers["content-type"] = "text/plain";
    return response;
  }}
}});
"""


class _File(NamedTuple):
    body: bytes
    kind: str
    etag: str
    cache: str


class DocsPage:
    """Responds to `GET /docs` and to the paths below it.

    Args:
        title: of the page.
        document_url: of the OpenAPI document, relative to `/docs/` and of the same origin.
        package: with the files of Swagger UI.
        has_page: returns whether the origin has a page at a path; the page has a link to `WEBSOCKET_PAGE` then.

    Threads: any.
    """

    def __init__(
        self,
        *,
        title: str = "Portal",
        document_url: str = "../openapi.json",
        package: str = _PACKAGE,
        has_page: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._package = package
        self._has_page = has_page
        page, linked = (
            _HTML.format(title=html.escape(title), url=html.escape(document_url), more=more) for more in ("", _MORE)
        )
        self._linked = _file(linked.encode(), "text/html; charset=utf-8", "no-cache")
        script = _SCRIPT.format(url=json.dumps(document_url))
        self._own = {
            "": _file(page.encode(), "text/html; charset=utf-8", "no-cache"),
            "init.js": _file(script.encode(), "text/javascript; charset=utf-8", "no-cache"),
        }

    def respond(self, path_tail: str, if_none_match: str | None = None) -> Response:
        """Return the response to a GET.

        Args:
            path_tail: the path after "/docs": "", "/", "/init.js".
            if_none_match: the header of that name, or None.

        Raises: RegistryError if there is no such file.
        """
        folder = _folder(self._package)
        if folder is None:
            return Response(501, _headers("text/plain; charset=utf-8", "no-store"), _ABSENT.encode())
        if not path_tail:
            # With the slash, the relative links of the page work wherever the portal is mounted.
            return Response(308, [("Location", "docs/"), *_headers("text/plain; charset=utf-8", "no-cache")])
        name = path_tail.removeprefix("/")
        found = self._own.get(name) or _read(folder, name)
        if not name and self._has_page(WEBSOCKET_PAGE):
            found = self._linked
        if found is None:
            raise RegistryError(f"the docs page has no file {name[:200]}")
        return _respond(found, if_none_match)


def file_response(body: bytes, kind: str, cache: str, if_none_match: str | None) -> Response:
    """Return bytes with an ETag, or 304 if the client has them. `cache` is the Cache-Control header."""
    return _respond(_file(body, kind, cache), if_none_match)


def _respond(found: _File, if_none_match: str | None) -> Response:
    headers = [*_headers(found.kind, found.cache), ("ETag", found.etag)]
    if matches_tag(if_none_match, found.etag):
        return Response(304, not_modified_headers(headers))
    return Response(200, headers, found.body)


def _file(body: bytes, kind: str, cache: str) -> _File:
    return _File(body, kind, entity_tag(body), cache)


@lru_cache(maxsize=8)
def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # imports nothing, as the package has no parent
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / _FOLDER
        if (folder / "swagger-ui-bundle.js").is_file():
            return folder
    return None


@lru_cache(maxsize=16)
def _read(folder: Path, name: str) -> _File | None:
    if name not in _TYPES:
        return None
    try:
        body = (folder / name).read_bytes()
    except OSError:
        return None
    return _file(body, _TYPES[name], "public, max-age=86400")


def _headers(kind: str, cache: str) -> list[tuple[str, str]]:
    return [
        ("Content-Type", kind),
        ("Cache-Control", cache),
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
    ]


_default = DocsPage()


def docs_response(path_tail: str, if_none_match: str | None = None) -> Response:
    """Return the response of a DocsPage with default settings."""
    return _default.respond(path_tail, if_none_match)
