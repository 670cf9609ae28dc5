"""Descriptions: responds to requests that call no function: GET has what is published, OPTIONS the allowed methods."""

from __future__ import annotations

from ...catalogue import Catalogue
from ...context import CallContext
from ...errors import PortalError, ProtocolError, RegistryError
from ...network.charges import RequestCharges
from ...network.listing import Listing
from ...serving import Request, Response
from ..documents.pages import Documents
from .error_responses import METHODS_OF_FUNCTION, ErrorResponses
from .function_calls import json_response
from .target import RPC_PATH, public_base, read_target

__all__ = ["Descriptions"]

_METHODS_OF_DOCUMENT = "GET, HEAD"
_METHODS_OF_LISTING = "GET, HEAD, OPTIONS"
_METHODS_OF_RPC = "OPTIONS, POST"
#: The methods of RFC 9110 and its neighbours. One that is not served here gets 405, any other 501 (section 9.1).
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})


class Descriptions:
    """Describes what is published.

    Args:
        catalogue, listing: what is published.
        documents: those that are served; None if none is.
        charges: counts what takes time and runs no function.
        errors: makes the responses of requests that fail.
        base_path: "" or "/api".
        protected: whether callers need a credential.

    Threads: any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        listing: Listing,
        documents: Documents | None,
        charges: RequestCharges,
        errors: ErrorResponses,
        *,
        base_path: str,
        protected: bool,
    ) -> None:
        self._catalogue = catalogue
        self._listing = listing
        self._documents = documents
        self._charges = charges
        self._errors = errors
        self._base = base_path
        self._protected = protected

    def respond(self, path: tuple[str, ...], version: str | None, request: Request, context: CallContext) -> Response:
        """Return the response to a request with a method other than POST.

        Raises: ProtocolError (405, 501) for a method that is not allowed at the path.
        """
        method = request.method
        if method == "OPTIONS":
            return Response(204, [("Allow", self.allowed_methods(request)), ("X-Request-ID", context.request_id)])
        is_rpc = path == RPC_PATH and self._catalogue.find(path) is None
        if method in ("GET", "HEAD") and not is_rpc:
            return self._describe(path, version, request, context)
        words = f"method {method} is not allowed here; allowed methods: {self.allowed_methods(request)}"
        raise ProtocolError(words, status=405 if method in _METHODS else 501)

    def allowed_methods(self, request: Request) -> str:
        """Return the allowed methods of the request's path (RFC 9110 section 10.2.1)."""
        if self._documents is not None and self._documents.find(request.path) is not None:
            return _METHODS_OF_DOCUMENT
        path, _ = read_target(request.path[len(self._base) :], "")
        if self._catalogue.find(path) is not None:
            return METHODS_OF_FUNCTION
        if path == RPC_PATH:
            return _METHODS_OF_RPC
        return _METHODS_OF_LISTING if self._listing.is_list(path) else METHODS_OF_FUNCTION

    def _describe(self, path: tuple[str, ...], version: str | None, request: Request, context: CallContext) -> Response:
        base = public_base(request)
        reply: dict[str, str] = {}
        try:
            if self._listing.is_list(path) or not self._is_published(path, version):
                self._charges.charge(request.peer, context, reply)
            response = json_response(200, self._listing.describe(path, version, base), context)
        except PortalError as error:
            return self._errors.respond(request, error, context, reply)
        response.headers.extend(reply.items())
        if base is not None:  # the addresses repeat the Host header, which a client may forge
            response.add_header("Cache-Control", "private, no-store")
        elif self._protected:
            # Shared caches store responses unless the request has Authorization (RFC 9111 section 3.5).
            response.add_header("Cache-Control", "private, no-cache")
        return response

    def _is_published(self, path: tuple[str, ...], version: str | None) -> bool:
        try:
            return self._catalogue.find(path, version) is not None
        except RegistryError:
            return False
