"""Map many calls in chunks: how large they are, how many are in flight, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import repeat
from typing import Any, NamedTuple

from ..errors import PortalError
from .chunk import ChunkResult, Outcome, PackedCall

__all__ = ["MAX_BYTES", "ChunkSize", "Progress", "map_chunks"]

MAX_BYTES = 4 << 20  # of the parameters of a task, and of its results; one larger call goes alone
_IN_FLIGHT = 8 * MAX_BYTES  # of the parameters of all tasks in flight
_TARGET = 0.25  # seconds that a task should take
_GROWTH = 4  # at most, from one chunk to the next
_MAX = 2048  # calls in one task

Params = Mapping[str, Any]


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

    def note(self, calls: int, seconds: float, size: int = 0) -> None:
        """Note how long a worker took for a chunk, and how many bytes its results have."""
        if self._fixed is None and calls >= self.size:
            ideal = int(calls * min(_TARGET / max(seconds, 1e-6), MAX_BYTES / max(size, 1)))
            self.size = max(1, min(ideal, self.size * _GROWTH, _MAX))


class _Entry(NamedTuple):
    """A call of a map; `outcome` is of one that was not sent."""

    call: PackedCall | None
    outcome: Outcome | None

    @property
    def size(self) -> int:
        return 0 if self.call is None else len(self.call.params)


class _Reader:
    """Reads the calls of a map, chunk by chunk.

    Args:
        params: of the calls.
        pack: see `map_chunks`.
    """

    def __init__(self, params: Iterable[Params], pack: Callable[[Params], PackedCall]) -> None:
        self._entries = self._read(params, pack)
        self._next: list[_Entry] = []  # one that did not fit

    def _read(self, params: Iterable[Params], pack: Callable[[Params], PackedCall]) -> Iterator[_Entry]:
        for one in params:
            try:
                yield _Entry(pack(one), None)
            except PortalError as error:
                yield _Entry(None, ("failed", error))

    def chunk(self, calls: int) -> list[_Entry]:
        """Return up to so many calls, with a bounded number of bytes; none at the end."""
        found, self._next = self._next, []
        size = sum(entry.size for entry in found)
        while len(found) < calls and (entry := next(self._entries, None)) is not None:
            size += entry.size
            if found and size > MAX_BYTES:
                self._next = [entry]
                break
            found.append(entry)
        return found


class _InFlight(NamedTuple):
    """A chunk.

    Attributes:
        future: of the chunk; None if none of its calls could be sent.
        size: bytes of its parameters.
    """

    entries: list[_Entry]
    future: Future[ChunkResult] | None
    size: int


def map_chunks(
    submit: Callable[[Sequence[PackedCall]], Future[ChunkResult]],
    wait: Callable[[Future[ChunkResult]], ChunkResult],
    params: Iterable[Params],
    *,
    pack: Callable[[Params], PackedCall],
    chunks: int,
    size: int | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Generator[tuple[str | None, Outcome]]:
    """Yield the request id and the outcome for each of `params`, in order.

    A call that `pack` rejects is not sent. If a whole chunk fails, each of its calls has that failure.

    Args:
        submit: sends a chunk.
        wait: returns the result of a chunk. Both raise portal errors.
        params: may be endless; it is read as outcomes are taken.
        pack: makes a call of parameters; raises a portal error for parameters that do not fit.
        chunks: how many may be in flight. Fewer are if their parameters are large.
        size: the most calls in a chunk; None adapts it.
        progress: called after each chunk.

    Closing the generator cancels the chunks in flight.
    """
    reader, chunk_size = _Reader(params, pack), ChunkSize(size)
    in_flight: deque[_InFlight] = deque()
    done = sent = failed = 0
    try:
        while True:
            while len(in_flight) < chunks and sum(one.size for one in in_flight) < _IN_FLIGHT:
                entries = reader.chunk(chunk_size.size)
                if not entries:
                    break
                in_flight.append(_sent(entries, submit))
                sent += len(entries)
            if not in_flight:
                return
            entries, (outcomes, seconds, result_size) = in_flight[0].entries, _received(in_flight[0], wait)
            in_flight.popleft()
            chunk_size.note(len(outcomes), seconds, result_size)
            done += len(outcomes)
            failed += sum(kind != "ok" for kind, _ in outcomes)
            if progress is not None:
                progress(Progress(done, sent, failed))
            for entry, outcome in zip(entries, outcomes, strict=True):
                yield None if entry.call is None else entry.call.request_id, outcome
    finally:
        for one in in_flight:
            if one.future is not None:
                one.future.cancel()


def _sent(entries: list[_Entry], submit: Callable[[Sequence[PackedCall]], Future[ChunkResult]]) -> _InFlight:
    calls = [entry.call for entry in entries if entry.call is not None]
    if not calls:
        return _InFlight(entries, None, 0)
    try:
        return _InFlight(entries, submit(calls), sum(entry.size for entry in entries))
    except PortalError as error:
        failed: Outcome = ("failed", error)
        return _InFlight([entry if entry.outcome else _Entry(entry.call, failed) for entry in entries], None, 0)


def _received(chunk: _InFlight, wait: Callable[[Future[ChunkResult]], ChunkResult]) -> ChunkResult:
    received: Iterator[Outcome] = iter(())
    seconds, size = 0.0, 0
    if chunk.future is not None:
        try:
            found, seconds, size = wait(chunk.future)
            received = iter(found)
        except PortalError as error:
            received = repeat(("failed", error))
    outcomes = [next(received) if entry.outcome is None else entry.outcome for entry in chunk.entries]
    return ChunkResult(outcomes, seconds, size)
