"""What a portal tells of itself beside its functions: /openapi.json, /openrpc.json and /docs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..calls.openrpc import openrpc_document
from ..catalogue import Catalogue, Entry
from ..errors import ProtocolError, RegistryError
from ..service import Service
from ..serving import Request, Response
from . import codec
from .docs_page import DocsPage, file_response
from .openapi import openapi_document

__all__ = ["DOCUMENT_PATHS", "Documents"]

#: Where the documents are, from the root of the listener; /docs has files below it.
DOCUMENT_PATHS = ("/openapi.json", "/openrpc.json", "/docs")


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
        self._made: dict[str, tuple[list[Entry], bytes]] = {}

    def answer(self, request: Request) -> Response:
        """The response to a request for one of DOCUMENT_PATHS or what is below /docs.

        Raises: ProtocolError (405), RegistryError for a path that is none of them.
        """
        path = request.path
        if request.method not in ("GET", "HEAD"):
            raise ProtocolError(f"{request.method} is not served here", status=405)
        known = request.headers.get("if-none-match")
        if path in ("/openapi.json", "/openrpc.json"):
            body = self._document(path, self.openapi if path == "/openapi.json" else self.openrpc)
            return file_response(body, codec.JSON, "no-cache", known)
        if path == "/docs" or path.startswith("/docs/"):
            return self._page.answer(path[len("/docs") :], known)
        raise RegistryError("no document is there")

    def _document(self, path: str, make: Callable[[list[Entry]], dict[str, Any]]) -> bytes:
        entries = self._catalogue.entries()
        made = self._made.get(path)
        if made is None or made[0] != entries:
            made = self._made[path] = (entries, codec.encode_json(make(entries)))
        return made[1]

    def openapi(self, entries: list[Entry] | None = None) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi_document(
            self._catalogue.entries() if entries is None else entries,
            list(self._services.values()),
            base_path=self._base_path,
            authenticators=self._authenticators,
            rpc=self._rpc_url is not None,
            title=self._title,
            version=self._version,
        )

    def openrpc(self, entries: list[Entry] | None = None) -> dict[str, Any]:
        """The OpenRPC document."""
        return openrpc_document(
            self._catalogue.entries() if entries is None else entries,
            server_url=None if self._rpc_url is None else self._rpc_url(),
            title=self._title,
            version=self._version,
        )
