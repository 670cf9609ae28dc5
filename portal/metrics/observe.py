"""Observe reports each finished call to a hook. CallMetrics is a hook that counts calls in memory.

Example:

    metrics = CallMetrics()
    HTTPPortal(middleware=[Observe(metrics)])
    metrics.snapshot()["add"].calls
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from .._internal.at_fork import renew_after_fork
from .._internal.closing import ClosingIterator
from .._internal.log import get_logger
from .._internal.settings import callback, count, positive_seconds, require
from .._internal.throttle import Throttle
from ..calls.middleware import Call, CallNext
from ..errors import CallCancelled, CallTimeout, PortalError

__all__ = ["DURATIONS", "OTHER", "CallMetrics", "CallRecord", "FunctionCounts", "Observe"]

_log = get_logger("portal.calls")
_LOG_INTERVAL = 60.0  # seconds between two log lines about a failing hook

#: The default upper boundaries of the duration buckets, in seconds.
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: The name that counts all functions, or all codes, beyond the limit. A function cannot have this name.
OTHER = "*"
_MAX_CODES = _MAX_UNITS = 64


class CallRecord(NamedTuple):
    """One finished call.

    Attributes:
        function: the name of the function; "group/name" for a function of a group or service.
        seconds: the duration; for a stream, until its end.
        code: "ok" or the code of the error. For a stream that was not read to its end it is "cancelled", or "timeout"
            after the deadline.
        streaming: whether the function is a stream.
        items: the number of items that the stream sent; 0 for other calls.
        peer_known: whether the call came from a client with a network address.
        identified: whether the identity of the caller is known.
        usage: what the call has used, by unit, such as {"fuel": 25_000}; see `CallContext.usage`.
    """

    function: str
    seconds: float
    code: str
    streaming: bool = False
    items: int = 0
    peer_known: bool = False
    identified: bool = False
    usage: Mapping[str, int] = MappingProxyType({})


_new_record = tuple.__new__  # saves the call of the NamedTuple's own constructor


class Observe:
    """Call middleware that calls a hook after each call, in the thread of the call.

    An exception of the hook is logged, at most once a minute, and does not affect the call. Put Observe first in the
    list, so that it sees the calls that other middleware rejects.

    Args:
        on_call: the hook, a callable (CallRecord). It must not block.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a hook that is not callable.

    Threads: any; the hook must be thread-safe too.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(self, on_call: Callable[[CallRecord], object], *, clock: Callable[[], float] = monotonic) -> None:
        self._on_call = callback("observe.on_call", on_call, expected="a callable (CallRecord)")
        self._clock = clock
        self._failures = Throttle(_LOG_INTERVAL)

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        started = self._clock()
        try:
            result = call_next(call)
        except BaseException as error:
            self.report(call, started, _code_of(error))
            raise
        if call.streaming:
            return _ObservedStream(self, call, started, result)
        self.report(call, started, "ok")
        return result

    def report(self, call: Call, started: float, code: str, items: int = 0) -> None:
        """Call the hook for a call that started at `started` and ends now. Raises nothing."""
        name = call.function.name
        if call.group:
            name = f"{call.group}/{name}"
        context = call.context
        identified = context.identity is not None
        seconds = self._clock() - started
        values = (name, seconds, code, call.streaming, items, call.peer != "", identified, context.usage)
        try:
            self._on_call(_new_record(CallRecord, values))
        except Exception:
            if self._failures.allows(self._clock()):
                _log.exception("the hook of Observe failed")


def _code_of(error: BaseException) -> str:
    if isinstance(error, PortalError):
        return error.code
    return PortalError.code if isinstance(error, Exception) else CallCancelled.code


class _ObservedStream(ClosingIterator):
    """The items of a stream. It reports the call when they end or the stream is closed.

    Threads: one at a time.
    """

    def __init__(self, observe: Observe, call: Call, started: float, items: Iterator[Any]) -> None:
        super().__init__(items)
        self._observe = observe
        self._call = call
        self._started = started
        self._count = 0
        self._finished = False

    def __next__(self) -> Any:
        try:
            item = super().__next__()
        except StopIteration:
            self._finish("ok")
            raise
        except BaseException as error:
            self._finish(_code_of(error))
            raise
        self._count += 1
        return item

    def close(self) -> None:
        """End the call and close the generator behind it."""
        try:
            super().close()
        finally:
            self._finish(CallTimeout.code if self._call.context.expired else CallCancelled.code)

    def __del__(self) -> None:
        # A stream that was never read is dropped without a close. It is still a call.
        self._finish(CallCancelled.code)

    def _finish(self, code: str) -> None:
        if not self._finished:
            self._finished = True
            self._observe.report(self._call, self._started, code, self._count)


@dataclass(frozen=True, slots=True)
class FunctionCounts:
    """The counts of one function.

    Attributes:
        codes: the number of calls by code; "ok" is for calls that returned a result.
        seconds: the duration of all calls together.
        boundaries: the upper boundaries of the duration buckets, in seconds.
        durations: the number of calls by bucket; the last bucket has no upper boundary.
        usage: what all calls together have used, by unit, such as {"fuel": 25_000}.
    """

    codes: dict[str, int]
    seconds: float
    boundaries: tuple[float, ...]
    durations: tuple[int, ...]
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """The number of calls."""
        return sum(self.durations)

    @property
    def failed(self) -> int:
        """The number of calls that returned no result."""
        return sum(count for code, count in self.codes.items() if code != "ok")

    def quantile(self, share: float) -> float | None:
        """Return the boundary in seconds that a share of the calls did not exceed.

        Args:
            share: from 0 to 1; 0.99 is the 99th percentile.

        Returns: infinity beyond the last boundary; None if there are no calls.
        """
        wanted = share * self.calls
        if not self.calls:
            return None
        reached = accumulate(self.durations)
        boundaries = (*self.boundaries, float("inf"))
        return next(boundary for boundary, calls in zip(boundaries, reached, strict=True) if calls >= wanted)


