"""JSON-RPC 2.0 over HTTP: one POST, one message or a batch of them.

The thread that serves the request runs a batch in order. Each call has its own context and its own error. The deadline
of the request is the deadline of all calls. An error of a message is part of a response with status 200. Only a request
whose Content-Type is not JSON is rejected by HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ..._internal.counter import Counter
from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.deadlines import limit_deadline
from ...calls.dispatcher import Dispatcher
from ...calls.item_key import ItemKey
from ...calls.middleware import Call
from ...catalogue import Catalogue, Entry
from ...context import CallContext
from ...errors import Delivery, PortalError, ProtocolError, RegistryError
from ...function.failure import limit_exposure
from ...jsonrpc import messages as jsonrpc
from ...jsonrpc.encoding import encode_batch, encode_error, encode_response, may_be_deep, require_shallow
from ...jsonrpc.methods import Params, find_method, look_up_method, params_by_name
from ...network.charges import RequestCharges
from ...network.failure_log import log_failure
from ...schema.jsondata import shorten
from ...serving import Request, Response
from ..messages.event_stream import JSON
from .negotiation import require_no_page

__all__ = ["RPCEndpoint", "Run", "handle_rpc"]

#: Bytes of the results of a batch.
MAX_BATCH_RESPONSE = 8 * 1024 * 1024
_log = get_logger("portal.http")

#: method name, parameters by name or position, the call's own context -> result as JSON data; raises portal errors
Run = Callable[[str, Params, CallContext], Any]


def handle_rpc(
    body: bytes,
    run: Run,
    context: CallContext,
    *,
    decoder: BodyDecoder | None = None,
    max_size: int = MAX_BATCH_RESPONSE,
    on_cut: Callable[[], object] = lambda: None,
    debug: bool = False,
) -> bytes | None:
    """Return the response to a body of JSON-RPC; None if it holds notifications only.

    Args:
        run: makes one call.
        context: of the request; each call is given a child of it.
        decoder: decodes the body; one with the default bound when None.
        max_size: bytes of the results of a batch at most. The call whose result goes beyond it gets an error, and no
            further call of the batch runs that would get a response.
        on_cut: called once if the results of a batch go beyond `max_size`.
        debug: whether the client sees what functions raise.

    Raises: ProtocolError (413) for a body with too many objects and arrays.
    """
    found = jsonrpc.decode(body, (decoder or BodyDecoder()).decode)
    deep = may_be_deep(body)
    responses: list[bytes] = []
    left = max_size
    for index, message in enumerate(found.messages):
        if isinstance(message, jsonrpc.Request):
            nested = context.child()
            nested.traceparent, nested.tracestate = context.traceparent, context.tracestate  # not a hop
            key = context.idempotency_key
            if key is not None:
                nested.idempotency_key = ItemKey.of(key, index) if found.is_batch else key
            if left < 0 and not message.notification:
                responses.append(encode_error(message.id, _beyond(max_size, "not_sent", nested), debug=debug))
                continue
            response, is_result = _handle(message, run, nested, deep, debug)
            if found.is_batch and response is not None and left >= 0:
                left -= len(response)
                if left < 0:
                    on_cut()
                    if is_result:
                        response = encode_error(message.id, _beyond(max_size, "executed", nested), debug=debug)
        elif isinstance(message, jsonrpc.Invalid):
            message.error.with_context(request_id=context.request_id)
            response = encode_error(message.id, message.error, debug=debug)
        else:  # pragma: no cover - nothing is called from here, so `decode` returns no responses
            continue
        if response is not None:
            responses.append(response)
    if not responses:
        return None
    return encode_batch(responses) if found.is_batch else responses[0]


def _beyond(max_size: int, delivery: Delivery, context: CallContext) -> PortalError:
    message = f"the results of a batch must have at most {max_size} bytes"
    error = ProtocolError(message, status=413, delivery=delivery, hint="make this call alone or in a smaller batch")
    return error.with_context(request_id=context.request_id)


def _handle(
    message: jsonrpc.Request, run: Run, context: CallContext, deep: bool, debug: bool
) -> tuple[bytes | None, bool]:
    """Return the response, which a notification does not get, and whether it has a result."""
    try:
        if deep:
            require_shallow(message.params)
        result = run(message.method, message.params, context)
        if message.notification:
            return None, False
        return encode_response(message.id, result), True
    except PortalError as error:
        failure = error
    except Exception as error:
        _log.exception("handling %s failed", shorten(message.method))
        failure = PortalError("internal error", cause=error)
    limit_exposure(failure)
    failure.with_context(request_id=context.request_id)
    log_failure(_log, failure, context.request_id)
    return (None if message.notification else encode_error(message.id, failure, debug=debug)), False


class RPCEndpoint:
    """Responds to `POST {base}/rpc`.

    Args:
        catalogue: what is published.
        dispatcher: runs the calls.
        discover: returns the OpenRPC document, for the method rpc.discover; None leaves that method out.
        charges: counts what runs no function: rpc.discover and unknown methods.
        decoder: decodes the bodies; one with the default bound when None.
        max_batch_response: bytes of the results of a batch at most.
        debug: whether clients see what functions raise.
        key_of: returns the value of the key of the function at a path; see `RequestKeys.name_of`.

    Attributes:
        batches_cut: counts the batches whose results were longer.

    Threads: any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        dispatcher: Dispatcher,
        *,
        key_of: Callable[[tuple[str, ...]], str] = "/".join,
        discover: Callable[[], dict[str, Any]] | None = None,
        charges: RequestCharges | None = None,
        decoder: BodyDecoder | None = None,
        max_batch_response: int = MAX_BATCH_RESPONSE,
        debug: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._discover = discover
        self._charges = charges or RequestCharges(dispatcher)
        self._decoder = decoder or BodyDecoder()
        self._max_batch_response = max_batch_response
        self.batches_cut = Counter()
        self._debug = debug
        self._key_of = key_of

    def respond(self, request: Request, context: CallContext) -> Response:
        """Return the response to a POST: 200, or 204 if there were notifications only.

        A call with a deadline runs in a worker of the dispatcher, since the rest of its batch still needs a response.

        Raises: ProtocolError (415) for a body that does not claim to be JSON; (413) for too many objects and arrays.
        """
        _check_type(request)
        replied: list[dict[str, str]] = []
        waited = monotonic() - request.arrived  # in the queue; the time of earlier calls of a batch is not in it

        def run(method: str, params: Params, nested: CallContext) -> Any:
            entry = self._look_up(method)
            if entry is None:
                reply: dict[str, str] = {}
                replied.append(reply)
                self._charges.charge(request.peer, nested, reply)
                if method == "rpc.discover" and self._discover is not None:
                    return self._discover()
                entry = find_method(self._catalogue, method)
            by_name = params_by_name(entry.function, params)
            own = entry.function.schema.timeout
            if own is not None:
                limit_deadline(nested, monotonic() - waited + own)
            call = Call(entry.function, by_name, nested, peer=request.peer, group=entry.group)
            held, key = request.held, ("function", self._key_of(entry.path))
            if held is not None:
                held.hold(key)
            try:
                return self._dispatcher.dispatch(call)
            finally:
                replied.append(dict(call.replied))
                if held is not None:
                    held.drop(key)

        body = handle_rpc(
            request.body,
            run,
            context,
            decoder=self._decoder,
            max_size=self._max_batch_response,
            on_cut=self.batches_cut.add,
            debug=self._debug,
        )
        headers = [("Content-Type", JSON)] if body is not None else []
        headers += [("X-Request-ID", context.request_id), ("Cache-Control", "no-store")]
        if len(replied) == 1:  # those of several calls would contradict one another
            taken = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in replied[0].items() if name not in taken]
        return Response(204 if body is None else 200, headers, body or b"")

    def _look_up(self, method: str) -> Entry | None:
        """Return the entry of a method name; None for rpc.discover and for a name that `find_method` rejects."""
        if method == "rpc.discover" and self._discover is not None:
            return None
        try:
            return look_up_method(self._catalogue, method)
        except RegistryError:
            return None


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type")
    if kind is None:
        require_no_page(request)
        return
    if kind == JSON:
        return
    media = kind.partition(";")[0].strip().lower()
    # json-rpc and jsonrequest: what "JSON-RPC over HTTP" allowed beside application/json
    if media.endswith("+json") or media in (JSON, "application/json-rpc", "application/jsonrequest"):
        return
    raise ProtocolError(f"the body must be {JSON}, got {media[:80]!r}", status=415)
