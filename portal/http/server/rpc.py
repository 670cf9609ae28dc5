"""JSON-RPC 2.0 over HTTP: one POST, one message or a batch of them.

The thread that serves the request runs a batch in order. Each call has its own context and its own error. The deadline
of the request is the deadline of all calls: another thread then responds for the calls that have no response yet. An
error of a message is part of a response with status 200. Only a request whose Content-Type is not JSON is rejected by
HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from ..._internal.counter import Counter
from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.deadlines import expired_error, limit_deadline
from ...calls.dispatcher import Dispatcher
from ...calls.item_key import ItemKey
from ...calls.middleware import Call
from ...catalogue import Catalogue, Entry
from ...context import CallContext
from ...errors import CallTimeout, Delivery, PortalError, ProtocolError, RegistryError
from ...function.failure import limit_exposure
from ...jsonrpc import messages as jsonrpc
from ...jsonrpc.encoding import encode_batch, encode_error, encode_response, may_be_deep, require_shallow
from ...jsonrpc.methods import Params, find_method, look_up_method, params_by_name
from ...network.charges import RequestCharges
from ...network.failure_log import log_failure
from ...schema.jsondata import shorten
from ...serving import EarlyResponder, Request, Response
from ..messages.event_stream import JSON
from .deadline_responder import AroundLate
from .negotiation import require_no_page

__all__ = ["RPCEndpoint", "RPCMessages", "Run", "handle_rpc"]

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
    messages = RPCMessages(body, context, decoder=decoder, max_size=max_size, on_cut=on_cut, debug=debug)
    return messages.handle(run)


class RPCMessages:
    """The messages of one body, and the responses to them so far. The arguments are those of `handle_rpc`.

    Threads: one handles them; another one may call `late` meanwhile.
    """

    def __init__(
        self,
        body: bytes,
        context: CallContext,
        *,
        decoder: BodyDecoder | None = None,
        max_size: int = MAX_BATCH_RESPONSE,
        on_cut: Callable[[], object] = lambda: None,
        debug: bool = False,
    ) -> None:
        found = jsonrpc.decode(body, (decoder or BodyDecoder()).decode)
        self._messages, self._is_batch = found.messages, found.is_batch
        self._deep = may_be_deep(body)
        self._context = context
        self._max_size = max_size
        self._on_cut = on_cut
        self._debug = debug
        self._responses: dict[int, bytes | None] = {}  # by position
        self._running = 0  # the position of the message in progress

    def handle(self, run: Run) -> bytes | None:
        """Make the calls in order, and return the response; see `handle_rpc`."""
        left = self._max_size
        for index, message in enumerate(self._messages):
            self._running = index
            response: bytes | None = None
            if isinstance(message, jsonrpc.Request):
                nested = self._nested(index)
                if left < 0 and not message.notification:
                    error = _beyond(self._max_size, "not_sent", nested)
                    self._responses[index] = encode_error(message.id, error, debug=self._debug)
                    continue
                response, is_result = _handle(message, run, nested, self._deep, self._debug)
                if self._is_batch and response is not None and left >= 0:
                    left -= len(response)
                    if left < 0:
                        self._on_cut()
                        if is_result:
                            error = _beyond(self._max_size, "executed", nested)
                            response = encode_error(message.id, error, debug=self._debug)
            elif isinstance(message, jsonrpc.Invalid):
                response = self._reject(message)
            self._responses[index] = response  # nothing is called from here, so `decode` returns no responses
        return self._encode(self._responses)

    def late(self, error: CallTimeout) -> bytes | None:
        """Return the response at the deadline of all messages, with the responses so far.

        Args:
            error: of the call in progress. Those after it do not run.
        """
        responses, running = dict(self._responses), self._running
        for index, message in enumerate(self._messages):
            if index in responses:
                continue
            if isinstance(message, jsonrpc.Invalid):
                responses[index] = self._reject(message)
            elif isinstance(message, jsonrpc.Request) and not message.notification:
                failure = error if index == running else expired_error(self._context, shorten(message.method))
                responses[index] = encode_error(message.id, failure, debug=self._debug)
        return self._encode(dict(sorted(responses.items())))

    def _nested(self, index: int) -> CallContext:
        context = self._context
        nested = context.child()
        nested.traceparent, nested.tracestate = context.traceparent, context.tracestate  # not a hop
        key = context.idempotency_key
        if key is not None:
            nested.idempotency_key = ItemKey.of(key, index) if self._is_batch else key
        return nested

    def _reject(self, message: jsonrpc.Invalid) -> bytes:
        message.error.with_context(request_id=self._context.request_id)
        return encode_error(message.id, message.error, debug=self._debug)

    def _encode(self, responses: Mapping[int, bytes | None]) -> bytes | None:
        found = [one for one in responses.values() if one is not None]
        if not found:
            return None
        return encode_batch(found) if self._is_batch else found[0]


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
        around_late: passes the response at a deadline through the HTTP middleware; None if there is none.

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
        around_late: AroundLate | None = None,
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
        self._around_late = around_late

    def respond(self, request: Request, context: CallContext) -> Response:
        """Return the response to a POST: 200, or 204 if there were notifications only.

        Raises: ProtocolError (415) for a body that does not claim to be JSON; (413) for too many objects and arrays.
        """
        _check_type(request)
        replied: list[dict[str, str]] = []
        waited = monotonic() - request.arrived  # in the queue; the time of earlier calls of a batch is not in it
        messages = RPCMessages(
            request.body,
            context,
            decoder=self._decoder,
            max_size=self._max_batch_response,
            on_cut=self.batches_cut.add,
            debug=self._debug,
        )
        early = None if context.deadline is None else request.share()

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
            on_deadline = None
            if early is not None and nested.deadline == context.deadline:
                on_deadline = partial(self._respond_late, request, early, messages, call)
            # Else the rest of the batch has time when this call has none, so that it runs in a worker.
            held, key = request.held, ("function", self._key_of(entry.path))
            if held is not None:
                held.hold(key)
            try:
                return self._dispatcher.dispatch(call, on_deadline)
            finally:
                replied.append(dict(call.replied))
                if held is not None:
                    held.drop(key)

        return _response(messages.handle(run), context, replied)

    def _respond_late(
        self, request: Request, early: EarlyResponder, messages: RPCMessages, call: Call, error: CallTimeout
    ) -> None:
        """Respond at the deadline. It runs in the thread that watches the deadlines."""
        error.with_context(operation=call.function.name)
        log_failure(_log, error, call.context.request_id)
        response = _response(messages.late(error), call.context, [])
        early.respond_early(response if self._around_late is None else self._around_late(request, response))

    def _look_up(self, method: str) -> Entry | None:
        """Return the entry of a method name; None for rpc.discover and for a name that `find_method` rejects."""
        if method == "rpc.discover" and self._discover is not None:
            return None
        try:
            return look_up_method(self._catalogue, method)
        except RegistryError:
            return None


def _response(body: bytes | None, context: CallContext, replied: list[dict[str, str]]) -> Response:
    headers = [("Content-Type", JSON)] if body is not None else []
    headers += [("X-Request-ID", context.request_id), ("Cache-Control", "no-store")]
    if len(replied) == 1:  # those of several calls would contradict one another
        taken = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in replied[0].items() if name not in taken]
    return Response(204 if body is None else 200, headers, body or b"")


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