class _Cell:
    """The counts of one function in one thread; only that thread writes to them."""

    __slots__ = ("codes", "durations", "seconds", "usage")

    def __init__(self, buckets: int) -> None:
        self.codes: dict[str, int] = {}
        self.usage: dict[str, int] = {}
        self.durations = [0] * buckets
        self.seconds = 0.0

    def absorb(self, other: _Cell) -> None:
        """Add the counts of another cell. Its thread may write to it at the same time."""
        for code, calls in other.codes.copy().items():
            self.count(code, calls)
        self.durations = [own + more for own, more in zip(self.durations, list(other.durations), strict=True)]
        self.seconds += other.seconds
        self.use(other.usage.copy())

    def use(self, usage: Mapping[str, int]) -> None:
        for unit, amount in usage.items():
            if unit in self.usage or len(self.usage) < _MAX_UNITS:
                self.usage[unit] = self.usage.get(unit, 0) + amount

    def count(self, code: str, times: int = 1) -> None:
        if code not in self.codes and len(self.codes) >= _MAX_CODES:
            code = OTHER
        self.codes[code] = self.codes.get(code, 0) + times


_Cells = dict[str, _Cell]


class _Owner:
    """The cells of one thread, in its local storage. When the thread ends, they are put into `ended`."""

    __slots__ = ("cells", "ended")

    def __init__(self, ended: deque[_Cells]) -> None:
        self.cells: _Cells = {}
        self.ended = ended

    def __del__(self) -> None:
        self.ended.append(self.cells)


class CallMetrics:
    """Counts calls by code, and their durations, by function; a hook for `Observe`.

    Each thread counts in cells of its own, without a lock; `snapshot` adds them up. The counts of a thread that has
    ended are kept.

    Args:
        boundaries: the upper boundaries of the duration buckets, in ascending seconds.
        max_functions: the number of functions that are counted separately. Further ones are counted together as OTHER.

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a child starts at zero.
    """

    def __init__(self, *, boundaries: Iterable[float] = DURATIONS, max_functions: int = 1000) -> None:
        self._boundaries = tuple(boundaries)
        for boundary in self._boundaries:
            positive_seconds("metrics.boundaries", boundary)
        ascending = all(low < high for low, high in pairwise(self._boundaries))
        require(self._boundaries and ascending, "metrics.boundaries", boundaries, "ascending seconds, at least one")
        self._max_functions = count("metrics.max_functions", max_functions)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Start at zero. The parent's lock may have been held, and its threads do not exist in the child."""
        self._lock = threading.Lock()  # guards the attributes below; not taken for a function seen before
        self._local = threading.local()
        self._names: set[str] = set()
        self._live: list[_Cells] = []
        self._ended: deque[_Cells] = deque()
        self._retired: _Cells = {}

    def __call__(self, record: CallRecord) -> None:
        """Count a call."""
        name, seconds, code, _, _, _, _, usage = record
        try:
            cell = self._local.owner.cells[name]
        except (AttributeError, KeyError):
            cell = self._cell(name)
        cell.durations[bisect_left(self._boundaries, seconds)] += 1
        cell.seconds += seconds
        codes = cell.codes
        if code in codes:
            codes[code] += 1
        else:
            cell.count(code)
        if usage:
            cell.use(usage)

    def _cell(self, name: str) -> _Cell:
        owner = getattr(self._local, "owner", None)
        if owner is None:
            owner = self._local.owner = _Owner(self._ended)
            with self._lock:
                self._retire()
                self._live.append(owner.cells)
        if name not in self._names:
            with self._lock:
                if name in self._names or len(self._names) < self._max_functions:
                    self._names.add(name)
                else:
                    name = OTHER
        cells: _Cells = owner.cells
        cell = cells.get(name)
        if cell is None:
            cell = cells[name] = self._new()
        return cell

    def _new(self) -> _Cell:
        return _Cell(len(self._boundaries) + 1)

    def _retire(self) -> None:
        """Add up the cells of ended threads. The caller holds the lock."""
        while self._ended:
            cells = self._ended.popleft()
            self._live = [other for other in self._live if other is not cells]
            self._add(self._retired, cells)

    def _add(self, total: _Cells, cells: _Cells) -> None:
        for name, cell in cells.copy().items():
            if name not in total:
                total[name] = self._new()
            total[name].absorb(cell)

    def snapshot(self) -> dict[str, FunctionCounts]:
        """Return the current counts by function. A call that ends at the same time may be in only some of them."""
        total: _Cells = {}
        with self._lock:
            self._retire()
            for cells in (self._retired, *self._live):
                self._add(total, cells)
        return {
            name: FunctionCounts(cell.codes, cell.seconds, self._boundaries, tuple(cell.durations), cell.usage)
            for name, cell in sorted(total.items())
        }
