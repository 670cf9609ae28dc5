"""Documents: the pages that describe a portal: /openapi.json, /openrpc.json and /docs.

They are served at the root of the listener and below the base path. A portal that is mounted in another application has
only the second place. A function or service that is published under one of these names takes precedence there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..._internal.at_fork import new_lock
from ..._internal.json_encoder import encode_json
from ...catalogue import Catalogue, Entry
from ...errors import ProtocolError, RegistryError
from ...jsonrpc.openrpc import openrpc_document
from ...service import Service
from ...serving import Request, Response
from ..messages.event_stream import JSON
from .openapi import openapi_document
from .swagger_ui import DocsPage, file_response

__all__ = ["DOCUMENT_PATHS", "DocumentSettings", "Documents"]

#: The paths of the documents below the root of the listener and below the base path. /docs has files below it.
DOCUMENT_PATHS = ("/openapi.json", "/openrpc.json", "/docs")
_MAX_CACHED = 16  # documents; each is cached once for each path at which the portal is mounted


class DocumentSettings(NamedTuple):
    """What the documents of a portal say, and whether they are served.

    Attributes:
        served: whether /openapi.json, /openrpc.json, /docs and rpc.discover are served. Everybody may read the first
            three, and they show what is published.
        title, version: of the interface.
        has_page: returns whether the listener has another page at a path, which the docs page may name.
    """

    served: bool
    title: str
    version: str
    has_page: Callable[[str], bool]


class Documents:
    """Responds to a GET of a document.

    A document is made at the first request after something was published or removed, and then cached.

    Args:
        catalogue, services: what is published.
        base_path: of the portal.
        rpc_url: returns the URL of the JSON-RPC endpoint; None if there is no such endpoint.
        title, version: of the documents.
        authenticators: of the portal.
        has_page: returns whether the listener has another page at a path; see `DocsPage`.

    Threads: any. Two threads may make the same document at once.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        services: Mapping[str, Service],
        *,
        base_path: str,
        rpc_url: Callable[[], str] | None = None,
        title: str = "Portal",
        version: str = "1",
        authenticators: Iterable[Any] = (),
        has_page: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._catalogue = catalogue
        self._services = services
        self._base_path = base_path
        self._rpc_url = rpc_url
        self._title = title
        self._version = version
        self._authenticators = tuple(authenticators)
        self._page = DocsPage(title=title, has_page=has_page)
        self._discovered: tuple[list[Entry], dict[str, Any]] | None = None
        self._lock = new_lock()  # guards adding to the dict below and clearing it
        self._made: dict[tuple[str, str | None], tuple[list[Entry], bytes]] = {}

    def find(self, path: str) -> str | None:
        """Return the document at a request's path: one of DOCUMENT_PATHS, a path below one, or None."""
        base = self._base_path
        if base and _is_document(path):
            return path
        tail = path[len(base) :] if path.startswith(base) else ""
        if not _is_document(tail):
            return None
        first = tail.split("/", 2)[1]
        if first in self._services or any(entry.path[0] == first for entry in self._catalogue.entries()):
            return None
        return tail

    def respond(self, request: Request, path: str) -> Response:
        """Return the response to a request for a document.

        Args:
            path: of the document, as returned by `find`.
        Raises: ProtocolError (405); RegistryError if the document does not exist.
        """
        if request.method not in ("GET", "HEAD"):
            words = f"method {request.method} is not allowed here; allowed methods: GET, HEAD"
            raise ProtocolError(words, status=405)
        known = request.headers.get("if-none-match")
        if path in ("/openapi.json", "/openrpc.json"):
            make = self.openapi if path == "/openapi.json" else self.openrpc
            body = self._document(path, make, getattr(request, "mount_path", None))
            return file_response(body, JSON, "no-cache", known)
        if path == "/docs" or path.startswith("/docs/"):
            return self._page.respond(path[len("/docs") :], known)
        raise RegistryError(f"no document exists at {path[:200]}")

    def _document(
        self, path: str, make: Callable[[list[Entry], str | None], dict[str, Any]], mount_path: str | None
    ) -> bytes:
        entries = self._catalogue.entries()
        made = self._made.get((path, mount_path))
        if made is None or made[0] != entries:
            made = (entries, encode_json(make(entries, mount_path)))
            with self._lock:
                if len(self._made) >= _MAX_CACHED:
                    self._made.clear()
                self._made[path, mount_path] = made
        return made[1]

    def discovered(self) -> dict[str, Any]:
        """Return the OpenRPC document for rpc.discover. It is cached, so the caller must not change it."""
        entries = self._catalogue.entries()
        made = self._discovered
        if made is None or made[0] != entries:
            made = self._discovered = (entries, self.openrpc(entries))
        return made[1]

    def openapi(self, entries: list[Entry] | None = None, mount_path: str | None = None) -> dict[str, Any]:
        """Return the OpenAPI document.

        Args:
            entries: what is published; None takes everything in the catalogue.
            mount_path: the base path as the client sees it, if another server serves the portal.
        """
        return openapi_document(
            self._catalogue.entries() if entries is None else entries,
            list(dict(self._services).values()),
            base_path=self._base_path if mount_path is None else mount_path,
            authenticators=self._authenticators,
            rpc=self._rpc_url is not None,
            title=self._title,
            version=self._version,
        )

    def openrpc(self, entries: list[Entry] | None = None, mount_path: str | None = None) -> dict[str, Any]:
        """Return the OpenRPC document. The arguments are those of `openapi`."""
        url = None if self._rpc_url is None else self._rpc_url() if mount_path is None else f"{mount_path}/rpc"
        return openrpc_document(
            self._catalogue.entries() if entries is None else entries,
            server_url=url,
            title=self._title,
            version=self._version,
        )


def _is_document(path: str) -> bool:
    return any(path == one or path.startswith(one + "/") for one in DOCUMENT_PATHS)
