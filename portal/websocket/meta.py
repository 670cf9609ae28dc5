"""The `meta` member of a request: the context of a call, as the headers of an HTTP request carry it.

timeout           milliseconds that are left
request_id        id of the call in logs
traceparent, tracestate   W3C Trace Context
idempotency_key   lets a server with `Idempotency` run the call once
credit            items of a stream that the caller accepts; of the session
"""

from __future__ import annotations

import math
import re

from .._internal.json_text import JSONObject
from .._internal.trace_context import parse_traceparent, parse_tracestate
from ..context import CallContext, new_context, new_request_id
from ..errors import ProtocolError
from ..http11.fields import MAX_IDEMPOTENCY_KEY, is_idempotency_key, is_request_id
from ..network.sent_context import key_to_send, trace_to_send

__all__ = ["context_of", "encoded_meta", "meta_of"]

_is_plain_id = re.compile(r"[0-9A-Za-z._-]{1,128}").fullmatch
_MAX_TIMEOUT = 10**10  # milliseconds, as over HTTP


def meta_of(context: CallContext, now: float) -> JSONObject:
    """Return the `meta` member that carries a context to the peer.

    Args:
        now: `time.monotonic()` moment at which the request is sent.

    Raises: ProtocolError for a request id or idempotency key that HTTP could not carry either.
    """
    request_id = context.request_id
    if not is_request_id(request_id):
        raise ProtocolError("the request id must be 1 to 128 visible ASCII characters")
    meta: JSONObject = {"request_id": request_id}
    if context.deadline is not None:
        meta["timeout"] = max(0, math.ceil((context.deadline - now) * 1000))
    if context.traceparent is not None or context.parent is not None:
        trace, state = trace_to_send(context)
        if trace is not None:
            meta["traceparent"] = trace
        if state is not None:
            meta["tracestate"] = state
    if context.idempotency_key is not None:
        meta["idempotency_key"] = key_to_send(context.idempotency_key)
    return meta


def encoded_meta(context: CallContext, now: float, pending: int) -> bytes | None:
    """Return the JSON text of `meta` for a call outside of any other, or None for a context that needs `meta_of`.

    Args:
        now: as for `meta_of`.
        pending: the first id whose response this side does not have.
    """
    if context.parent is not None or context.traceparent is not None or context.idempotency_key is not None:
        return None
    request_id, deadline = context.request_id, context.deadline
    if deadline is None or not _is_plain_id(request_id):
        return None
    left = max(0, math.ceil((deadline - now) * 1000))
    return b'{"request_id":"%b","timeout":%d,"pending":%d}' % (request_id.encode(), left, pending)


def context_of(meta: JSONObject | None, arrived: float) -> CallContext:
    """Return the context from the `meta` member of a request.

    An id or trace that is malformed is replaced, as with HTTP.

    Args:
        arrived: `time.monotonic()` moment at which the request was complete. The deadline counts from it.

    Raises: ProtocolError for a malformed timeout or idempotency key.
    """
    context = new_context(CallContext)
    given = meta or {}
    request_id, timeout = given.get("request_id"), given.get("timeout")
    valid = isinstance(request_id, str) and is_request_id(request_id)
    context.request_id = str(request_id) if valid else new_request_id()
    if timeout is not None:
        if not isinstance(timeout, int) or isinstance(timeout, bool) or not 0 <= timeout < _MAX_TIMEOUT:
            raise ProtocolError(f"meta.timeout must be a whole number of milliseconds, got {str(timeout)[:40]}")
        context.deadline = arrived + timeout / 1000
    trace, state, key = given.get("traceparent"), given.get("tracestate"), given.get("idempotency_key")
    if isinstance(trace, str) and parse_traceparent(trace):
        context.traceparent = trace
        if isinstance(state, str):
            context.tracestate = parse_tracestate(state)
    if key is not None:
        if not isinstance(key, str) or not is_idempotency_key(key):
            raise ProtocolError(f"meta.idempotency_key must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")
        context.idempotency_key = key
    return context
