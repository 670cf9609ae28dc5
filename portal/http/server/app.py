"""HTTPApp: the server side of the HTTP portal: a request in, a response out.

POST {base}/rpc   calls as JSON-RPC       GET /openapi.json, /openrpc.json, /docs, /health, and the same below {base}
POST {function}   a call                  GET {function}   its schema
GET {service}     its functions           GET {base}       everything published
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...address import Address
from ...auth.authentication import ServerAuth, authenticate, authenticators_of
from ...calls.dispatcher import Dispatcher
from ...calls.plugins import counters_of
from ...catalogue import Catalogue
from ...context import CallContext, Identity
from ...errors import AuthenticationError, PortalError, RegistryError
from ...http11.forwarded import Proxy, client_address, is_trusted_proxy
from ...http11.request_head import RequestHead
from ...network.charges import RequestCharges
from ...network.host_check import HostCheck
from ...network.listing import Listing
from ...service import Service
from ...serving import Request, Response, ServingConfig
from ..documents.pages import Documents, DocumentSettings
from ..messages.call_headers import context_of
from ..messages.content_coding import DecompressionLimit
from ..middleware.base import HTTPMiddleware, build_http_chain
from .body_limits import FunctionBodies
from .deadline_responder import AroundLate
from .descriptions import Descriptions
from .early_authentication import early_authentication
from .error_responses import ErrorResponses
from .function_calls import FunctionCalls
from .health import HealthChecks
from .name_check import NameCheck
from .negotiation import is_coded
from .request_keys import RequestKeys
from .routes import Routes
from .rpc import RPCEndpoint
from .target import RPC_PATH, Target, read_target

__all__ = ["HTTPApp"]

_log = get_logger("portal.http")
_BELOW = ("", "/")


class HTTPApp:
    """Responds to the requests under one base path.

    Args:
        catalogue: what is published.
        services: the published services by name.
        dispatcher: runs the calls.
        base_path: "" or "/api".
        address_of: returns the address of a catalogue path.
        hosts: decides which values of the Host header are accepted. Other requests get 421 before any middleware runs.
        proxies: the proxies whose X-Forwarded-For is trusted.
        auth: authenticators, as `authenticators_of` takes them; None lets everybody call.
        http_middleware: around every request, the first outermost. Authentication and calls are inside of it.
        debug: whether clients see what functions raise.
        max_age: seconds for which clients may keep the results of cacheable functions without asking again.
        documents: what the documents say, and whether they are served.
        config: of the listener; its `max_body` also limits bodies that a middleware has decompressed.
        health_path: of the health checks, which are served before anything else; None serves none.
        problem: returns why the portal is not ready, or None.

    Attributes:
        batches_cut: counts the JSON-RPC batches whose results were longer than `max_batch_response` of the config.
        decompression: the limit of decompressed bodies, which middleware finds in `request.notes`.
        decoder: decodes the bodies and counts those with too many objects and arrays.
        prompt_paths: see `portal.serving.messages.app.PromptApp`.

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
        hosts: HostCheck,
        proxies: tuple[Proxy, ...],
        auth: ServerAuth,
        http_middleware: tuple[HTTPMiddleware, ...],
        debug: bool,
        max_age: int,
        documents: DocumentSettings,
        config: ServingConfig,
        health_path: str | None,
        problem: Callable[[], str | None],
    ) -> None:
        self._base = base_path
        self._catalogue = catalogue
        # who may send requests
        self._hosts = hosts
        self._proxies = proxies
        self._authenticators = authenticators_of(auth)
        self._secrets = _credential_names(self._authenticators)
        # around each request
        self._http_middleware = http_middleware
        self._http_chain = build_http_chain(http_middleware, self._respond, self._middleware_failed)
        self._name_check = NameCheck(catalogue, dispatcher.middleware)
        # what responds
        self.decoder = BodyDecoder(config.max_containers)
        self.decompression = DecompressionLimit(config.max_body)
        self._errors = ErrorResponses(self._authenticators, debug=debug)
        self._charges = RequestCharges(dispatcher)
        self._routes = Routes(catalogue)
        self._health = HealthChecks(health_path, base_path, problem, self._is_published)
        self.prompt_paths = self._health.root_paths
        self._serves_documents = documents.served
        self._documents = self._make_documents(services, address_of, documents)
        self._descriptions = self._make_descriptions(Listing(catalogue, services, address_of))
        around_late = self._around_late if http_middleware else None
        self._calls = FunctionCalls(dispatcher, self._errors, self.decoder, max_age=max_age, around_late=around_late)
        keys = RequestKeys(base_path, catalogue, proxies, self._secrets if self._authenticators else None)
        batches = config.max_batch_response
        self._rpc = self._make_rpc(dispatcher, keys, around_late, max_batch_response=batches, debug=debug)
        self.batches_cut = self._rpc.batches_cut
        # what the listener asks before a request is complete
        #: See `portal.serving.messages.stored_body.BodyRules`.
        self.body_rule = FunctionBodies(base_path, catalogue, self._authenticators).rule
        #: See `portal.serving.messages.app.KeyedApp`.
        self.keys = keys.of
        self._keys = keys
        self._early = early_authentication(
            self._authenticators, http_middleware, self._errors, self._secrets, self._middleware_failed
        )

    def _make_documents(
        self,
        services: Mapping[str, Service],
        address_of: Callable[[tuple[str, ...]], Address],
        settings: DocumentSettings,
    ) -> Documents:
        return Documents(
            self._catalogue,
            services,
            base_path=self._base,
            rpc_url=lambda: str(address_of(RPC_PATH)),
            authenticators=self._authenticators,
            title=settings.title,
            version=settings.version,
            has_page=settings.has_page,
        )

    def _make_descriptions(self, listing: Listing) -> Descriptions:
        return Descriptions(
            self._catalogue,
            listing,
            self._documents if self._serves_documents else None,
            self._charges,
            self._errors,
            base_path=self._base,
            protected=bool(self._authenticators),
        )

    def _make_rpc(
        self,
        dispatcher: Dispatcher,
        keys: RequestKeys,
        around_late: AroundLate | None,
        *,
        max_batch_response: int,
        debug: bool,
    ) -> RPCEndpoint:
        return RPCEndpoint(
            self._catalogue,
            dispatcher,
            discover=self._documents.discovered if self._serves_documents else None,
            charges=self._charges,
            decoder=self.decoder,
            max_batch_response=max_batch_response,
            debug=debug,
            key_of=keys.name_of,
            around_late=around_late,
        )

    def handle(self, request: Request) -> Response:
        """Return the response to a request; see `portal.serving.App`.

        If the request comes from a server that lets only this thread respond, this returns by the deadline.
        """
        if request.path in self._health.paths and (check := self._health.find(request.path)) is not None:
            return check(request)
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
        if not self._name_check.done:
            self._name_check.run()
        try:
            context = context_of(request.headers, request.arrived)
            route = self._routes.find(request)
            if route is None and self._serves_documents and request.method != "POST":
                document = self._documents.find(request.path)
                if document is not None:
                    return self._documents.respond(request, document)
            if self._authenticators:
                context.identity = request.known_identity or authenticate(self._authenticators, request)
                request.notes["identity"] = context.identity.name
                if request.held is not None:
                    request.held.hold(("identity", context.identity.name))
                    self._keys.accept(request.head, request.tls_identity, context.identity.name)
            if route is not None:
                respond = self._calls.respond_plain if route.is_plain else self._calls.respond
                return respond(route.entry, request, context)
            path, version = self._target(request)
            if request.method != "POST":
                return self._descriptions.respond(path, version, request, context)
            if is_coded(request):
                return self._errors.unsupported_coding(request, context)
            if path == RPC_PATH and self._catalogue.find(path) is None:
                return self._rpc.respond(request, context)
            generation = self._catalogue.generation
            try:
                entry = self._catalogue.find(path, version)
            except RegistryError:  # `_reject_unknown` raises it again
                entry = None
            if entry is None:
                return self._reject_unknown(path, version, request, context)
            self._routes.add(request, entry, generation)
            return self._calls.respond(entry, request, context)
        except PortalError as error:
            _note_guess(request, error)
            allow = {"Allow": self._descriptions.allowed_methods(request)} if error.status == 405 else {}
            return self._errors.respond(request, error, context, allow)
        except Exception as error:
            _log.exception("responding to %s %s failed", request.method, request.path)
            return self._errors.internal(request, error, context)

    # routing

    def _is_published(self, name: str) -> bool:
        return any(entry.path[0] == name for entry in self._catalogue.entries())

    def _target(self, request: Request) -> Target:
        """Return the catalogue path and the version that a request asks for. Raises: RegistryError."""
        tail = request.path[len(self._base) :]
        # "/apis" is not below "/api". A document beside the base path has been found before.
        if not request.path.startswith(self._base) or tail[:1] not in _BELOW:
            raise RegistryError(f"no function is published at {request.path[:200]}")
        return read_target(tail, request.query)

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


def _note_guess(request: Request, error: PortalError) -> None:
    """Note for AuthFailureLimit that the request had a credential that may have been guessed."""
    if isinstance(error, AuthenticationError) and error.guess:
        request.notes["guess"] = True


def _credential_names(authenticators: Iterable[Any]) -> frozenset[str]:
    """Return the names, in lower case, of the headers and query parameters that credentials are read from."""
    places = (getattr(one, place, None) for one in authenticators for place in ("header", "query"))
    return frozenset(name.lower() for name in places if isinstance(name, str))
