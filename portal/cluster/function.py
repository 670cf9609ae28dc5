"""ClusterFunction: a function at a dask:// address, and how it is called: once, or in a map of many calls."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from ..address import Address
from ..context import CallContext
from ..errors import PortalError
from ..function import CallTransport, ResolvedFunction
from ..schema import FunctionSchema
from .chunk import ChunkResult, Outcome, PackedCall, pack_call
from .connection import ClusterConnection
from .mapping import map_chunks
from .outcomes import result_of

__all__ = ["ClusterFunction", "MapCalls"]


class ClusterFunction(ResolvedFunction):
    """A function on a cluster.

    Attributes:
        data: the pickled function, which only workers unpickle.
        connection: to the scheduler.

    Threads: any.
    """

    def __init__(
        self,
        resolver: CallTransport,
        connection: ClusterConnection,
        data: bytes,
        *,
        schema: FunctionSchema,
        address: Address,
        timeout: float | None,
    ) -> None:
        super().__init__(resolver, schema=schema, address=address, timeout=timeout)
        self.connection = connection
        self.data = data

    def call_on_cluster(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call: JSON data in, JSON data out. Parameters are validated before they are sent.

        Raises: what the function raises; ValidationError, CallTimeout, CallCancelled, TransportError.
        """
        self.schema.validate_input(params)
        limit = self.schema.timeout
        limited = context if limit is None else context.child(timeout=limit)
        future = self.submit_chunk([pack_call(params, context)], limited)
        [outcome] = self.connection.wait(self.name, future, limited).outcomes
        return result_of(self, outcome, context.request_id)

    def submit_chunk(self, calls: Sequence[PackedCall], context: CallContext) -> Future[ChunkResult]:
        """Submit a chunk of calls as one task. Raises: as `ClusterConnection.submit`."""
        fields = [tuple(call) for call in calls]
        return self.connection.submit(self.name, self.data, fields, context, idempotent=self.schema.idempotent)


class MapCalls:
    """The calls of one map: packs them, submits them in chunks, and waits for the chunks.

    Each chunk has a context of its own, and so has each call. The context that is current when this is made is around
    all of them.

    Args:
        function: is called.
        context: returns the context of a chunk.
        timeout: seconds for a call of a chunk without a deadline; None for no limit.

    Threads: one at a time.
    """

    def __init__(self, function: ClusterFunction, context: Callable[[], CallContext], *, timeout: float | None) -> None:
        self._function = function
        self._context = context
        self._timeout = timeout
        self._outer = CallContext.current()
        self._sent: dict[int, tuple[CallContext, int]] = {}  # context and number of calls, by the id of the future

    def results(self, params: Iterable[Mapping[str, Any]], *, return_exceptions: bool, **options: Any) -> Iterator[Any]:
        """Return the results for each of `params`, in order.

        Args:
            return_exceptions: whether an error becomes a result; otherwise the first one is raised.
            options: of `map_chunks`.
        """
        outcomes = map_chunks(self._submit, self._wait, params, pack=self._pack, **options)
        return _results(self._function, outcomes, return_exceptions=return_exceptions)

    def _pack(self, params: Mapping[str, Any]) -> PackedCall:
        context = CallContext.for_call(None, self._outer)
        try:
            self._function.schema.validate_input(params)
            return pack_call(params, context)
        except PortalError as error:
            error.with_context(request_id=context.request_id)
            raise

    def _submit(self, calls: Sequence[PackedCall]) -> Future[ChunkResult]:
        context = self._context()
        future = self._function.submit_chunk(calls, context)
        self._sent[id(future)] = context, len(calls)
        return future

    def _wait(self, future: Future[ChunkResult]) -> ChunkResult:
        context, calls = self._sent.pop(id(future))
        limit = self._limit(context)
        # Earlier chunks have ended, so this one runs. Its calls run one after the other.
        limited = context if limit is None else context.child(timeout=limit * calls)
        return self._function.connection.wait(self._function.name, future, limited)

    def _limit(self, context: CallContext) -> float | None:
        """Return the seconds for one call of a chunk, or None."""
        limits = (self._function.schema.timeout, self._timeout if context.deadline is None else None)
        return min((limit for limit in limits if limit is not None), default=None)


def _results(
    function: ClusterFunction, outcomes: Generator[tuple[str | None, Outcome]], *, return_exceptions: bool
) -> Iterator[Any]:
    with closing(outcomes):
        for request_id, outcome in outcomes:
            yield _result(function, outcome, request_id, return_exceptions)


def _result(function: ClusterFunction, outcome: Outcome, request_id: str | None, return_exceptions: bool) -> Any:
    try:
        return result_of(function, outcome, request_id)
    except PortalError as error:
        if not return_exceptions:
            raise
        return error
