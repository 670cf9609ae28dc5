"""Request headers that carry a CallContext (W3C Trace Context for traceparent)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from time import monotonic

from ...context import CallContext, new_request_id, parse_traceparent
from ...errors import ProtocolError
from ...http11.fields import is_idempotency_key, is_request_id

__all__ = ["context_of", "headers_of"]

_TIMEOUT = re.compile(r"^[0-9]{1,10}$")


def context_of(headers: Mapping[str, str], clock: float) -> CallContext:
    """The context that a request's headers carry: X-Request-ID, X-Portal-Timeout (milliseconds left), traceparent.

    A malformed id or trace is replaced, as its specification asks; a malformed timeout or idempotency key is a
    ProtocolError, the key also where nobody keeps answers: what is refused does not depend on who listens.

    Args:
        clock: `time.monotonic()` when the request had arrived.
    """
    given = headers.get("x-request-id")
    context = CallContext()
    context.request_id = given if given is not None and is_request_id(given) else new_request_id()
    timeout = headers.get("x-portal-timeout")
    if timeout is not None:
        if not _TIMEOUT.match(timeout):
            raise ProtocolError(f"X-Portal-Timeout is {timeout[:40]!r}; it is a whole number of milliseconds")
        context.deadline = clock + int(timeout) / 1000
    trace = headers.get("traceparent")
    if trace is not None and parse_traceparent(trace):
        context.traceparent = trace
    key = headers.get("idempotency-key")
    if key is not None:
        if not is_idempotency_key(key):
            raise ProtocolError("an Idempotency-Key has 1 to 255 visible ASCII characters")
        context.idempotency_key = key
    return context


def headers_of(context: CallContext) -> dict[str, str]:
    """The headers that carry a context to a server; ProtocolError for an id or a key that no header can carry."""
    request_id = context.request_id
    if not is_request_id(request_id):
        raise ProtocolError("the request id must be 1 to 128 visible ASCII characters")
    headers = {"X-Request-ID": request_id}
    if context.deadline is not None:
        headers["X-Portal-Timeout"] = str(max(0, math.ceil((context.deadline - monotonic()) * 1000)))
    if context.traceparent is not None and parse_traceparent(context.traceparent):
        headers["traceparent"] = context.traceparent
    key: object = context.idempotency_key  # often made of what an end user sent: a line break would end the header
    if key is not None:
        if not isinstance(key, str) or not is_idempotency_key(key):
            raise ProtocolError("an idempotency key has 1 to 255 visible ASCII characters", status=400)
        headers["Idempotency-Key"] = key
    return headers
