"""Request headers that carry a CallContext.

Source: W3C Trace Context, for traceparent and tracestate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import monotonic

from ..._internal.trace_context import parse_traceparent, parse_tracestate
from ...context import CallContext, new_context, new_request_id
from ...errors import ProtocolError
from ...http11.fields import MAX_IDEMPOTENCY_KEY, is_idempotency_key, is_request_id, is_timeout
from ...network.sent_context import key_to_send, trace_to_send

__all__ = ["context_of", "header_lines", "headers_of"]


def context_of(headers: Mapping[str, str], arrived: float) -> CallContext:
    """Return the context from the headers of a request.

    The headers are X-Request-ID, X-Portal-Timeout (remaining milliseconds), traceparent, tracestate and
    Idempotency-Key. An id or trace that is malformed or sent twice is replaced, as the specifications require.

    Args:
        headers: by lower-case name.
        arrived: `time.monotonic()` moment at which the head of the request was complete. The deadline counts from it.

    Raises: ProtocolError for a malformed timeout or idempotency key. A malformed key is rejected on every server, also
        without Idempotency.
    """
    given = headers.get("x-request-id")
    context = new_context(CallContext)
    context.request_id = given if given is not None and is_request_id(given) else new_request_id()
    timeout = headers.get("x-portal-timeout")
    if timeout is not None:
        if not is_timeout(timeout):
            raise ProtocolError(f"X-Portal-Timeout must be a whole number of milliseconds, got {timeout[:40]!r}")
        context.deadline = arrived + int(timeout) / 1000
    trace = headers.get("traceparent")
    if trace is not None and parse_traceparent(trace):
        context.traceparent = trace
        state = headers.get("tracestate")
        if state is not None:
            context.tracestate = parse_tracestate(state)
    key = headers.get("idempotency-key")
    if key is not None:
        if not is_idempotency_key(key):
            raise ProtocolError(f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")
        context.idempotency_key = key
    return context


def header_lines(context: CallContext) -> str:
    """Return the headers of `headers_of` as lines of a request's head. Raises: as `headers_of`."""
    if context.traceparent is None and context.parent is None and context.idempotency_key is None:
        request_id, deadline = context.request_id, context.deadline
        if not is_request_id(request_id):
            raise _wrong_id()
        if deadline is None:
            return f"X-Request-ID: {request_id}\r\n"
        return f"X-Request-ID: {request_id}\r\nX-Portal-Timeout: {_milliseconds_until(deadline)}\r\n"
    return "".join([f"{name}: {value}\r\n" for name, value in headers_of(context).items()])


def headers_of(context: CallContext) -> dict[str, str]:
    """Return the request headers that carry a context to a server.

    Raises: ProtocolError for a request id or idempotency key that a header cannot carry.
    """
    headers = {"X-Request-ID": context.request_id}
    if not is_request_id(context.request_id):
        raise _wrong_id()
    if context.deadline is not None:
        headers["X-Portal-Timeout"] = str(_milliseconds_until(context.deadline))
    if context.traceparent is not None or context.parent is not None:
        trace, state = trace_to_send(context)
        if trace is not None:
            headers["traceparent"] = trace
        if state is not None:
            headers["tracestate"] = state
    if context.idempotency_key is not None:
        headers["Idempotency-Key"] = key_to_send(context.idempotency_key)
    return headers


def _wrong_id() -> ProtocolError:
    return ProtocolError("the request id must be 1 to 128 visible ASCII characters")


def _milliseconds_until(deadline: float) -> int:
    """Return the whole milliseconds that are left, rounded up."""
    left = math.ceil((deadline - monotonic()) * 1000)
    return left if left > 0 else 0
