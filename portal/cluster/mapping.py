"""Map many calls in chunks: how large they are, how many are in flight, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice, repeat
from typing import Any, NamedTuple

from ..errors import PortalError
from .chunk import ChunkResult, Outcome

__all__ = ["ChunkSize", "Progress", "map_chunks"]

_TARGET = 0.25  # seconds that a task should take
_GROWTH = 4  # at most, from one chunk to the next
_MAX = 2048  # calls in one task


class Progress(NamedTuple):
    """The progress of a map.

    Attributes:
        done: calls whose outcomes have arrived.
        sent: calls that were sent.
        failed: those of `done` that failed.
    """

    done: int
    sent: int
    failed: int


class ChunkSize:
    """The number of calls for the next task: so many that it takes about a quarter of a second.

    Args:
        fixed: the size of every chunk, or None.

    Threads: one at a time.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self.size = fixed or 1

    def note(self, calls: int, seconds: float) -> None:
        """Note how long a worker took for a chunk."""
        if self._fixed is None and calls >= self.size:
            ideal = int(calls * _TARGET / max(seconds, 1e-6))
            self.size = max(1, min(ideal, self.size * _GROWTH, _MAX))


class _InFlight(NamedTuple):
    """A chunk.

    Attributes:
        outcomes: of each call; None for one that was sent.
        future: of the chunk; None if none of its calls could be sent.
    """

    outcomes: list[Outcome | None]
    future: Future[ChunkResult] | None


def map_chunks(
    submit: Callable[[Sequence[Mapping[str, Any]]], Future[ChunkResult]],
    wait: Callable[[Future[ChunkResult]], ChunkResult],
    params: Iterable[Mapping[str, Any]],
    *,
    chunks: int,
    check: Callable[[Mapping[str, Any]], object] = lambda _: None,
    size: int | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Generator[Outcome]:
    """Yield the outcome for each of `params`, in order.

    A call that `check` rejects is not sent. If a whole chunk fails, each of its calls has that failure.

    Args:
        submit: sends a chunk.
        wait: returns the result of a chunk. Both raise portal errors.
        params: may be endless; it is read as outcomes are taken.
        chunks: how many may be in flight.
        check: raises a portal error for parameters that do not fit.
        size: calls in a chunk; None adapts it.
        progress: called after each chunk.

    Closing the generator cancels the chunks in flight.
    """
    items, chunk_size = iter(params), ChunkSize(size)
    in_flight: deque[_InFlight] = deque()
    done = sent = failed = 0
    try:
        while True:
            while len(in_flight) < chunks and (calls := list(islice(items, chunk_size.size))):
                in_flight.append(_sent(calls, submit, check))
                sent += len(calls)
            if not in_flight:
                return
            outcomes, seconds = _received(in_flight[0], wait)
            in_flight.popleft()
            chunk_size.note(len(outcomes), seconds)
            done += len(outcomes)
            failed += sum(kind != "ok" for kind, _ in outcomes)
            if progress is not None:
                progress(Progress(done, sent, failed))
            yield from outcomes
    finally:
        for one in in_flight:
            if one.future is not None:
                one.future.cancel()


def _sent(calls: Sequence[Mapping[str, Any]], submit: Any, check: Any) -> _InFlight:
    outcomes: list[Outcome | None] = []
    for params in calls:
        try:
            check(params)
            outcomes.append(None)
        except PortalError as error:
            outcomes.append(("failed", error))
    valid = [params for params, outcome in zip(calls, outcomes, strict=True) if outcome is None]
    if not valid:
        return _InFlight(outcomes, None)
    try:
        return _InFlight(outcomes, submit(valid))
    except PortalError as error:
        return _InFlight([("failed", error) if one is None else one for one in outcomes], None)


def _received(chunk: _InFlight, wait: Callable[[Future[ChunkResult]], ChunkResult]) -> ChunkResult:
    received: Iterator[Outcome] = iter(())
    seconds = 0.0
    if chunk.future is not None:
        try:
            found, seconds = wait(chunk.future)
            received = iter(found)
        except PortalError as error:
            received = repeat(("failed", error))
    return ChunkResult([next(received) if one is None else one for one in chunk.outcomes], seconds)
