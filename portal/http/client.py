"""The client side of the HTTP portal.

Plain http goes over connections of our own (`wire.py`), https and whatever goes through a proxy over urllib3's pools
(`pools.py`); both give the same Answer and the same errors. Every failure is a portal error. A TransportError's
`may_have_executed` is False only where no byte of the request can have reached the server. A call is sent a second time
only for a function declared idempotent, when the server closed a kept connection without a byte of an answer.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from time import monotonic
from typing import Any, Protocol

from ..address import Address
from ..calls.cache_control import freshness
from ..calls.credentials import Credential, credentials_of
from ..calls.deadlines import too_late
from ..calls.response_cache import ResponseCache, key_of
from ..context import CallContext
from ..errors import (
    AuthenticationError,
    CallCancelled,
    ConfigError,
    Fault,
    PortalError,
    ProtocolError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ..function import ResolvedFunction
from ..schema import FunctionSchema
from . import codec
from .coding import CODINGS, compress, decompressed
from .failures import as_portal_error
from .pools import ClientTLS, Pools
from .wire import StaleConnection, WirePool

__all__ = ["HTTPClient"]

_NOTHING: Mapping[str, str] = {}
_ALWAYS = {"User-Agent": "portal", "Accept-Encoding": CODINGS}
_MOST_AUTHORITIES = 1024


class _Answer(Protocol):
    status: int

    @property
    def headers(self) -> Mapping[str, str]: ...

    def whole(self) -> bytes | None: ...

    def pieces(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class HTTPClient:
    """Sends calls to HTTP servers; a Carrier for resolved functions.

    Args:
        connect_timeout: seconds to connect, within the call's own deadline.
        read_timeout: seconds for which a server may send nothing; None leaves that to the call's own deadline.
        timeout: seconds for a request that has no deadline of its own (asking for a schema).
        connections: kept for each server; more are opened when needed and closed after use.
        max_answer: bytes of an answer, or of one item of a stream.
        validate: refuse parameters that do not fit the schema before sending them.
        tls: what is trusted and shown over https.
        proxy: address of an HTTP proxy that everything is sent through, such as "http://proxy:3128".
        auth: what to send so that servers know who calls: a bearer token, (user, password), a callable of the address,
            or a credential of `portal.calls.credentials`: ByAuthority sends each secret to its own server only.
        cache: keeps answers of functions declared cacheable; None keeps none.
        compress: bytes from which parameters are sent in gzip, to servers that take it (`portal.http.Compression`);
            None never does. Answers are taken in gzip and deflate, and never grow past `max_answer`.
        sockets: Unix sockets by the authority that stands for them: {"orders.local": "/run/orders.sock"} sends what
            is for http://orders.local/ there.

    Raises: ConfigError for a wrong setting; for files of `tls` with the first https call.

    Threads: any; connections are shared. Fork: make a new one in the child.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float | None = None,
        timeout: float = 30.0,
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
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._timeout = timeout
        self._connections = connections
        self._max_answer = max_answer
        self._validate = validate
        self._lock = threading.Lock()  # guards adding to the pools
        self._pools: dict[tuple[str, int], WirePool] = {}
        self._credential = None if auth is None else credentials_of(auth)
        self._cache = cache
        if compress is not None and (isinstance(compress, bool) or not isinstance(compress, int) or compress < 0):
            raise ConfigError(f"compress is {compress!r}", path="compress", allowed="bytes, 0 or more, or None")
        self._compress = compress
        self._uncompressed: set[str] = set()  # authorities that take no gzip
        self._proxy = proxy
        self._sockets = {**(sockets or {})}
        self._pooled = Pools(connections, tls or ClientTLS(), proxy)

    def _pool(self, address: Address) -> WirePool:
        key = (address.host, address.port or 80)
        pool = self._pools.get(key)
        if pool is None:
            with self._lock:
                path = self._sockets.get(address.authority)
                fresh = WirePool(
                    *key,
                    size=self._connections,
                    connect_timeout=self._connect_timeout,
                    path=path,
                    read_timeout=self._read_timeout,
                )
                pool = self._pools.setdefault(key, fresh)
        return pool

    def for_caller(self, auth: Credential | None, cache: ResponseCache | None) -> HTTPClient:
        """This client with a credential and a cache where it has none of its own; connections stay shared."""
        credential = self._credential if auth is None or self._credential is not None else auth
        kept = self._cache if cache is None or self._cache is not None else cache
        if credential is self._credential and kept is self._cache:
            return self
        other = copy.copy(self)
        other._credential, other._cache = credential, kept
        return other

    def close(self) -> None:
        """Close the connections that are idle; those in use close after their answer."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()  # the one that those made by `for_caller` share
        for pool in pools:
            pool.close()
        self._pooled.close()

    # describing

    def describe(self, address: Address) -> FunctionSchema:
        """The schema of the function at an address; RegistryError when something else or nothing is there."""
        data = self.get(address)
        try:
            return FunctionSchema.from_dict(data)
        except (SerializationError, RegistryError, TypeError, KeyError):
            raise RegistryError(f"no function is at {address}", address=address) from None

    def get(self, address: Address) -> Any:
        """The JSON document at an address."""
        context = CallContext.for_call(self._timeout)
        return self._decode(self._exchange("GET", address, None, context, codec.JSON, True), address)

    # calling

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call and give its result."""
        address = _address(function)
        if function.streaming:
            raise ProtocolError(
                f"{function.name} is a stream: iterate it with stream or stream_at", status=406, address=address
            )
        body = self._encode(function, params)
        if self._cache is not None and function.schema.cacheable:
            return self._invoke_kept(self._cache, function, params, body, context)
        answer = self._exchange("POST", address, body, context, codec.JSON, function.schema.idempotent)
        return self._decode(answer, address)

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
        key = key_of(address, params, repr(sorted(credentials.items())))
        assert key is not None  # they have been encoded
        entry = cache.lookup(key)
        if entry is not None and cache.is_fresh(entry):
            return entry.value

        def ask() -> Any:
            epoch = cache.epoch
            extra = {} if entry is None or entry.etag is None else {"If-None-Match": entry.etag}
            answer = self._exchange("POST", address, body, context, codec.JSON, True, extra)
            seconds, may_keep = freshness(answer[1])
            if answer[0] == 304 and entry is not None:
                cache.freshen(key, seconds)
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
            raise ProtocolError(f"{function.name} is no stream: call it", status=406, address=address)
        body = self._encode(function, params)
        answer = self._open("POST", address, body, context, codec.EVENTS, False)
        if answer.status != 200:
            self._decode((answer.status, answer.headers, self._read(answer, address, context)), address)
        return self._events(answer, address, context)

    def _encode(self, function: ResolvedFunction, params: Mapping[str, Any]) -> bytes:
        if type(params) is not dict and isinstance(params, Mapping):
            params = dict(params)  # as where the function runs in this process
        if self._validate and not function.schema.input.get("x-coerces"):
            function.schema.validate_input(params)
        try:
            return codec.encode_json(params)
        except SerializationError as error:
            # The same mistake is a ValidationError where the function runs in this process.
            raise ValidationError(errors=[Fault("", str(error), "json", None)]) from None

    def _decode(self, answer: tuple[int, Mapping[str, str], bytes], address: Address) -> Any:
        status, headers, body = answer
        if status == 200:
            try:
                return codec.decode_json(body)
            except SerializationError as error:
                raise ProtocolError(f"{address} answered 200 with a body that is no JSON: {error}") from None
        if 300 <= status < 400:
            raise ProtocolError(f"{address} answered {status}; redirects are not followed", address=address)
        refusal = codec.error_of(status, headers.get("content-type", ""), body, headers)
        if isinstance(refusal, AuthenticationError) and self._credential is None and not refusal.executed:
            refusal.message = f"{refusal.message}; none was sent: auth= of the Consumer takes one"
        raise _located(refusal, address)

    # the exchange

    def _exchange(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        context: CallContext,
        accept: str,
        repeatable: bool,
        extra: Mapping[str, str] = _NOTHING,
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = self._open(method, address, body, context, accept, repeatable, extra)
        return answer.status, answer.headers, self._read(answer, address, context)

    def _open(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        context: CallContext,
        accept: str,
        repeatable: bool,
        extra: Mapping[str, str] = _NOTHING,
    ) -> _Answer:
        """Send a request; once more where it was not executed, or may be executed twice."""
        credential = self._credential
        if credential is None:
            return self._send_coded(method, address, body, context, accept, repeatable, extra)
        headers = {**extra, **credential.headers(address, context.deadline)}
        answer = self._send_coded(method, address, body, context, accept, repeatable, headers)
        if answer.status == 401 and credential.refused(address):  # refused before anything was executed
            answer.close()
            headers = {**extra, **credential.headers(address, context.deadline)}
            answer = self._send_coded(method, address, body, context, accept, repeatable, headers)
        return answer

    def _send_coded(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        context: CallContext,
        accept: str,
        repeatable: bool,
        extra: Mapping[str, str],
    ) -> _Answer:
        """Send the body compressed where that is wanted, and as it is to a server that does not take it so."""
        least, place = self._compress, address.authority
        if least is None or body is None or len(body) < least or place in self._uncompressed:
            return self._send(method, address, body, context, accept, repeatable, extra)
        headers = {**extra, "Content-Encoding": "gzip"}
        answer = self._send(method, address, compress(body), context, accept, repeatable, headers)
        if answer.status != 415 or "accept-encoding" not in answer.headers:
            return answer  # without that header (RFC 9110 section 12.5.3) it may be the function that says 415
        answer.close()
        if len(self._uncompressed) >= _MOST_AUTHORITIES:
            self._uncompressed.clear()
        self._uncompressed.add(place)
        return self._send(method, address, body, context, accept, repeatable, extra)

    def _send(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        context: CallContext,
        accept: str,
        repeatable: bool,
        extra: Mapping[str, str],
    ) -> _Answer:
        try:
            return self._request(method, address, body, context, accept, extra)
        except TransportError as error:
            if not repeatable or not isinstance(error.__cause__, StaleConnection) or context.expired:
                raise
            return self._request(method, address, body, context, accept, extra)

    def _request(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        context: CallContext,
        accept: str,
        extra: Mapping[str, str],
    ) -> _Answer:
        if context.cancelled:
            raise CallCancelled("the caller gave the call up", address=address)
        if context.expired:
            raise too_late(context, str(address))
        try:
            if address.scheme == "https" or self._proxy is not None:
                headers = codec.headers_of(context) | {"Accept": accept, "Content-Type": codec.JSON, **_ALWAYS, **extra}
                times = (context.deadline, self._connect_timeout, self._read_timeout)
                return self._pooled.exchange(method, str(address), body, headers, *times)
            request = _head(method, address, accept) + _tail(context, body, extra)
            return self._pool(address).exchange(request, context.deadline)
        except OSError as error:
            raise as_portal_error(error, address, context) from error
        except ProtocolError as error:
            raise _garbled(error, address) from error

    def _read(self, answer: _Answer, address: Address, context: CallContext) -> bytes:
        body = answer.whole()
        if body is not None and "content-encoding" not in answer.headers:
            return self._bounded(body, len(body), address)
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces(answer, address, context, body):
            size += len(piece)
            pieces.append(self._bounded(piece, size, address))
        return b"".join(pieces)

    def _bounded(self, data: bytes, size: int, address: Address) -> bytes:
        if size > self._max_answer:
            raise ProtocolError(f"the answer of {address} is longer than {self._max_answer} bytes", address=address)
        return data

    def _pieces(
        self, answer: _Answer, address: Address, context: CallContext, whole: bytes | None = None
    ) -> Iterator[bytes]:
        coding = answer.headers.get("content-encoding")
        pieces = answer.pieces() if whole is None else iter((whole,))
        try:
            for piece in pieces if coding is None else decompressed(pieces, coding):
                yield piece
                if context.deadline is not None and monotonic() > context.deadline:
                    raise TimeoutError("the deadline has passed")
        except ProtocolError as error:
            raise _garbled(error, address) from error
        except OSError as error:
            if isinstance(error, PortalError):
                raise
            raise as_portal_error(error, address, context) from error
        finally:
            answer.close()

    def _events(self, answer: _Answer, address: Address, context: CallContext) -> Iterator[Any]:
        complete = False
        try:
            for name, data in codec.read_events(self._pieces(answer, address, context), self._max_answer):
                if name == "complete":
                    complete = True
                elif name == "error":
                    raise _located(codec.error_of(500, codec.PROBLEM, data, {}), address)
                else:
                    yield codec.decode_json(data)
        finally:
            if not complete:
                answer.close()
        if not complete:
            raise TransportError(f"the stream of {address} was cut off", address=address, scheme=address.scheme)


def _address(function: ResolvedFunction) -> Address:
    assert function.address is not None
    return function.address


def _located(error: PortalError, address: Address) -> PortalError:
    error.address = str(address)
    error.scheme = address.scheme
    return error


@lru_cache(maxsize=1024)
def _head(method: str, address: Address, accept: str) -> bytes:
    """The part of a request's head that is the same for every call of an address."""
    target = str(address).removeprefix(address.base).partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.authority}", f"Accept: {accept}"]
    lines += [f"{name}: {value}" for name, value in _ALWAYS.items()]
    if method == "POST":
        lines.append(f"Content-Type: {codec.JSON}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _tail(context: CallContext, body: bytes | None, extra: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in codec.headers_of(context).items()])
    if extra:
        lines = "".join([f"{name}: {value}\r\n" for name, value in extra.items()]) + lines
    if body is None:
        return f"{lines}\r\n".encode("latin-1")
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _garbled(error: ProtocolError, address: Address) -> ProtocolError:
    """What is wrong with an answer, with the address: the request was sent, so the call may have been executed."""
    return ProtocolError(f"{address}: {error}", scheme=address.scheme, address=address)
