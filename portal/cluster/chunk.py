"""The far side of a cluster: a worker runs a chunk of calls of one function in one task."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from importlib import import_module
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from ..calls.deadlines import limit_deadline, timeout_error
from ..context import CallContext, enter, leave
from ..errors import SerializationError
from ..function import Function
from ..function.remote_call import context_of
from ..network.sent_context import trace_to_send
from .causes import pack_error
from .packing import load_function

__all__ = ["ChunkResult", "Outcome", "PackedCall", "pack_call", "run_chunk"]

#: Of a worker: ("ok", JSON data), ("error", PackedError), or, for a call that did not run, ("late", None) after the
#: deadline and ("absent", text) if the function cannot be loaded. ("failed", PortalError) if no worker has responded.
Outcome = tuple[str, Any]


class PackedCall(NamedTuple):
    """A call, as it is sent.

    Attributes:
        params: the parameters, as JSON data, pickled.
        request_id, traceparent, tracestate: of the context of the call; the rest of it is that of the chunk.
    """

    params: bytes
    request_id: str
    traceparent: str | None
    tracestate: str | None


class ChunkResult(NamedTuple):
    """The outcomes of a chunk, in order.

    Attributes:
        seconds: how long the worker took.
        size: bytes of the outcomes.
    """

    outcomes: list[Outcome]
    seconds: float
    size: int = 0


def pack_call(params: Mapping[str, Any], context: CallContext) -> PackedCall:
    """Return a call with its own context. Raises: SerializationError for parameters that cannot be pickled."""
    try:
        data = pickle.dumps(params, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # the pickling of foreign objects may raise anything
        message = f"the parameters cannot be sent to a cluster: {type(error).__name__}: {error}"
        raise SerializationError(message, delivery="not_sent", cause=error) from error
    return PackedCall(data, context.request_id, *trace_to_send(context))


def run_chunk(data: bytes, calls: Sequence[tuple[Any, ...]], facts: Mapping[str, Any]) -> ChunkResult:
    """Run calls of one function, one after the other, until the deadline or until the caller does not wait any more.

    Args:
        data: the function; see `pack_function`.
        calls: PackedCalls, or tuples of their fields, which are pickled in less time.
        facts: the context of all of them, made by `context_to_dict`.
    """
    context = context_of(facts)
    try:
        function = load_function(data)
    except Exception as error:  # the import of user code may raise anything
        return ChunkResult([("absent", f"{type(error).__name__}: {error}")] * len(calls), 0.0)
    abandoned, begin = import_module(".abandoned", __package__), perf_counter()  # it needs the package distributed
    chunk = _Chunk(function, context)
    with abandoned.cancelled_with_task(context):
        outcomes = [chunk.run(*call) for call in calls]
    outcomes, size = _picklable(outcomes)
    return ChunkResult(outcomes, perf_counter() - begin, size)


class _Chunk:
    """Runs the calls of a chunk.

    Args:
        function: the function.
        context: of the chunk, whose cancellation cancels the running call. Each call has its own context and trace.
    """

    def __init__(self, function: Function, context: CallContext) -> None:
        self._function, self._context = function, context
        self._timeout = function.schema.timeout
        self._running = context
        context.on_cancel(lambda: self._running.cancel())

    def run(self, params: bytes, request_id: str, traceparent: str | None, tracestate: str | None) -> Outcome:
        """Run one call with the fields of a PackedCall."""
        common = self._context
        context = self._running = CallContext(
            request_id=request_id,
            deadline=common.deadline,
            identity=common.identity,
            traceparent=traceparent,
            tracestate=tracestate,
            baggage=common.baggage,
            metadata=common.metadata,
            idempotency_key=common.idempotency_key,
        )
        if common.expired or common.cancelled:
            return "late", None
        if self._timeout is not None:
            limit_deadline(context, monotonic() + self._timeout)
        token = enter(context)
        try:
            result = self._function.invoke(pickle.loads(params), context)
            if context.expired:  # as everywhere else, the caller gets no result after the deadline
                raise timeout_error(context, self._function.name, self._timeout)
            return "ok", result
        except BaseException as error:  # also SystemExit
            return "error", pack_error(error)
        finally:
            leave(token)


def _picklable(outcomes: list[Outcome]) -> tuple[list[Outcome], int]:
    """Return the outcomes, each of which can be sent, and their size."""
    try:
        return outcomes, len(pickle.dumps(outcomes, pickle.HIGHEST_PROTOCOL))
    except Exception:  # a result that was not validated may be anything
        return [_checked(one) for one in outcomes], 0


def _checked(outcome: Outcome) -> Outcome:
    try:
        pickle.dumps(outcome)
        return outcome
    except Exception as error:  # an object of a user may raise anything
        return "error", pack_error(error)
