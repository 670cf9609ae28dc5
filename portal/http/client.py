"""The client side of the HTTP portal: calls over urllib3's pooled connections.

Every failure is a portal error. A TransportError's `may_have_executed` is False only where no byte of the request can
have reached the server. A call is sent a second time only for a function declared idempotent, over a connection that
the server had closed while it was idle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

import urllib3
from urllib3 import exceptions as failures

from ..address import Address
from ..calls.deadlines import timeout_error
from ..context import CallContext
from ..errors import (
    CallCancelled,
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

__all__ = ["HTTPClient"]

_NOT_SENT = (
    failures.NewConnectionError,
    failures.ConnectTimeoutError,
    failures.NameResolutionError,
    failures.LocationValueError,
    failures.LocationParseError,
)
_PIECE = 64 * 1024


class HTTPClient:
    """Sends calls to HTTP servers; a Carrier for resolved functions.

    Args:
        connect_timeout: seconds to connect, within the call's own deadline.
        timeout: seconds for a request that has no deadline of its own (asking for a schema).
        connections: kept for each server; more are opened when needed and closed after use.
        max_answer: bytes of an answer, or of one item of a stream.
        validate: refuse parameters that do not fit the schema before sending them.

    Threads: any; connections are shared. Fork: make a new one in the child.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        timeout: float = 30.0,
        connections: int = 32,
        max_answer: int = 64 * 1024 * 1024,
        validate: bool = True,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._connections = connections
        self._max_answer = max_answer
        self._validate = validate
        self._lock = threading.Lock()  # guards the pool manager's creation
        self._manager: urllib3.PoolManager | None = None

    def _pools(self) -> urllib3.PoolManager:
        with self._lock:
            if self._manager is None:
                self._manager = urllib3.PoolManager(maxsize=self._connections, num_pools=64, retries=False)
            return self._manager

    def close(self) -> None:
        """Close the connections that are idle; those in use close after their answer."""
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is not None:
            manager.clear()

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
        body = self._encode(function, params)
        answer = self._exchange("POST", address, body, context, codec.JSON, function.schema.idempotent)
        return self._decode(answer, address)

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
        if self._validate:
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
        raise _located(codec.error_of(status, headers.get("content-type", ""), body, headers), address)

    # the exchange

    def _exchange(
        self, method: str, address: Address, body: bytes | None, context: CallContext, accept: str, repeatable: bool
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = self._open(method, address, body, context, accept, repeatable)
        return answer.status, answer.headers, self._read(answer, address, context)

    def _open(
        self, method: str, address: Address, body: bytes | None, context: CallContext, accept: str, repeatable: bool
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._request(method, address, body, context, accept)
        except TransportError as error:
            if not (repeatable and error.may_have_executed and _was_stale(error)) or context.expired:
                raise
            return self._request(method, address, body, context, accept)

    def _request(
        self, method: str, address: Address, body: bytes | None, context: CallContext, accept: str
    ) -> urllib3.BaseHTTPResponse:
        headers = codec.headers_of(context) | {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = codec.JSON
        left = context.remaining()
        if context.cancelled:
            raise CallCancelled("the caller gave the call up", address=address)
        if left is not None and left <= 0:
            raise timeout_error(context, str(address))
        connect = self._connect_timeout if left is None else min(left, self._connect_timeout)
        try:
            return self._pools().request(
                method,
                str(address),
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=connect, read=left, total=left),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (failures.HTTPError, OSError) as error:
            raise _failure(error, address, context) from error

    def _read(self, answer: urllib3.BaseHTTPResponse, address: Address, context: CallContext) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces(answer, address, context):
            size += len(piece)
            if size > self._max_answer:
                answer.close()
                raise ProtocolError(f"the answer of {address} is longer than {self._max_answer} bytes", address=address)
            pieces.append(piece)
        return b"".join(pieces)

    def _pieces(self, answer: urllib3.BaseHTTPResponse, address: Address, context: CallContext) -> Iterator[bytes]:
        try:
            while True:
                piece = answer.read1(_PIECE)
                if not piece:
                    break
                if context.deadline is not None and monotonic() > context.deadline:
                    answer.close()
                    raise timeout_error(context, str(address))
                yield piece
            if answer.length_remaining:
                raise TransportError(f"the answer of {address} was cut off", address=address, scheme=address.scheme)
            answer.release_conn()
        except (failures.HTTPError, OSError) as error:
            answer.close()
            if isinstance(error, PortalError):
                raise
            raise _failure(error, address, context) from error

    def _events(self, answer: urllib3.BaseHTTPResponse, address: Address, context: CallContext) -> Iterator[Any]:
        complete = False
        try:
            for name, data in codec.read_events(self._pieces(answer, address, context), self._max_answer):
                if name == "complete":
                    complete = True
                elif name == "error":
                    status = int(answer.status)
                    problem = codec.decode_json(data)
                    status = problem.get("status", status) if isinstance(problem, dict) else status
                    raise _located(codec.error_of(status, codec.PROBLEM, data, {}), address)
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


def _was_stale(error: TransportError) -> bool:
    return isinstance(error.__cause__, failures.ProtocolError) and "closed connection without response" in str(
        error.__cause__
    )


def _failure(error: Exception, address: Address, context: CallContext) -> PortalError:
    """The portal error for what urllib3 or the socket raised."""
    late = context.expired or (isinstance(error, failures.ReadTimeoutError | TimeoutError) and context.deadline)
    if late and not isinstance(error, failures.NewConnectionError):
        context.cancel()
        return timeout_error(context, str(address))
    if isinstance(error, failures.SSLError):
        return TransportError(f"{address.base}: TLS failed: {error}", address=address, may_have_executed=False)
    sent = not isinstance(error, _NOT_SENT)
    where = f"{address.host}:{address.port or ''}".rstrip(":")
    what = "the connection was lost" if sent else "no connection"
    advice = "the call may have been executed" if sent else "is the server running?"
    return TransportError(
        f"{what} to {where}: {_words(error)}; {advice}",
        scheme=address.scheme,
        address=address,
        may_have_executed=sent,
        context={"request_id": context.request_id},
    )


def _words(error: Exception) -> str:
    text = str(error.args[-1] if error.args else error)
    return text.rpartition(": ")[2] or type(error).__name__


