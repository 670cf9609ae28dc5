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
_MAX_BYTES_IN_FLIGHT = 8 * MAX_BYTES  # of the parameters of all tasks in flight
_TARGET_SECONDS = 0.25  # seconds that a task should take
_MAX_GROWTH = 4  # at most, from one chunk to the next
_MAX_CALLS = 2048  # calls in one task

Params = Mapping[str, Any]
Pack = Callable[[Params], PackedCall]
Submit = Callable[[Sequence[PackedCall]], Future[ChunkResult]]
Wait = Callable[[Future[ChunkResult]], ChunkResult]


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
            ideal = int(calls * min(_TARGET_SECONDS / max(seconds, 1e-6), MAX_BYTES / max(size, 1)))
            self.size = max(1, min(ideal, self.size * _MAX_GROWTH, _MAX_CALLS))


class _Entry(NamedTuple):
    """A call of a map; `outcome` is of one that was not sent."""

    call: PackedCall | None
    outcome: Outcome | None

    @property
    def size(self) -> int:
        return 0 if self.call is None else len(self.call.params)

    @property
    def request_id(self) -> str | None:
        return None if self.call is None else self.call.request_id


class _Reader:
    """Reads the calls of a map, chunk by chunk.

    Args:
        params: of the calls.
        pack: see `map_chunks`.
    """

    def __init__(self, params: Iterable[Params], pack: Pack) -> None:
        self._entries = self._read(params, pack)
        self._next: list[_Entry] = []  # one that did not fit

    def _read(self, params: Iterable[Params], pack: Pack) -> Iterator[_Entry]:
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


class _Map:
    """A map that runs: its chunks in flight, and how far it has come.

    Args:
        reader: reads the calls.
        size: of the next chunk.
        submit, wait, chunks: see `map_chunks`.
    """

    def __init__(self, submit: Submit, wait: Wait, reader: _Reader, *, chunks: int, size: ChunkSize) -> None:
        self._submit, self._wait, self._reader = submit, wait, reader
        self._chunks, self._size = chunks, size
        self._in_flight: deque[_InFlight] = deque()  # the oldest first
        self._done = self._sent = self._failed = 0

    def receive(self) -> list[tuple[str | None, Outcome]]:
        """Send what may be in flight, and return the request ids and outcomes of the oldest chunk; [] at the end."""
        self._send()
        if not self._in_flight:
            return []
        entries = self._in_flight[0].entries
        outcomes, seconds, size = _received(self._in_flight[0], self._wait)
        self._in_flight.popleft()
        self._size.note(len(outcomes), seconds, size)
        self._done += len(outcomes)
        self._failed += sum(kind != "ok" for kind, _ in outcomes)
        return [(entry.request_id, outcome) for entry, outcome in zip(entries, outcomes, strict=True)]

    def _send(self) -> None:
        while len(self._in_flight) < self._chunks and sum(one.size for one in self._in_flight) < _MAX_BYTES_IN_FLIGHT:
            entries = self._reader.chunk(self._size.size)
            if not entries:
                return
            self._in_flight.append(_sent(entries, self._submit))
            self._sent += len(entries)

    def progress(self) -> Progress:
        """Return the progress until now."""
        return Progress(self._done, self._sent, self._failed)

    def cancel(self) -> None:
        """Cancel the chunks in flight."""
        for one in self._in_flight:
            if one.future is not None:
                one.future.cancel()


def map_chunks(
    submit: Submit,
    wait: Wait,
    params: Iterable[Params],
    *,
    pack: Pack,
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
    run = _Map(submit, wait, _Reader(params, pack), chunks=chunks, size=ChunkSize(size))
    try:
        while received := run.receive():
            if progress is not None:
                progress(run.progress())
            yield from received
    finally:
        run.cancel()


def _sent(entries: list[_Entry], submit: Submit) -> _InFlight:
    calls = [entry.call for entry in entries if entry.call is not None]
    if not calls:
        return _InFlight(entries, None, 0)
    try:
        return _InFlight(entries, submit(calls), sum(entry.size for entry in entries))
    except PortalError as error:
        failed: Outcome = ("failed", error.with_traceback(None))  # whose frames refer to it
        return _InFlight([entry if entry.outcome else _Entry(entry.call, failed) for entry in entries], None, 0)


def _received(chunk: _InFlight, wait: Wait) -> ChunkResult:
    received: Iterator[Outcome] = iter(())
    seconds, size = 0.0, 0
    if chunk.future is not None:
        try:
            found, seconds, size = wait(chunk.future)
            received = iter(found)
        except PortalError as error:
            received = repeat(("failed", error.with_traceback(None)))
    outcomes = [next(received) if entry.outcome is None else entry.outcome for entry in chunk.entries]
    return ChunkResult(outcomes, seconds, size)
