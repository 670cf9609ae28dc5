"""Map many calls in chunks: how large they are, how many are in flight, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any, NamedTuple

from .chunk import ChunkResult, Outcome

__all__ = ["ChunkSize", "Progress", "map_chunks"]

_TARGET = 0.25  # seconds that a task should take
_GROWTH = 4  # at most, from one chunk to the next
_MAX = 2048  # calls in one task
_AHEAD = 2  # chunks in flight for each thread of the cluster


class Progress(NamedTuple):
    """How far a map is.

    Attributes:
        done: calls whose outcomes have arrived.
        sent: calls that were sent.
        failed: those of `done` that failed.
    """

    done: int
    sent: int
    failed: int


class ChunkSize:
    """How many calls the next task gets: so many that it takes about a quarter of a second.

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


def map_chunks(
    submit: Callable[[Sequence[Mapping[str, Any]]], Future[ChunkResult]],
    wait: Callable[[Future[ChunkResult]], ChunkResult],
    params: Iterable[Mapping[str, Any]],
    *,
    threads: int,
    size: int | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Generator[Outcome]:
    """Yield the outcome for each of `params`, in order.

    Args:
        submit: sends a chunk.
        wait: returns the result of a chunk, or raises.
        params: may be endless; it is read as outcomes are taken.
        threads: how many chunks the cluster runs at a time.
        size: calls in a chunk; None adapts it.
        progress: called after each chunk.

    Closing the generator cancels the chunks in flight.
    """
    items, chunk_size = iter(params), ChunkSize(size)
    in_flight: deque[Future[ChunkResult]] = deque()
    done = sent = failed = 0
    try:
        while True:
            while len(in_flight) < threads * _AHEAD and (calls := list(islice(items, chunk_size.size))):
                in_flight.append(submit(calls))
                sent += len(calls)
            if not in_flight:
                return
            outcomes, seconds = wait(in_flight[0])
            in_flight.popleft()
            chunk_size.note(len(outcomes), seconds)
            done += len(outcomes)
            failed += sum(kind != "ok" for kind, _ in outcomes)
            if progress is not None:
                progress(Progress(done, sent, failed))
            yield from outcomes
    finally:
        for future in in_flight:
            future.cancel()
