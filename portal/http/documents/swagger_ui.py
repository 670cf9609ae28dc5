"""The page at /docs: Swagger UI 5 on the portal's own OpenAPI document, with nothing from the network.

The files come out of the package drf-spectacular-sidecar, which is the extra `docs`; it is found and read, never
imported. Only files that are named here are served, so no path leads out. Every script is a file of this origin, which
is what the Content-Security-Policy asks for (W3C CSP level 3).
"""

from __future__ import annotations

import html
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ...errors import RegistryError
from ...http11.entity_tags import entity_tag, matches_tag
from ...serving import Response

__all__ = ["CONTENT_SECURITY_POLICY", "DocsPage", "docs_response", "file_response"]

#: Swagger UI sets styles by attribute; scripts are files, and it may speak to this origin alone.
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
    "The docs page needs the files of Swagger UI, which are not installed here:\n\n"
    "    pip install 'portal-functions[docs]'\n\n"
    "The OpenAPI document is served without them, at openapi.json beside this page.\n"
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
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document itself is at <a href="{url}">{url}</a>.</noscript>
<script src="swagger-ui-bundle.js"></script>
<script src="init.js"></script>
</body>
</html>
"""
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
    // A stream is lines of JSON and no JSON, which the page would say cannot be parsed: it is shown as text.
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
    """Answers `GET /docs` and what is below it.

    Args:
        title: of the page.
        document_url: where the OpenAPI document is, as seen from `/docs/`; of the same origin.
        package: where the files of Swagger UI are.

    Threads: any.
    """

    def __init__(
        self, *, title: str = "Portal", document_url: str = "../openapi.json", package: str = _PACKAGE
    ) -> None:
        self._package = package
        page = _HTML.format(title=html.escape(title), url=html.escape(document_url))
        script = _SCRIPT.format(url=json.dumps(document_url))
        self._own = {
            "": _file(page.encode(), "text/html; charset=utf-8", "no-cache"),
            "init.js": _file(script.encode(), "text/javascript; charset=utf-8", "no-cache"),
        }

    def respond(self, path_tail: str, if_none_match: str | None = None) -> Response:
        """The response to a GET.

        Args:
            path_tail: what follows "/docs" in the path: "", "/", "/init.js".
            if_none_match: the header of that name, or None.

        Raises: RegistryError where no such file is.
        """
        folder = _folder(self._package)
        if folder is None:
            return Response(501, _headers("text/plain; charset=utf-8", "no-store"), _ABSENT.encode())
        if not path_tail:
            # with the slash, the page's own links are relative to it, wherever the portal is mounted
            return Response(308, [("Location", "docs/"), *_headers("text/plain; charset=utf-8", "no-cache")])
        name = path_tail.removeprefix("/")
        found = self._own.get(name) or _read(folder, name)
        if found is None:
            raise RegistryError("the docs page has no such file")
        return _respond(found, if_none_match)


def file_response(body: bytes, kind: str, cache: str, if_none_match: str | None) -> Response:
    """Bytes with an ETag, or 304 where the client has them; `cache` is the Cache-Control."""
    return _respond(_file(body, kind, cache), if_none_match)


def _respond(found: _File, if_none_match: str | None) -> Response:
    headers = [*_headers(found.kind, found.cache), ("ETag", found.etag)]
    if matches_tag(if_none_match, found.etag):
        return Response(304, headers)
    return Response(200, headers, found.body)


def _file(body: bytes, kind: str, cache: str) -> _File:
    return _File(body, kind, entity_tag(body), cache)


@lru_cache(maxsize=8)
def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # of a package at the top, this imports nothing
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
    """What a DocsPage with the usual settings answers."""
    return _default.respond(path_tail, if_none_match)
