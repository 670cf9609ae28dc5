"""What a portal tells of itself: /openapi.json, /openrpc.json and /docs.

They are at the root of the listener, and below the base path as well: mounted in another application, a portal has
nothing but that. What is published under one of these names goes before the document there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..._internal.json_text import encode_json
from ...catalogue import Catalogue, Entry
from ...errors import ProtocolError, RegistryError
from ...jsonrpc.openrpc import openrpc_document
from ...service import Service
from ...serving import Request, Response
from ..messages.event_stream import JSON
from .openapi import openapi_document
from .swagger_ui import DocsPage, file_response

__all__ = ["DOCUMENT_PATHS", "Documents"]

#: Where the documents are, from the root of the listener or from the base path; /docs has files below it.
DOCUMENT_PATHS = ("/openapi.json", "/openrpc.json", "/docs")
_KEPT = 16  # documents; each is kept as often as there are paths that the portal is mounted at


class Documents:
    """Answers GET of the documents; each is made when it is first asked for after something was published or removed.

    Args:
        catalogue, services: what is published.
        base_path: of the portal.
        rpc_url: gives the URL of the JSON-RPC endpoint, or None where there is none.
        title, version: of the documents.
        authenticators: the portal's.

    Threads: any; two that ask at once may make the same document twice.
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
    ) -> None:
        self._catalogue = catalogue
        self._services = services
        self._base_path = base_path
        self._rpc_url = rpc_url
        self._title = title
        self._version = version
        self._authenticators = tuple(authenticators)
        self._page = DocsPage(title=title)
        self._discovered: tuple[list[Entry], dict[str, Any]] | None = None
        self._made: dict[tuple[str, str | None], tuple[list[Entry], bytes]] = {}

    def find(self, path: str) -> str | None:
        """Which document is at a request's path, as one of DOCUMENT_PATHS or below one; None where none is."""
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
        """The response to a request for the document that `find` gave.

        Raises: ProtocolError (405), RegistryError for a path that is none of them.
        """
        if request.method not in ("GET", "HEAD"):
            raise ProtocolError(f"{request.method} is not served here", status=405)
        known = request.headers.get("if-none-match")
        if path in ("/openapi.json", "/openrpc.json"):
            make = self.openapi if path == "/openapi.json" else self.openrpc
            body = self._document(path, make, getattr(request, "mount_path", None))
            return file_response(body, JSON, "no-cache", known)
        if path == "/docs" or path.startswith("/docs/"):
            return self._page.respond(path[len("/docs") :], known)
        raise RegistryError("no document is there")

    def _document(
        self, path: str, make: Callable[[list[Entry], str | None], dict[str, Any]], mount_path: str | None
    ) -> bytes:
        entries = self._catalogue.entries()
        made = self._made.get((path, mount_path))
        if made is None or made[0] != entries:
            if len(self._made) >= _KEPT:
                self._made.clear()
            made = self._made[path, mount_path] = (entries, encode_json(make(entries, mount_path)))
        return made[1]

    def discovered(self) -> dict[str, Any]:
        """The OpenRPC document for rpc.discover, which a batch may ask for a hundred times; not to be changed."""
        entries = self._catalogue.entries()
        made = self._discovered
        if made is None or made[0] != entries:
            made = self._discovered = (entries, self.openrpc(entries))
        return made[1]

    def openapi(self, entries: list[Entry] | None = None, mount_path: str | None = None) -> dict[str, Any]:
        """The OpenAPI document.

        Args:
            entries: what is published; None asks the catalogue.
            mount_path: the path that the base path has for the client, where another server serves the portal.
        """
        return openapi_document(
            self._catalogue.entries() if entries is None else entries,
            list(self._services.values()),
            base_path=self._base_path if mount_path is None else mount_path,
            authenticators=self._authenticators,
            rpc=self._rpc_url is not None,
            title=self._title,
            version=self._version,
        )

    def openrpc(self, entries: list[Entry] | None = None, mount_path: str | None = None) -> dict[str, Any]:
        """The OpenRPC document; the arguments are those of `openapi`."""
        url = None if self._rpc_url is None else self._rpc_url() if mount_path is None else f"{mount_path}/rpc"
        return openrpc_document(
            self._catalogue.entries() if entries is None else entries,
            server_url=url,
            title=self._title,
            version=self._version,
        )


def _is_document(path: str) -> bool:
    return any(path == one or path.startswith(one + "/") for one in DOCUMENT_PATHS)
