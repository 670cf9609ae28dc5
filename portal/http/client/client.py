"""HTTPClient: calls as HTTP requests, responses as results or portal errors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..._internal.json_encoder import encode_json
from ..._internal.json_text import JSONValue, decode_finite_json
from ..._internal.settings import count, flag, instance, positive_seconds, require, size
from ...address import Address
from ...auth.credentials import ClientAuth, Credential, credentials_of
from ...cache.response_cache import ResponseCache
from ...calls.deadlines import StreamProgress, uncalled_error
from ...context import CallContext
from ...errors import (
    AddressError,
    AuthenticationError,
    CallTimeout,
    ConfigError,
    Fault,
    PortalError,
    ProtocolError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ...function import ResolvedFunction
from ...network.function import check_input, schema_at
from ...network.problem import PROBLEM, error_of
from ...network.proxies import Proxies
from ...network.tls import ClientTLS
from ...schema import FunctionSchema
from ...schema.codecs.files import with_base64
from ..messages.content_coding import MAX_RATIO
from ..messages.event_stream import EVENTS, JSON, read_events
from ..messages.multipart import MultipartBody
from .authentication import AuthenticatingTransport
from .batches import JSONRPCBatches
from .body import iter_body
from .caching import CachedHTTPCalls
from .compression import CompressingTransport
from .files import encode_files, is_file, receive_file
from .pool import ConnectionLimits, ConnectionPools
from .request import NO_HEADERS, ClientRequest, ClientResponse, SendsRequests
from .requests_session.transport import SessionTransport
from .result import (
    ReceivedResponse,
    check_containers,
    decode_result,
    locate_error,
    read_response,
    require_success,
    require_type,
)
from .tls_pool import TLSConnectionPools
from .transport import HTTPTransport
from .urllib3_transport import Urllib3Transport

if TYPE_CHECKING:
    import requests

__all__ = ["HTTPClient"]


class HTTPClient:
    """Send calls to HTTP servers; the transport of resolved functions.

    Args:
        connect_timeout: seconds to connect, within the deadline of the call.
        read_timeout: seconds that a server may send nothing; None for no limit but the deadline of the call.
        timeout: seconds for a request without a deadline, such as fetching a schema or calling a resolved function;
            None for no limit.
        max_idle_connections: idle connections to keep for each server, of 256 servers at most. More are opened when
            needed and closed after use.
        max_response_size: bytes of a response, or of one item of a stream.
        max_file_size: bytes of a file that a function returns and that is loaded into a `File`. A file of more than
            1 MiB is kept in a temporary file.
        max_ratio: decompressed bytes of a response for each compressed byte, beyond 1 MiB; not for streams.
        max_containers: objects and arrays in the JSON of a response, or of one item of a stream. Each takes more memory
            than text.
        validate: reject parameters that do not fit the schema before they are sent.
        tls: trusted authorities and the client's certificate for https.
        proxy: the address of an HTTP proxy for all requests, such as "http://user:password@proxy:3128". "environment"
            for those in HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, read when the client is made. None ignores the
            environment: calls to this machine or within one network must not go through a proxy unasked. Requests to a
            Unix socket never go through a proxy.
        auth: the credential to send: a bearer token, (user, password), headers by name such as {"X-API-Key": key}, a
            callable of the address, or a credential of `portal.auth.credentials`. ByAuthority sends each secret to its
            own server only.
        cache: keeps the responses of functions declared cacheable; None for no cache.
        compress_min_size: bytes from which parameters are sent in gzip, to servers that accept it
            (`portal.http.Compression`); None for never. Responses in gzip and deflate are always accepted, and are
            decompressed up to `max_response_size`.
        sockets: paths of Unix sockets by authority: {"orders.local": "/run/orders.sock"} sends requests for
            http://orders.local/ to that socket.
        session: sends every request through a `requests.Session`, with its adapters, authentication, proxies, hooks,
            cookies and certificates. A callable makes one for each thread that sends. It excludes `tls`, `proxy` and
            `sockets`, which the session has itself. None uses connections of our own.
        max_exchanges: exchanges of a session at a time; further ones wait. If the callers of half of them have stopped
            waiting, because an adapter hangs, further calls raise OverloadedError.

    Raises: ConfigError for a wrong setting.

    Threads: any; connections are shared. Fork: a child process opens connections of its own.
    """

    carries_files = True  # see `ResolvedFunction.call`

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        timeout: float | None = 30.0,
        max_idle_connections: int = 32,
        max_response_size: int = 64 * 1024 * 1024,
        max_file_size: int = 4 * 1024 * 1024 * 1024,
        max_ratio: int = MAX_RATIO,
        max_containers: int = 2_000_000,
        validate: bool = True,
        tls: ClientTLS | None = None,
        proxy: str | None = None,
        sockets: Mapping[str, str] | None = None,
        session: requests.Session | Callable[[], requests.Session] | None = None,
        max_exchanges: int = 64,
        compress_min_size: int | None = None,
        auth: ClientAuth = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self.timeout = positive_seconds("client.timeout", timeout, optional=True)
        self._max_response_size = size("client.max_response_size", max_response_size)
        self._max_file_size = size("client.max_file_size", max_file_size)
        self._max_ratio = count("client.max_ratio", max_ratio)
        self._max_containers = count("client.max_containers", max_containers)
        self._validate = flag("client.validate", validate)
        min_size = size("client.compress_min_size", compress_min_size, minimum=0, optional=True)
        paths = _by_authority(sockets or {})
        limits = ConnectionLimits(
            connect_timeout=positive_seconds("client.connect_timeout", connect_timeout),
            read_timeout=positive_seconds("client.read_timeout", read_timeout, optional=True),
            max_idle=count("client.max_idle_connections", max_idle_connections),
        )
        instance("client.tls", tls, ClientTLS, optional=True)
        count("client.max_exchanges", max_exchanges)
        self._transport: HTTPTransport | SessionTransport
        if session is None:
            self._transport = _own_transport(limits, tls or ClientTLS(), proxy, paths)
        else:
            for name, value in (("tls", tls), ("proxy", proxy), ("sockets", sockets)):
                require(value is None, f"client.{name}", value, "left out beside session=, which has its own")
            self._transport = SessionTransport(session, limits, max_exchanges)
        self._encoder: SendsRequests = self._transport
        if min_size is not None:
            self._encoder = CompressingTransport(self._transport, min_size)
        self._use(
            None if auth is None else credentials_of(auth),
            instance("client.cache", cache, ResponseCache, optional=True),
        )

    def _use(self, credential: Credential | None, cache: ResponseCache | None) -> None:
        """Arrange the layers around the transport."""
        self._credential, self._cache = credential, cache
        self._sender: SendsRequests = self._encoder
        if credential is not None:
            self._sender = AuthenticatingTransport(self._encoder, credential, self._max_response_size)
        self._cached_calls = None if cache is None else CachedHTTPCalls(cache, self._exchange, self._cache_scope)
        self._batches = JSONRPCBatches(self._encode_json, self._exchange, self._has_same_credential)

    def with_credentials(self, auth: Credential | None, cache: ResponseCache | None) -> HTTPClient:
        """Return a client with a credential and a cache where this one has none; it shares the connections."""
        credential = auth if self._credential is None else self._credential
        kept = cache if self._cache is None else self._cache
        if credential is self._credential and kept is self._cache:
            return self
        other = copy.copy(self)
        other._use(credential, kept)
        return other

    def stats(self) -> dict[str, int]:
        """Return the numbers of abandoned exchanges, now ("abandoned") and in total; {} without `session=`."""
        return self._transport.stats() if isinstance(self._transport, SessionTransport) else {}

    def close(self) -> None:
        """Close idle connections. From now on, each connection closes after its response, those of later calls, too."""
        self._transport.close()

    # describing

    def describe(self, address: Address) -> FunctionSchema:
        """Return the schema of the function at an address.

        Raises: RegistryError (not_found) when no function is there; ProtocolError (405) if the address takes other
            methods only, so that it is not a portal's; TransportError and other portal errors.
        """
        return schema_at(self.get(address), address)

    def get(self, address: Address) -> JSONValue:
        """Return the JSON document at an address. Raises portal errors only, which say that no function was called."""
        request = ClientRequest("GET", address, None, CallContext.for_call(self.timeout), repeatable=True)
        try:
            return decode_result(self._receive(self._sender.send(request), request), address)
        except PortalError as error:
            if error.status == 405:
                words = f"{address} takes no GET (405), so it has no schema; it is not an address of a portal"
                hint = "call other servers with an HTTP library"
                raise ProtocolError(words, status=405, address=address, delivery="not_sent", hint=hint) from None
            if error.may_have_executed and isinstance(error, CallTimeout):
                raise uncalled_error(request.context, str(address)) from error
            if error.may_have_executed:
                error.delivery, error.hint = "not_sent", "the function was not called"
                error.retryable |= isinstance(error, TransportError)
            raise

    # calling

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call and return its result. Raises portal errors only."""
        address, schema = _address_of(function), function.schema
        if schema.streaming:
            words = f"{function.name} is a stream; iterate it with stream or stream_at"
            raise ProtocolError(words, status=406, address=address)
        body, headers = self._encode(function, params, context)
        request = ClientRequest("POST", address, body, context, JSON, schema.idempotent, headers)
        transfer = schema.transfer
        if transfer is not None and transfer.result:
            return self._receive_file(request._replace(accept="*/*"), transfer.result)
        if schema.cacheable and self._cached_calls is not None and (transfer is None or not transfer.files):
            return self._cached_calls.invoke(function, params, request._replace(repeatable=True))
        return decode_result(self._receive(self._sender.send(request), request), address)

    def call_batch(
        self, function: ResolvedFunction, params: Sequence[Mapping[str, Any]], context: CallContext
    ) -> dict[int, Any] | None:
        """Make calls of one function in one request; see `JSONRPCBatches.call`.

        Returns: results and errors by position. A call that is not in it is to be made by `invoke`. None if calls of
            this function are not made in batches.
        Raises: CallCancelled.
        """
        if function.schema.cacheable and self._cached_calls is not None:
            return None
        return self._batches.call(function, params, context)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call and return its items as they arrive. Raises portal errors only."""
        address = _address_of(function)
        if not function.streaming:
            raise ProtocolError(f"{function.name} is not a stream; call it", status=406, address=address)
        body, headers = self._encode(function, params, context)
        request = ClientRequest("POST", address, body, context, EVENTS, headers=headers)
        progress = StreamProgress(context, str(address))
        response = self._sender.send(request)
        if response.status != 200:
            decode_result(self._receive(response, request), address)  # raises
        try:
            require_type(response.headers, EVENTS, address)
        except ProtocolError:
            response.close()
            raise
        return self._iter_items(response, request, progress)

    def _encode(
        self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext
    ) -> tuple[bytes | MultipartBody, Mapping[str, str]]:
        """Return the body of a request, and the headers that are parameters."""
        if type(params) is not dict and isinstance(params, Mapping):
            params = dict(params)  # any mapping is accepted, as where the function runs in this process
        if self._validate:
            check_input(function, params, context)
        try:
            transfer = function.schema.transfer
            if transfer is None:  # also a schema that was fetched after files were encoded
                return encode_json(with_base64(params)), NO_HEADERS
            return encode_files(transfer, params)
        except SerializationError as error:
            # A ValidationError, as where the function runs in this process.
            raise ValidationError(errors=[Fault("", str(error), "json", None)]) from None

    def _encode_json(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> bytes:
        """Return the parameters of a function without files as JSON text."""
        body, _ = self._encode(function, params, context)
        assert isinstance(body, bytes)
        return body

    def _has_same_credential(self, address: Address, other: Address) -> bool:
        """Return whether the credential for one address is also that for another one of its server."""
        credential = self._credential
        try:
            return credential is None or credential.headers(address, None) == credential.headers(other, None)
        except PortalError:
            return False

    def _receive_file(self, request: ClientRequest, kind: str) -> Any:
        response = self._sender.send(request)
        if not is_file(response):
            return decode_result(self._receive(response, request), request.address)
        sizes = {"max_file_size": self._max_file_size, "max_size": self._max_response_size}
        return receive_file(response, request, kind, **sizes)

    def _exchange(self, request: ClientRequest) -> ReceivedResponse:
        return self._receive(self._sender.send(request), request)

    def _receive(self, response: ClientResponse, request: ClientRequest) -> ReceivedResponse:
        """Read a response to its end. Raises the server's error for an error status."""
        received = read_response(response, request, self._max_response_size, self._max_ratio)
        if len(received.body) > self._max_containers:
            check_containers(received.body, self._max_containers, request.address)
        if received.status == 200:
            return received
        try:
            return require_success(received, request.address)
        except AuthenticationError as error:
            if self._credential is None and not error.executed:
                error.hint = "pass Consumer(auth=...)"
            raise

    def _cache_scope(self, request: ClientRequest) -> str:
        """Return the part of a cache key that keeps responses for different credentials and servers apart."""
        address, deadline = request.address, request.context.deadline
        headers = {} if self._credential is None else self._credential.headers(address, deadline)
        return repr((sorted(headers.items()), self._transport.identity(address)))

    def _iter_items(self, response: ClientResponse, request: ClientRequest, progress: StreamProgress) -> Iterator[Any]:
        address = request.address
        pieces = iter_body(response, request, stream=progress)
        complete = False
        try:
            for name, data in read_events(pieces, self._max_response_size):
                if name == "complete":
                    complete = True
                elif name == "error":
                    raise locate_error(error_of(500, PROBLEM, data, {}), address)
                else:
                    if len(data) > self._max_containers:
                        check_containers(data, self._max_containers, address)
                    item = decode_finite_json(data)
                    progress.items += 1
                    yield item
        finally:
            if not complete:
                response.close()
        if not complete:
            words = f"the stream of {address} ended before it was complete"
            raise TransportError(words, address=address, scheme=address.scheme)


def _address_of(function: ResolvedFunction) -> Address:
    assert function.address is not None
    return function.address


def _own_transport(
    limits: ConnectionLimits, tls: ClientTLS, proxy: str | None, paths: Mapping[str, str]
) -> HTTPTransport:
    """Return a transport with connections of our own; proxies need those of urllib3."""
    return HTTPTransport(
        ConnectionPools(limits, paths),
        TLSConnectionPools(limits, tls),
        Urllib3Transport(limits, tls),
        Proxies(proxy, paths),
    )


def _by_authority(sockets: Mapping[str, str]) -> dict[str, str]:
    """Return the paths of Unix sockets by authority in normal form: lower case, without the default port."""
    try:
        return {Address.parse(f"http://{name}").authority: path for name, path in sockets.items()}
    except AddressError as error:
        expected = 'paths by authority, such as {"orders.local": "/run/orders.sock"}'
        raise ConfigError.invalid("client.sockets", sockets, expected, cause=error) from error
