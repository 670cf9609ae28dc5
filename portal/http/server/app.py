"""HTTPApp: the server side of the HTTP portal: a request in, a response out.

POST {base}/rpc   calls as JSON-RPC       GET /openapi.json, /openrpc.json, /docs, and the same below {base}
POST {function}   a call                  GET {function}   its schema
GET {service}     its functions           GET {base}       everything published
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from ..._internal.json_text import MAX_CONTAINERS, BodyDecoder
from ..._internal.log import get_logger
from ...address import Address
from ...auth.authentication import ServerAuth, authenticate, authenticators_of
from ...calls.dispatcher import Dispatcher
from ...calls.plugins import counters_of
from ...catalogue import Catalogue
from ...context import CallContext, Identity
from ...errors import AuthenticationError, PortalError, ProtocolError, RegistryError
from ...http11.forwarded import Proxy, client_address, is_trusted_proxy, trusted_networks
from ...http11.request_head import RequestHead
from ...network.charges import RequestCharges
from ...network.host_check import HostCheck
from ...network.listing import Listing
from ...service import Service
from ...serving import Request, Response
from ..documents.pages import Documents
from ..messages.call_headers import context_of
from ..messages.content_coding import DecompressionLimit
from ..middleware.base import HTTPMiddleware, build_http_chain
from .body_limits import FunctionBodies
from .early_authentication import early_authentication
from .error_responses import METHODS_OF_FUNCTION, ErrorResponses
from .function_calls import FunctionCalls, json_response
from .negotiation import is_coded
from .request_keys import RequestKeys
from .rpc import MAX_BATCH_RESPONSE, RPCEndpoint
from .target import Target, public_base, read_target

__all__ = ["HTTPApp"]

_log = get_logger("portal.http")
_METHODS_OF_DOCUMENT = "GET, HEAD"
_METHODS_OF_LISTING = "GET, HEAD, OPTIONS"
_METHODS_OF_RPC = "OPTIONS, POST"
#: The methods of RFC 9110 and its neighbours. One that is not served here gets 405, any other 501 (section 9.1).
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_RPC = ("rpc",)
_BELOW = ("", "/")


class HTTPApp:
    """Responds to the requests under one base path.

    Args:
        catalogue: what is published.
        services: the published services by name.
        dispatcher: runs the calls.
        hosts: decides which values of the Host header are accepted; None accepts all. Other requests get 421 before any
            middleware runs.
        base_path: "" or "/api".
        address_of: returns the address of a catalogue path.
        debug: whether clients see what functions raise.
        auth: authenticators, as `authenticators_of` takes them; None lets everybody call.
        http_middleware: around every request, the first outermost. Authentication and calls are inside of it.
        trusted_proxies: networks of proxies whose X-Forwarded-For is trusted.
        max_age: seconds for which clients may keep the results of cacheable functions without asking again.
        documents: whether /openapi.json, /openrpc.json, /docs and rpc.discover are served. Everybody may read the
            first three, and they show what is published.
        title, version: of the interface, for the documents.
        has_page: returns whether the listener has another page at a path, which the docs page may name.
        max_containers: objects and arrays in the JSON of one body at most.
        max_body: bytes of a body at most, also when a middleware has decompressed it.
        max_batch_response: bytes of the results of a JSON-RPC batch at most.

    Attributes:
        batches_cut: counts the batches whose results were longer.
        decompression: the limit of decompressed bodies, which middleware finds in `request.notes`.
        decoder: decodes the bodies and counts those with too many objects and arrays.

    A request passes HTTP middleware, authentication, look-up, call middleware, validation, and the function.
    Threads: any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        services: Mapping[str, Service],
        dispatcher: Dispatcher,
        *,
        base_path: str,
        address_of: Callable[[tuple[str, ...]], Address],
        hosts: HostCheck | None = None,
        debug: bool = False,
        auth: ServerAuth = None,
        http_middleware: Iterable[HTTPMiddleware] = (),
        trusted_proxies: Iterable[Proxy] = (),
        max_age: float = 0.0,
        documents: bool = True,
        title: str = "Portal",
        version: str = "1",
        has_page: Callable[[str], bool] = lambda path: False,
        max_containers: int = MAX_CONTAINERS,
        max_body: int = 1024 * 1024,
        max_batch_response: int = MAX_BATCH_RESPONSE,
    ) -> None:
        self._base = base_path
        self._hosts = hosts or HostCheck()
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._authenticators = authenticators_of(auth)
        self._secrets = _credential_names(self._authenticators)
        self._proxies = trusted_networks(trusted_proxies)
        self._http_middleware = tuple(http_middleware)
        self._http_chain = build_http_chain(self._http_middleware, self._respond, self._middleware_failed)
        self._serves_documents = documents
        self._documents = Documents(
            catalogue,
            services,
            base_path=base_path,
            rpc_url=lambda: str(address_of(_RPC)),
            authenticators=self._authenticators,
            title=title,
            version=version,
            has_page=has_page,
        )
        self._errors = ErrorResponses(self._authenticators, debug=debug)
        self._listing = Listing(catalogue, services, address_of)
        self.decoder = BodyDecoder(max_containers)
        self.decompression = DecompressionLimit(max_body)
        around_late = self._around_late if self._http_middleware else None
        self._calls = FunctionCalls(
            dispatcher,
            self._errors,
            self.decoder,
            cache_control=f"private, max-age={int(max_age)}" if max_age >= 1 else "private, no-cache",
            around_late=around_late,
        )
        #: See `portal.serving.messages.stored_body.BodyRules`.
        self.body_rule = FunctionBodies(base_path, catalogue, self._authenticators).rule
        self._keys = RequestKeys(base_path, catalogue, self._proxies, self._secrets if self._authenticators else None)
        self._charges = RequestCharges(dispatcher)
        self._rpc = RPCEndpoint(
            catalogue,
            dispatcher,
            discover=self._documents.discovered if documents else None,
            charges=self._charges,
            decoder=self.decoder,
            max_batch_response=max_batch_response,
            debug=debug,
            key_of=self._keys.name_of,
            around_late=around_late,
        )
        self.batches_cut = self._rpc.batches_cut
        #: See `portal.serving.messages.app.KeyedApp`.
        self.keys = self._keys.of
        self._early = early_authentication(
            self._authenticators, self._http_middleware, self._errors, self._secrets, self._middleware_failed
        )
        self._has_checked_names = False
        self._name_check = threading.Lock()  # acquired once, by the thread that checks, and never released

    def handle(self, request: Request) -> Response:
        """Return the response to a request; see `portal.serving.App`.

        If the request comes from a server that lets only this thread respond, this returns by the deadline.
        """
        if request.headers.get("host") not in self._hosts.known and not self._hosts.accepts(request):
            return self._errors.respond(request, self._hosts.error(request), None)
        if self._proxies:
            request.resolve_peer(client_address(request.peer, request.headers.get("x-forwarded-for"), self._proxies))
        if not self._http_middleware:
            return self._respond(request)
        request.notes["decompression"] = self.decompression
        if self._secrets:
            request.notes["secrets"] = self._secrets
        return self._http_chain(request)

    def authenticates_at(self, head: RequestHead) -> Literal["never", "head", "body"]:
        """Return when the caller of a request is known; see `portal.serving.messages.app.Authenticating`."""
        if not self._authenticators:
            return "never"
        return "head" if self._early is not None and head.method == "POST" else "body"

    def authenticate_head(self, request: Request) -> Identity | Response:
        """Return the identity of the caller of a request without its body, or the response that rejects it."""
        assert self._early is not None
        if request.headers.get("host") not in self._hosts.known and not self._hosts.accepts(request):
            return self._errors.respond(request, self._hosts.error(request), None)
        if self._proxies:
            request.resolve_peer(client_address(request.peer, request.headers.get("x-forwarded-for"), self._proxies))
        return self._early.authenticate(request)

    def trusts(self, peer: str) -> bool:
        """Return whether an address is that of a trusted proxy; see `portal.serving.messages.app.ProxyAware`."""
        return is_trusted_proxy(peer, self._proxies)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of what is published now."""
        return self._documents.openapi()

    def authentication_counters(self) -> dict[str, int]:
        """Return the counters of the authenticators and of HTTP middleware such as AuthFailureLimit."""
        return counters_of((*self._authenticators, *self._http_middleware))

    def _middleware_failed(self, request: Request, error: Exception) -> Response:
        """Return the response to what a middleware raises; the middleware around it sees this response."""
        if isinstance(error, PortalError):
            _note_guess(request, error)
            return self._errors.respond(request, error, None)
        _log.error("middleware around %s %s failed", request.method, request.path, exc_info=error)
        return self._errors.internal(request, error, None)

    def _around_late(self, request: Request, response: Response) -> Response:
        """Pass the response at a deadline through the HTTP middleware."""
        request.notes["late"] = True
        return build_http_chain(self._http_middleware, lambda _: response, self._middleware_failed)(request)

    def _respond(self, request: Request) -> Response:
        context: CallContext | None = None
        if not self._has_checked_names and self._name_check.acquire(blocking=False):
            self._has_checked_names = True
            self._check_names()
        try:
            context = context_of(request.headers, request.arrived)
            if self._serves_documents and request.method != "POST":
                document = self._documents.find(request.path)
                if document is not None:
                    return self._documents.respond(request, document)
            if self._authenticators:
                context.identity = request.known_identity or authenticate(self._authenticators, request)
                request.notes["identity"] = context.identity.name
                if request.held is not None:
                    request.held.hold(("identity", context.identity.name))
            path, version = self._target(request)
            if request.method != "POST":
                return self._respond_to_other(path, version, request, context)
            if is_coded(request):
                return self._errors.unsupported_coding(request, context)
            if self._is_rpc(path):
                return self._rpc.respond(request, context)
            try:
                entry = self._catalogue.find(path, version)
            except RegistryError:  # `_reject_unknown` raises it again
                entry = None
            if entry is None:
                return self._reject_unknown(path, version, request, context)
            return self._calls.respond(entry, request, context)
        except PortalError as error:
            _note_guess(request, error)
            allow = {"Allow": self._allow(request)} if error.status == 405 else {}
            return self._errors.respond(request, error, context, allow)
        except Exception as error:
            _log.exception("responding to %s %s failed", request.method, request.path)
            return self._errors.internal(request, error, context)

    def _check_names(self) -> None:
        """Log the names given to middleware that name nothing published: a typo would silently disable the rule.

        The first request does this, as everything is published by then.
        """
        published = {name for entry in self._catalogue.entries() for name in (entry.function.name, entry.group)}
        for layer in self._dispatcher.middleware:
            named = getattr(layer, "named", None)  # of Portal's middleware; that of others may be anything
            for name in sorted(named - published) if isinstance(named, frozenset) else ():
                near = get_close_matches(name, published, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                _log.error("%s names %s, which is not published here%s", type(layer).__name__, name, hint)

    # routing

    def _target(self, request: Request) -> Target:
        """Return the catalogue path and the version that a request asks for. Raises: RegistryError."""
        tail = request.path[len(self._base) :]
        # "/apis" is not below "/api". A document beside the base path has been found before.
        if not request.path.startswith(self._base) or tail[:1] not in _BELOW:
            raise RegistryError(f"no function is published at {request.path[:200]}")
        return read_target(tail, request.query)

    def _is_rpc(self, path: tuple[str, ...]) -> bool:
        return path == _RPC and self._catalogue.find(path) is None

    def _respond_to_other(
        self, path: tuple[str, ...], version: str | None, request: Request, context: CallContext
    ) -> Response:
        """Return the response to a request that calls no function."""
        method = request.method
        if method == "OPTIONS":
            return Response(204, [("Allow", self._allow(request)), ("X-Request-ID", context.request_id)])
        if method in ("GET", "HEAD") and not self._is_rpc(path):
            return self._describe(path, version, request, context)
        raise ProtocolError(f"method {method} is not allowed here", status=405 if method in _METHODS else 501)

    def _reject_unknown(
        self, path: tuple[str, ...], version: str | None, request: Request, context: CallContext
    ) -> Response:
        reply: dict[str, str] = {}
        try:
            self._charges.charge(request.peer, context, reply)
            entry = self._catalogue.get(path, version)
        except PortalError as error:
            return self._errors.respond(request, error, context, reply)
        return self._calls.respond(entry, request, context)  # published meanwhile

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
        elif self._authenticators:
            # Shared caches store responses unless the request has Authorization (RFC 9111 section 3.5).
            response.add_header("Cache-Control", "private, no-cache")
        return response

    def _is_published(self, path: tuple[str, ...], version: str | None) -> bool:
        try:
            return self._catalogue.find(path, version) is not None
        except RegistryError:
            return False

    def _allow(self, request: Request) -> str:
        """Return the allowed methods of the request's path (RFC 9110 section 10.2.1)."""
        if self._serves_documents and self._documents.find(request.path) is not None:
            return _METHODS_OF_DOCUMENT
        path, _ = read_target(request.path[len(self._base) :], "")
        if self._catalogue.find(path) is not None:
            return METHODS_OF_FUNCTION
        if path == _RPC:
            return _METHODS_OF_RPC
        return _METHODS_OF_LISTING if self._listing.is_list(path) else METHODS_OF_FUNCTION


def _note_guess(request: Request, error: PortalError) -> None:
    """Note for AuthFailureLimit that the request had a credential that may have been guessed."""
    if isinstance(error, AuthenticationError) and error.guess:
        request.notes["guess"] = True


def _credential_names(authenticators: Iterable[Any]) -> frozenset[str]:
    """Return the names, in lower case, of the headers and query parameters that credentials are read from."""
    places = (getattr(one, place, None) for one in authenticators for place in ("header", "query"))
    return frozenset(name.lower() for name in places if isinstance(name, str))
