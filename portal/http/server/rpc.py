"""RPCEndpoint: JSON-RPC 2.0 over HTTP: one POST, one message or a batch of them.

The thread that serves the request runs a batch in order. The deadline of the request is the deadline of all calls:
another thread then responds for the calls that have no response yet. An error of a message is part of a response with
status 200. Only a request whose Content-Type is not JSON is rejected by HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from ..._internal.counter import Counter
from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.deadlines import limit_deadline
from ...calls.dispatcher import Dispatcher
from ...calls.middleware import Call
from ...catalogue import Catalogue, Entry
from ...context import CallContext
from ...errors import CallTimeout, ProtocolError, RegistryError
from ...jsonrpc.methods import Params, find_method, look_up_method, params_by_name
from ...network.charges import RequestCharges
from ...network.failure_log import log_failure
from ...serving import EarlyResponder, Request, Response
from ..messages.event_stream import JSON
from .deadline_responder import AroundLate
from .negotiation import require_no_page
from .rpc_messages import MAX_BATCH_RESPONSE, RPCMessages

__all__ = ["RPCEndpoint"]

_log = get_logger("portal.http")


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
            try:
                return self._call(call, entry, request, on_deadline)
            finally:
                replied.append(dict(call.replied))

        return _response(messages.handle(run), context, replied)

    def _call(
        self, call: Call, entry: Entry, request: Request, on_deadline: Callable[[CallTimeout], object] | None
    ) -> Any:
        """Make a call, and count the request for the key of its function meanwhile."""
        held, key = request.held, ("function", self._key_of(entry.path))
        if held is None:
            return self._dispatcher.dispatch(call, on_deadline)
        held.hold(key)
        try:
            return self._dispatcher.dispatch(call, on_deadline)
        finally:
            held.drop(key)

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
