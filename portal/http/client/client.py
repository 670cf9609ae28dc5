"""The client side of the HTTP portal: calls as requests, answers as results or portal errors.

What a server says of its function (the schema, what is cacheable or idempotent) and who is calling are looked after
here; connections, and what a failure on one means, in `sender.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ..._internal.json_text import decode_json, encode_json
from ..._internal.settings import flag, instance, positive_seconds
from ...address import Address
from ...auth.credentials import Credential, credentials_of
from ...cache.cache_control import freshness
from ...cache.response_cache import ResponseCache, key_of
from ...context import CallContext
from ...errors import (
    AddressError,
    AuthenticationError,
    ConfigError,
    Fault,
    PortalError,
    ProtocolError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ...function import ResolvedFunction
from ...schema import FunctionSchema
from ..messages.event_stream import EVENTS, read_events
from ..messages.problem import PROBLEM, error_of
from .function import check_input
from .proxies import Proxies
from .transport import Answer, ClientRequest, Transport
from .urllib3_transport import ClientTLS

__all__ = ["HTTPClient"]

_Whole = tuple[int, Mapping[str, str], bytes]  # status, headers, body


class HTTPClient:
    """Sends calls to HTTP servers; the CallTransport of resolved functions.

    Args:
        connect_timeout: seconds to connect, within the call's own deadline.
        read_timeout: seconds for which a server may send nothing; None leaves that to the call's own deadline.
        timeout: seconds for a request that has no deadline of its own: asking for a schema, calling a function that was
            resolved; None waits for ever.
        connections: kept for each server, of 256 at most; more are opened when needed and closed after use.
        max_answer: bytes of an answer, or of one item of a stream.
        validate: refuse parameters that do not fit the schema before sending them.
        tls: what is trusted and shown over https.
        proxy: address of an HTTP proxy that everything is sent through, such as "http://user:password@proxy:3128";
            "environment" for those that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name when the client is made.
            None sends everything straight to its server, whatever the environment says: calls to this machine, or
            within one network, must not go elsewhere unasked. Nothing for a Unix socket goes through a proxy.
        auth: what to send so that servers know who calls: a bearer token, (user, password), headers by name such as
            {"X-API-Key": key}, a callable of the address, or a credential of `portal.auth.credentials`: ByAuthority
            sends each secret to its own server only.
        cache: keeps answers of functions declared cacheable; None keeps none.
        compress: bytes from which parameters are sent in gzip, to servers that take it (`portal.http.Compression`);
            None never does. Answers are taken in gzip and deflate, and never grow past `max_answer`.
        sockets: Unix sockets by the authority that stands for them: {"orders.local": "/run/orders.sock"} sends what
            is for http://orders.local/ there.

    Raises: ConfigError for a wrong setting.

    Threads: any; connections are shared. Fork: a child opens connections of its own.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        timeout: float | None = 30.0,
        connections: int = 32,
        max_answer: int = 64 * 1024 * 1024,
        validate: bool = True,
        tls: ClientTLS | None = None,
        proxy: str | None = None,
        sockets: Mapping[str, str] | None = None,
        compress: int | None = None,
        auth: Any = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self.timeout = positive_seconds("client.timeout", timeout, optional=True)
        self._max_answer = max_answer
        self._validate = flag("client.validate", validate)
        self._credential = None if auth is None else credentials_of(auth)
        self._cache = instance("client.cache", cache, ResponseCache, optional=True)
        places = _by_authority(sockets or {})
        self._sender = Transport(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            connections=connections,
            max_answer=max_answer,
            compress=compress,
            tls=tls,
            proxies=Proxies(proxy, places),
            sockets=places,
        )

    def with_credentials(self, auth: Credential | None, cache: ResponseCache | None) -> HTTPClient:
        """Return this client with a credential and a cache where it has none; connections stay shared."""
        credential = self._credential if auth is None or self._credential is not None else auth
        kept = self._cache if cache is None or self._cache is not None else cache
        if credential is self._credential and kept is self._cache:
            return self
        other = copy.copy(self)
        other._credential, other._cache = credential, kept
        return other

    def close(self) -> None:
        """Close the connections that are idle; those in use close after their answer."""
        self._sender.close()

    # describing

    def describe(self, address: Address) -> FunctionSchema:
        """The schema of the function at an address; RegistryError when something else or nothing is there."""
        data = self.get(address)
        try:
            return FunctionSchema.from_dict(data)
        except (SerializationError, RegistryError, TypeError, KeyError):
            raise RegistryError(f"no function is at {address}", address=address) from None

    def get(self, address: Address) -> Any:
        """The JSON document at an address. An error of it says that no function was called."""
        context = CallContext.for_call(self.timeout)
        try:
            return self._decode(self._exchange(ClientRequest("GET", address, None, context, repeatable=True)), address)
        except PortalError as error:
            _note_only_asked(error)
            raise

    # calling

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call and give its result."""
        address = _address(function)
        if function.streaming:
            raise ProtocolError(
                f"{function.name} is a stream; iterate it with stream or stream_at", status=406, address=address
            )
        body = self._encode(function, params, context)
        if self._cache is not None and function.schema.cacheable:
            return self._invoke_kept(self._cache, function, params, body, context)
        request = ClientRequest("POST", address, body, context, repeatable=function.schema.idempotent)
        return self._decode(self._exchange(request), address)

    def _invoke_kept(
        self,
        cache: ResponseCache,
        function: ResolvedFunction,
        params: Mapping[str, Any],
        body: bytes,
        context: CallContext,
    ) -> Any:
        """The answer that is kept, asked for again under its entity tag once it is stale; one call for all who ask."""
        address = _address(function)
        credentials = self._credentials(address, context)
        key = key_of(address, params, repr((sorted(credentials.items()), self._sender.way(address))))
        assert key is not None  # they have been encoded
        entry = cache.lookup(key)
        if entry is not None and cache.is_fresh(entry):
            return entry.value

        def ask() -> Any:
            epoch = cache.epoch
            extra = {} if entry is None or entry.etag is None else {"If-None-Match": entry.etag}
            answer = self._exchange(ClientRequest("POST", address, body, context, repeatable=True, headers=extra))
            seconds, may_keep = freshness(answer[1])
            if answer[0] == 304 and entry is not None:
                cache.refresh(key, seconds)
                return entry.value
            value = self._decode(answer, address)
            if may_keep:
                cache.store(key, value, answer[1].get("etag"), seconds, epoch=epoch)
            return value

        return cache.once(key, context, function.name, ask)

    def _credentials(self, address: Address, context: CallContext) -> Mapping[str, str]:
        return {} if self._credential is None else self._credential.headers(address, context.deadline)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call and give its items as they come."""
        address = _address(function)
        if not function.streaming:
            raise ProtocolError(f"{function.name} is not a stream; call it", status=406, address=address)
        request = ClientRequest("POST", address, self._encode(function, params, context), context, EVENTS)
        answer = self._open(request)
        if answer.status != 200:
            self._decode(self._whole(answer, request), address)
        return self._events(answer, request)

    def _encode(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> bytes:
        if type(params) is not dict and isinstance(params, Mapping):
            params = dict(params)  # as where the function runs in this process
        if self._validate:
            check_input(function, params, context)
        try:
            return encode_json(params)
        except SerializationError as error:
            # The same mistake is a ValidationError where the function runs in this process.
            raise ValidationError(errors=[Fault("", str(error), "json", None)]) from None

    def _decode(self, answer: _Whole, address: Address) -> Any:
        status, _, body = answer
        if status == 200:
            try:
                return decode_json(body)
            except SerializationError as error:
                raise ProtocolError(f"{address} answered 200 with a body that is no JSON: {error}") from None
        if 300 <= status < 400:
            raise ProtocolError(f"{address} answered {status}; redirects are not followed", address=address)
        refusal = _error_of(answer, address)
        if isinstance(refusal, AuthenticationError) and self._credential is None and not refusal.executed:
            refusal.hint = "pass Consumer(auth=...)"
        raise refusal

    # the exchange

    def _exchange(self, request: ClientRequest) -> _Whole:
        return self._whole(self._open(request), request)

    def _whole(self, answer: Answer, request: ClientRequest) -> _Whole:
        return answer.status, answer.headers, self._sender.read(answer, request)

    def _open(self, request: ClientRequest) -> Answer:
        """Send a request with the caller's credential; once more with a new one, where it was refused unexecuted."""
        credential, address, context = self._credential, request.address, request.context
        if credential is None:
            return self._sender.send(request)
        given = credential.headers(address, context.deadline)
        answer = self._sender.send(request.adding(given))
        if answer.status != 401:
            return answer
        refusal = _error_of(self._whole(answer, request), address)
        # A function may pass a 401 of its own on: it has run, and another credential would run it again.
        if refusal.executed or not credential.rejected(address):
            raise refusal
        other = credential.headers(address, context.deadline)
        if other == given:
            raise refusal
        return self._sender.send(request.adding(other))

    def _events(self, answer: Answer, request: ClientRequest) -> Iterator[Any]:
        address = request.address
        complete = False
        try:
            for name, data in read_events(self._sender.pieces(answer, request), self._max_answer):
                if name == "complete":
                    complete = True
                elif name == "error":
                    raise _located(error_of(500, PROBLEM, data, {}), address)
                else:
                    yield decode_json(data)
        finally:
            if not complete:
                answer.close()
        if not complete:
            raise TransportError(f"the stream of {address} was cut off", address=address, scheme=address.scheme)


def _address(function: ResolvedFunction) -> Address:
    assert function.address is not None
    return function.address


def _error_of(answer: _Whole, address: Address) -> PortalError:
    status, headers, body = answer
    return _located(error_of(status, headers.get("content-type", ""), body, headers), address)


def _by_authority(sockets: Mapping[str, str]) -> dict[str, str]:
    """Unix sockets by authority as addresses have it: lower case, without the usual port."""
    try:
        return {Address.parse(f"http://{name}").authority: path for name, path in sockets.items()}
    except AddressError as error:
        expected = 'paths by authority, such as {"orders.local": "/run/orders.sock"}'
        raise ConfigError.invalid("client.sockets", sockets, expected, cause=error) from error


def _note_only_asked(error: PortalError) -> None:
    """Say in the error of a request that only asked for a schema that the function was not called."""
    if error.may_have_executed:
        error.delivery, error.hint = "not_sent", "the function was not called"
        error.retryable |= isinstance(error, TransportError)


def _located(error: PortalError, address: Address) -> PortalError:
    error.address = str(address)
    error.scheme = address.scheme
    return error
