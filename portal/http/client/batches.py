"""JSONRPCBatches: many calls of one function in one request, as a batch of JSON-RPC.

A batch is an attempt to be quick. What does not get an outcome of its own by it is called alone, as if there had been
no batch. So only idempotent functions are called in batches, and a server without JSON-RPC loses nothing but a request.

Source: JSON-RPC 2.0 specification, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from ..._internal.at_fork import new_lock
from ..._internal.json_encoder import encode_json
from ..._internal.json_text import JSONValue
from ...address import Address
from ...context import CallContext
from ...errors import (
    AuthenticationError,
    CallCancelled,
    CallTimeout,
    OverloadedError,
    PortalError,
    RateLimitError,
    RegistryError,
    TransportError,
)
from ...function import ResolvedFunction
from ...jsonrpc.messages import MAX_BATCH, error_from
from ...schema import FunctionSchema
from .request import ClientRequest
from .result import ReceivedResponse, decode_result, locate_error

__all__ = ["JSONRPCBatches", "endpoints_of", "may_be_batched"]

_MAX_BYTES = 64 * 1024  # of the parameters of one request; servers bound the bodies of requests
_MAX_ENTRIES = 1024
_REJECTED_SECONDS = 60.0  # for which a server that has rejected a batch gets no other one

#: Of a whole request: the calls of the batch fail alike if they are made alone, or the server is busy now.
_OF_THE_MOMENT = (TransportError, CallTimeout, OverloadedError, RateLimitError)
#: Of one call: as a part of a batch it had less time and room than a call alone, or another way to the function.
_OF_THE_BATCH = (CallTimeout, OverloadedError, AuthenticationError, RegistryError)


class Endpoint(NamedTuple):
    """Where the batches of a function go.

    Attributes:
        address: of JSON-RPC at the server.
        method: the name of the function there.
    """

    address: Address
    method: str


class _Known(NamedTuple):
    """The endpoint of a function, or None if it has none, and when to look again."""

    endpoint: Endpoint | None
    expires_at: float


class JSONRPCBatches:
    """Send calls in batches.

    Args:
        encode: returns the parameters of a call as JSON text, checked against the schema. Raises portal errors.
        exchange: sends a request and returns its response; raises portal errors.
        accepts: whether the credential for the first address may be sent to the second, as it is the same.
        clock: seconds, as `time.monotonic`.

    Threads: any.
    """

    def __init__(
        self,
        encode: Callable[[ResolvedFunction, Mapping[str, Any], CallContext], bytes],
        exchange: Callable[[ClientRequest], ReceivedResponse],
        accepts: Callable[[Address, Address], bool],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._encode = encode
        self._exchange = exchange
        self._accepts = accepts
        self._clock = clock
        self._lock = new_lock()  # guards the table
        self._known: dict[tuple[Address, str], _Known] = {}

    def call(
        self, function: ResolvedFunction, params: Sequence[Mapping[str, Any]], context: CallContext
    ) -> dict[int, Any] | None:
        """Make calls, and return their results and errors by position. A call that is not in it is to be made alone.

        Args:
            context: of all calls; its deadline is for all of them.

        Returns: None if the function or its server takes no batches.
        Raises: CallCancelled.
        """
        if not may_be_batched(function.schema) or not self._endpoints(function):
            return None
        outcomes: dict[int, Any] = {}
        texts: list[tuple[int, bytes]] = []
        for number, one in enumerate(params):
            try:
                texts.append((number, self._encode(function, one, context)))
            except PortalError as error:  # of the parameters, which are not sent
                outcomes[number] = error.with_traceback(None)  # whose frames refer to `outcomes`
        for group in _groups(texts):
            if len(group) > 1:
                self._send(function, group, context, outcomes)
        return outcomes

    def _send(
        self, function: ResolvedFunction, group: list[tuple[int, bytes]], context: CallContext, outcomes: dict[int, Any]
    ) -> None:
        """Send one batch to the first endpoint that takes it, and note the outcomes of its calls."""
        for endpoint in self._endpoints(function):
            body = _encode_batch(endpoint.method, group)
            request = ClientRequest("POST", endpoint.address, body, context, repeatable=True)
            try:
                data = decode_result(self._exchange(request), endpoint.address)
            except CallCancelled:
                raise
            except _OF_THE_MOMENT:
                return
            except PortalError as error:
                if error.status == 413:
                    return
                continue
            sent = {number for number, _ in group}
            if isinstance(data, list) and self._note(function, data, sent, outcomes):
                self._keep(function, endpoint)
                return
        self._keep(function, None)

    def _note(
        self, function: ResolvedFunction, data: list[JSONValue], sent: set[int], outcomes: dict[int, Any]
    ) -> bool:
        """Note the outcomes in a response. Return False if the server knows no such method."""
        assert function.address is not None
        unknown = 0
        for message in data:
            number = message.get("id") if isinstance(message, dict) else None
            if not isinstance(message, dict) or type(number) is not int or number not in sent:
                continue
            if "error" not in message:
                if "result" in message:
                    outcomes[number] = message["result"]
                continue
            error = locate_error(error_from(message["error"]), function.address)
            unknown += isinstance(error, RegistryError) and not error.executed
            if error.status != 413 and not (isinstance(error, _OF_THE_BATCH) and not error.executed):
                outcomes[number] = error
        return unknown < len(data)

    def _endpoints(self, function: ResolvedFunction) -> Sequence[Endpoint]:
        """Return the endpoint of a function, those to try, or none."""
        address, schema = function.address, function.schema
        assert address is not None
        known = self._known.get((address, schema.fingerprint))
        if known is not None and known.expires_at > self._clock():
            return () if known.endpoint is None else (known.endpoint,)
        return [one for one in endpoints_of(address, schema) if self._accepts(address, one.address)]

    def _keep(self, function: ResolvedFunction, endpoint: Endpoint | None) -> None:
        assert function.address is not None
        seconds = _REJECTED_SECONDS if endpoint is None else float("inf")
        with self._lock:
            if len(self._known) >= _MAX_ENTRIES:
                self._known.clear()
            self._known[function.address, function.schema.fingerprint] = _Known(endpoint, self._clock() + seconds)


def may_be_batched(schema: FunctionSchema) -> bool:
    """Return whether calls of a function may be made in batches.

    A call of a batch may be made again alone, so the function must be idempotent. JSON-RPC has no place for files and
    headers. A limit of the body of one request does not hold there.
    """
    is_plain = schema.transfer is None and schema.max_body is None and not schema.streaming
    return schema.idempotent and is_plain


def endpoints_of(address: Address, schema: FunctionSchema) -> list[Endpoint]:
    """Return where the JSON-RPC of a function may be, below the base address of its portal.

    From an address alone it is not known whether the function is in a service. If the first one is wrong, it responds
    with 404 or does not know the method. As the body is an array, it calls no function by mistake.
    """
    if address.query or address.fragment or address.version is not None:
        return []
    segments = address.segments
    has_id = segments[-1:] == (schema.fingerprint,) or (bool(segments) and address.name != segments[-1])
    found = []
    for length in (2, 3) if has_id else (1, 2):
        if length <= len(segments):
            base, path = segments[:-length], segments[-length:]
            found.append(
                Endpoint(Address.network(address.scheme, address.host, address.port, (*base, "rpc")), "/".join(path))
            )
    return found


def _groups(texts: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the calls of each batch: of so many bytes, and of so many calls."""
    group: list[tuple[int, bytes]] = []
    size = 0
    for one in texts:
        if group and (size + len(one[1]) > _MAX_BYTES or len(group) == MAX_BATCH):
            yield group
            group, size = [], 0
        group.append(one)
        size += len(one[1])
    if group:
        yield group


def _encode_batch(method: str, group: list[tuple[int, bytes]]) -> bytes:
    name = encode_json(method)
    messages = [b'{"jsonrpc":"2.0","method":%b,"params":%b,"id":%d}' % (name, text, number) for number, text in group]
    return b"[%b]" % b",".join(messages)
