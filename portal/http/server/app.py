"""The server side of the HTTP portal: a request in, a response out.

POST {base}/rpc   calls as JSON-RPC       GET /openapi.json, /openrpc.json, /docs, and the same below {base}
POST {function}   a call                  GET {function}   its schema
GET {service}     its functions           GET {base}       everything published
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache, partial
from math import ceil, isfinite
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, unquote

from ..._internal.closing import close_resource
from ..._internal.json_text import encode_json
from ...address import Address
from ...auth.server import authenticate, authenticators_of, challenges_of
from ...calls.dispatcher import Dispatcher
from ...calls.middleware import Call
from ...catalogue import Catalogue, Entry
from ...context import CallContext, new_request_id
from ...errors import (
    AddressError,
    CallTimeout,
    FunctionError,
    PortalError,
    ProtocolError,
    RegistryError,
    SerializationError,
)
from ...http11.entity_tags import entity_tag, matches_tag
from ...http11.forwarded import client_address, trusted_networks
from ...service import Service
from ...serving import Request, Response
from ..documents.pages import Documents
from ..messages.call_headers import context_of
from ..messages.event_stream import EVENTS, JSON, write_event
from ..messages.problem import PROBLEM, problem_of
from ..middleware.base import HTTPMiddleware, build_http_chain
from .negotiation import is_coded, json_type, params_of, stream_type
from .rpc import RPCEndpoint

__all__ = ["HTTPApp"]

_log = logging.getLogger("portal.http")
_ALLOW = "GET, HEAD, OPTIONS, POST"
_ALLOW_DOCUMENT = "GET, HEAD"
_ALLOW_LISTING = "GET, HEAD, OPTIONS"
_ALLOW_RPC = "OPTIONS, POST"
#: Methods that are known everywhere: one that is not served here gets 405, any other 501 (RFC 9110 section 9.1).
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_RPC = ("rpc",)
_BELOW = ("", "/")
_NOTHING: Mapping[str, str] = {}
Early = Callable[[Response], bool]


class HTTPApp:
    """Answers requests under one base path from a catalogue.

    Args:
        catalogue: what is published.
        services: the published services by name.
        dispatcher: runs the calls.
        base_path: "" or "/api".
        address_of: the address of a catalogue path.
        debug: whether clients see what functions raise.
        auth: who may call: what `authenticators_of` takes; None lets everybody in.
        http_middleware: around every request, the first outermost; authentication and calls are inside.
        trusted_proxies: networks whose X-Forwarded-For is believed.
        max_age: seconds for which clients may keep the answers of functions declared cacheable without asking.
        documents: whether /openapi.json, /openrpc.json and /docs are served; to everybody, with what is published.
        title, version: of the interface, as the documents tell them.

    A request goes through: HTTP middleware, authentication, look-up, call middleware, validation, the function.
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
        debug: bool = False,
        auth: Any = None,
        http_middleware: Iterable[HTTPMiddleware] = (),
        trusted_proxies: Iterable[str] = (),
        max_age: float = 0.0,
        documents: bool = True,
        title: str = "Portal",
        version: str = "1",
    ) -> None:
        self._authenticators = authenticators_of(auth)
        self._secrets = _places_of_secrets(self._authenticators)
        self._http_middleware = tuple(http_middleware)
        self._http_chain = build_http_chain(self._http_middleware, self._answer_inside, self._refused)
        self._proxies = trusted_networks(trusted_proxies)
        self._cache_control = f"private, max-age={int(max_age)}" if max_age >= 1 else "private, no-cache"
        self._catalogue = catalogue
        self._services = services
        self._dispatcher = dispatcher
        self._base = base_path
        self._address_of = address_of
        self._debug = debug
        self._documents = Documents(
            catalogue,
            services,
            base_path=base_path,
            rpc_url=lambda: str(address_of(("rpc",))),
            authenticators=self._authenticators,
            title=title,
            version=version,
        )
        self._serves_documents = documents
        self._first = True  # until a request has come, by which time everything is published that was meant to be
        self._rpc = RPCEndpoint(catalogue, dispatcher, discover=self._documents.discovered, debug=debug)

    def answer(self, request: Request, early: Early | None = None) -> Response:
        """The response to a request; see `portal.serving.App`.

        Without `early` nobody else can answer, and this returns by the deadline.
        """
        if self._proxies:
            request.peer = client_address(request.peer, request.headers.get("x-forwarded-for"), self._proxies)
        if not self._http_middleware:
            return self._answer(request, early)
        if self._secrets:
            request.notes["secrets"] = self._secrets
        request.early = early
        return self._http_chain(request)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of what is published now."""
        return self._documents.openapi()

    def _refused(self, request: Request, error: Exception) -> Response:
        """The answer to what a middleware raises; it passes those outside of it."""
        if not isinstance(error, PortalError):
            _log.error("middleware around %s %s failed", request.method, request.path, exc_info=error)
            error = PortalError("internal error", cause=error)
        request.notes["code"] = error.code
        return self._refuse(error, None)

    def _answer_inside(self, request: Request) -> Response:
        early = request.early
        if early is None:
            return self._answer(request, None)

        return self._answer(request, partial(self._answer_late, request, early))

    def _answer_late(self, request: Request, early: Early, response: Response) -> bool:
        """The answer at the deadline passes the same middleware: a browser must be allowed to read it, too.

        Not where it ends a stream: that has passed them already.
        """
        if response.last:
            return early(response)
        request.notes["late"] = True
        return early(build_http_chain(self._http_middleware, lambda _: response, self._refused)(request))

    def _answer(self, request: Request, early: Early | None) -> Response:
        context: CallContext | None = None
        if self._first:
            self._first = False
            self._check_names()
        try:
            context = context_of(request.headers, monotonic())
            if self._serves_documents and request.method != "POST":
                document = self._documents.find(request.path)
                if document is not None:
                    return self._documents.answer(request, document)
            if self._authenticators:
                context.identity = authenticate(self._authenticators, request)
                request.notes["identity"] = context.identity.name
            return self._route(request, context, early)
        except PortalError as error:
            request.notes["code"] = error.code
            return self._refuse(error, context, {"Allow": self._allow(request)} if error.status == 405 else _NOTHING)
        except Exception as error:
            request.notes["code"] = PortalError.code
            _log.exception("answering %s %s failed", request.method, request.path)
            return self._refuse(PortalError("internal error", cause=error), context)

    def _check_names(self) -> None:
        """Say which names that middleware was given stand for nothing: a misspelt rule looks like one that protects."""
        published = {name for entry in self._catalogue.entries() for name in (entry.function.name, entry.group)}
        for layer in self._dispatcher.middleware:
            named = getattr(layer, "named", None)  # of ours; somebody else's may be anything
            for name in sorted(named - published) if isinstance(named, frozenset) else ():
                near = get_close_matches(name, published, 1)
                hint = f"; is {near[0]} meant?" if near else ""
                _log.error("%s names %s, which is not published here%s", type(layer).__name__, name, hint)

    # routing

    def _route(self, request: Request, context: CallContext, early: Early | None) -> Response:
        method = request.method
        tail = request.path[len(self._base) :]
        # A document's path, and nothing that is asked of one; "/documents" begins with "/doc" and is not below it.
        if not request.path.startswith(self._base) or tail[:1] not in _BELOW:
            raise RegistryError(f"nothing is called at {request.path[:200]}")
        if method == "OPTIONS":
            return Response(204, [("Allow", self._allow(request)), ("X-Request-ID", context.request_id)])
        path, version = _target(tail, request.query)
        if method == "POST":
            if is_coded(request):
                return self._refuse_coding(request, context)
            if path == _RPC and self._catalogue.find(path) is None:
                return self._rpc.answer(request, context)
            return self._call(self._catalogue.get(path, version), request, context, early)
        if method in ("GET", "HEAD") and (path != _RPC or self._catalogue.find(path) is not None):
            response = _json(200, self._describe(path, version, _base_of(request)), context)
            if self._authenticators:  # only `Authorization` keeps shared caches away by itself (RFC 9111 section 3.5)
                response.headers.append(("Cache-Control", "private, no-cache"))
            return response
        raise ProtocolError(f"{method} is not served here", status=405 if method in _METHODS else 501)

    def _allow(self, request: Request) -> str:
        """The methods that what the request names has (RFC 9110 section 10.2.1); of nothing, those of a function."""
        if self._serves_documents and self._documents.find(request.path) is not None:
            return _ALLOW_DOCUMENT
        path, _ = _target(request.path[len(self._base) :], "")
        if self._catalogue.find(path) is not None:
            return _ALLOW
        if path == _RPC:
            return _ALLOW_RPC
        return _ALLOW_LISTING if not path or (len(path) == 1 and path[0] in self._services) else _ALLOW

    def _describe(self, path: tuple[str, ...], version: str | None, base: Address | None) -> Any:
        if not path:
            return {
                "functions": [self._row(entry, base) for entry in self._catalogue.entries()],
                "services": [service.status() for service in list(self._services.values())],
            }
        service = self._services.get(path[0]) if len(path) == 1 else None
        if service is not None:
            rows = [self._row(entry, base) for entry in self._catalogue.entries() if entry.path[:-1] == path]
            return service.status() | {"description": service.description, "functions": rows}
        return self._catalogue.get(path, version).function.schema.to_dict()

    def _row(self, entry: Entry, base: Address | None) -> dict[str, Any]:
        """A row of a listing.

        Args:
            base: the address of everything published as the client wrote it, where another server serves this app.
        """
        schema = entry.function.schema
        address = self._address_of(entry.full_path) if base is None else base.child(*entry.full_path)
        return {
            "name": schema.name,
            "address": str(address),
            "version": schema.version,
            "service": entry.path[0] if len(entry.path) > 1 else None,
            "description": schema.description,
            "fingerprint": schema.fingerprint,
            "streaming": schema.streaming,
        }

    # calling

    def _call(self, entry: Entry, request: Request, context: CallContext, early: Early | None) -> Response:
        params = params_of(request)
        streaming = entry.function.schema.streaming
        accept = request.headers.get("accept", "*/*")
        media = stream_type(accept) if streaming else json_type(accept)
        if self._http_middleware:
            request.notes["function"] = "/".join(entry.path)
        call = Call(entry.function, params, context, streaming=streaming, peer=request.peer)
        call.group = entry.group

        def on_deadline(error: CallTimeout) -> None:
            error.with_context(operation=entry.function.name)
            request.notes["code"] = error.code
            response = self._refuse(error, context, call.replied)
            if streaming and isinstance(response.body, bytes):
                response.last = _failed_piece(response.body, media)
            assert early is not None
            early(response)

        try:
            result = self._dispatcher.dispatch(call, None if early is None else on_deadline)
        except PortalError as error:
            request.notes["code"] = error.code
            return self._refuse(error, context, call.replied)
        if not streaming:
            return self._whole(result, call, request)
        if request.connection is not None and request.head.keep_alive:
            # A client that has said that this is its last request may close its side and still read the answer.
            request.connection.on_hangup(context.cancel)
        body = self._stream(result, media, context)
        return Response(
            200,
            [
                ("Content-Type", media),
                ("Cache-Control", "no-store"),
                ("X-Request-ID", context.request_id),
                *call.replied.items(),
            ],
            body,
        )

    def _whole(self, result: Any, call: Call, request: Request) -> Response:
        try:
            response = _json(200, result, call.context, call.function.name)
        except SerializationError as error:  # of `validate_output="off"`, say
            error.delivery = "executed"
            raise
        if call.replied:
            response.headers.extend(call.replied.items())
        if call.function.schema.cacheable:
            assert isinstance(response.body, bytes)
            etag = entity_tag(response.body)
            response.headers += [("ETag", etag), ("Cache-Control", self._cache_control)]
            if matches_tag(request.headers.get("if-none-match"), etag):
                response.status, response.body = 304, b""
        return response

    def _stream(self, items: Iterator[Any], media: str, context: CallContext) -> Iterator[bytes]:
        events = media == EVENTS
        try:
            for item in items:
                data = encode_json(item)
                yield write_event(data) if events else data + b"\n"
        except PortalError as error:
            yield _failed_piece(self._problem(self._logged(error, context)), media)
            if not events:
                raise ConnectionAbortedError("the stream failed") from error
            return
        finally:
            context.cancel()
            close_resource(items)
        if events:
            yield write_event(b"null", "complete")

    # refusing

    def _refuse(self, error: PortalError, context: CallContext | None, reply: Mapping[str, str] = _NOTHING) -> Response:
        request_id = context.request_id if context is not None else new_request_id()
        error.with_context(request_id=request_id)
        body = self._problem(self._logged(error, context))
        headers = [("Content-Type", PROBLEM), ("X-Request-ID", request_id), *reply.items()]
        retry_after = getattr(error, "retry_after", None)
        if isinstance(retry_after, int | float) and isfinite(retry_after) and "retry-after" not in reply:
            headers.append(("Retry-After", str(max(1, ceil(retry_after)))))
        if error.status == 405 and "Allow" not in reply:
            headers.append(("Allow", _ALLOW))
        if error.status == 401:
            headers += [("WWW-Authenticate", one) for one in challenges_of(error, self._authenticators)]
        return Response(error.status, headers, body)

    def _refuse_coding(self, request: Request, context: CallContext) -> Response:
        """415 that says by its Accept-Encoding what it is about, so that the same may be sent again uncompressed."""
        coding = request.headers["content-encoding"]
        request.notes["code"] = ProtocolError.code
        error = ProtocolError(f"the body is encoded as {coding[:40]!r}, which is not taken here", status=415)
        response = self._refuse(error, context)
        response.headers.append(("Accept-Encoding", "identity"))
        return response

    def _problem(self, error: PortalError) -> bytes:
        try:
            return encode_json(problem_of(error, debug=self._debug))
        except SerializationError:  # members that no JSON carries must not cost the client its answer
            _log.exception("an error cannot be sent as JSON")
            plain = PortalError("internal error", context={"request_id": error.request_id})
            plain.status = error.status
            return encode_json(problem_of(plain, debug=self._debug))

    def _logged(self, error: PortalError, context: CallContext | None) -> PortalError:
        if isinstance(error, FunctionError):
            name = error.context.get("operation", "a function")
            request_id = context.request_id if context is not None else "-"
            _log.error("%s failed, request %s: %s", name, request_id, error, exc_info=error.__cause__)
        return error


def _places_of_secrets(authenticators: Iterable[Any]) -> frozenset[str]:
    """Names, in lower case, of the headers and query parameters that credentials are taken from."""
    places = (getattr(one, place, None) for one in authenticators for place in ("header", "query"))
    return frozenset(name.lower() for name in places if isinstance(name, str))


def _target(tail: str, query: str) -> tuple[tuple[str, ...], str | None]:
    return (_known_target if len(tail) + len(query) <= 256 else _read_target)(tail, query)


def _read_target(tail: str, query: str) -> tuple[tuple[str, ...], str | None]:
    """The catalogue path and the version that a request asks for."""
    path = tuple(unquote(segment) for segment in tail.split("/") if segment)
    versions = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "version"]
    return path, versions[0] if versions else None


_known_target = lru_cache(maxsize=1024)(_read_target)


def _base_of(request: Request) -> Address | None:
    """Where the client sees everything published, where another server serves this app and the client's Host is one."""
    base = getattr(request, "base", None)
    try:
        return None if base is None else Address.parse(base)
    except AddressError:
        return None


def _failed_piece(problem: bytes, media: str) -> bytes:
    """What tells a client that reads a stream why there is no more."""
    if media == EVENTS:
        return write_event(problem, "error")
    # A line by itself cannot tell an error from an item: the body is left without its end as well.
    return b'{"problem":' + problem + b"}\n"


def _json(status: int, value: Any, context: CallContext, operation: str | None = None) -> Response:
    try:
        body = encode_json(value)
    except SerializationError as error:
        raise error.with_context(operation=operation) from None
    return Response(status, [("Content-Type", JSON), ("X-Request-ID", context.request_id)], body)
