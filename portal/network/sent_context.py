"""The parts of a CallContext that are checked before they are sent: the trace and the idempotency key.

HTTP sends them as headers, and a WebSocket message in its `meta`, by the same rules.

Source: W3C Trace Context.
"""

from __future__ import annotations

from .._internal.trace_context import parse_traceparent, parse_tracestate
from ..context import CallContext
from ..errors import ProtocolError
from ..http11.fields import MAX_IDEMPOTENCY_KEY, is_idempotency_key

__all__ = ["key_to_send", "trace_to_send"]


def trace_to_send(context: CallContext) -> tuple[str | None, str | None]:
    """Return the traceparent and the tracestate to send, each None if there is none.

    A malformed one is left out. A nested call without a trace starts one.
    """
    trace = context.traceparent
    if trace is not None and parse_traceparent(trace) is None:
        trace = None
    if trace is None and context.parent is not None:
        trace = context.start_trace()
    state = context.tracestate
    return trace, None if trace is None or state is None else parse_tracestate(state)


def key_to_send(key: object) -> str:
    """Return an idempotency key, which may contain text of an end user: a line break would end a header.

    Raises: ProtocolError for a key that a header cannot carry.
    """
    if not isinstance(key, str) or not is_idempotency_key(key):
        words = f"the idempotency key must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"
        raise ProtocolError(words, status=400)
    return key
