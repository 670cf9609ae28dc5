"""RPCMessages: the messages in one body of JSON-RPC 2.0, and the response to all of them, without I/O.

Each call has its own context and its own error. An error of a message is part of the response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.deadlines import expired_error
from ...calls.item_key import ItemKey
from ...context import CallContext
from ...errors import CallTimeout, Delivery, PortalError, ProtocolError
from ...function.failure import limit_exposure
from ...jsonrpc import messages as jsonrpc
from ...jsonrpc.encoding import encode_batch, encode_error, encode_response, may_be_deep, require_shallow
from ...jsonrpc.methods import Params
from ...network.failure_log import log_failure
from ...schema.jsondata import shorten

__all__ = ["MAX_BATCH_RESPONSE", "RPCMessages", "Run"]

#: Bytes of the results of a batch.
MAX_BATCH_RESPONSE = 8 * 1024 * 1024
_log = get_logger("portal.http")

#: method name, parameters by name or position, the call's own context -> result as JSON data; raises portal errors
Run = Callable[[str, Params, CallContext], Any]


class RPCMessages:
    """The messages of one body, and the responses to them so far.

    Args:
        context: of the request; each call is given a child of it.
        decoder: decodes the body; one with the default bound when None.
        max_size: bytes of the results of a batch at most. The call whose result goes beyond it gets an error, and no
            further call of the batch runs that would get a response.
        on_cut: called once if the results of a batch go beyond `max_size`.
        debug: whether the client sees what functions raise.

    Raises: ProtocolError (413) for a body with too many objects and arrays.

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
        """Make the calls in order, and return the response; None if there are notifications only.

        Args:
            run: makes one call.
        """
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
        return _failure(message, error, context, debug), False
    except Exception as error:
        _log.exception("handling %s failed", shorten(message.method))
        return _failure(message, PortalError("internal error", cause=error), context, debug), False


def _failure(message: jsonrpc.Request, error: PortalError, context: CallContext, debug: bool) -> bytes | None:
    limit_exposure(error)
    error.with_context(request_id=context.request_id)
    log_failure(_log, error, context.request_id)
    return None if message.notification else encode_error(message.id, error, debug=debug)
