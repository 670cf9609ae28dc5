"""Observe: tells a hook of every call when it is over; CallMetrics: such a hook, which counts in memory.

counters = CallMetrics()
HTTPPortal(middleware=[Observe(counters)])
counters.snapshot()["add"].calls
"""

from __future__ import annotations

import logging
import os
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakSet

from .._internal.closing import ClosingIterator
from ..calls.middleware import Call, CallNext
from ..errors import CallCancelled, CallTimeout, ConfigError, PortalError

__all__ = ["DURATIONS", "OTHER", "CallMetrics", "CallRecord", "FunctionCounts", "Observe"]

_log = logging.getLogger("portal.calls")
_SAY_AGAIN = 60.0  # seconds between two words about a hook that fails

#: Upper bounds of the classes of durations, seconds.
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Stands for the functions, and the codes, beyond the bound on their number; no function has this name.
OTHER = "*"
_MAX_CODES = 64


class CallRecord(NamedTuple):
    """One call that is over.

    Attributes:
        function: its name, "group/name" where it is published in a group or service.
        seconds: from its beginning to its end; of a stream to the end of the stream.
        code: "ok", or the error's code; "cancelled" for a stream that was not read to its end, "timeout" if
            that was because its deadline passed.
        streaming: whether it was a stream.
        items: of the stream that were given; 0 for other calls.
        peer_known: whether it came over a network, from a client with an address.
        identified: whether it is known who was calling.
    """

    function: str
    seconds: float
    code: str
    streaming: bool = False
    items: int = 0
    peer_known: bool = False
    identified: bool = False


_observed = tuple.__new__  # a NamedTuple's own constructor is a call more


class Observe:
    """Call middleware that calls `on_call(CallRecord)` after each call, in the thread that made it.

    A hook that fails is logged, at most once a minute, and harms no call. Put it outermost, so that it sees what the
    middleware behind it refuses. Raises: ConfigError for a hook that cannot be called. Threads: any; so must the hook.

    Args:
        on_call: the hook; it must not wait.
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, on_call: Callable[[CallRecord], object], *, clock: Callable[[], float] = monotonic) -> None:
        given: object = on_call
        if not callable(given):
            raise _wrong("observe.on_call", given, "a callable that takes an CallRecord")
        self._on_call = on_call
        self._clock = clock
        self._said = float("-inf")

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        begun = self._clock()
        try:
            result = call_next(call)
        except BaseException as error:
            self.tell(call, begun, _code_of(error))
            raise
        if call.streaming:
            return _ObservedStream(self, call, begun, result)
        self.tell(call, begun, "ok")
        return result

    def tell(self, call: Call, begun: float, code: str, items: int = 0) -> None:
        """Give the hook its CallRecord of a call that ends now and began at `begun`. Raises nothing."""
        name = call.function.name
        if call.group:
            name = f"{call.group}/{name}"
        known = call.context.identity is not None
        took = self._clock() - begun
        try:
            self._on_call(_observed(CallRecord, (name, took, code, call.streaming, items, call.peer != "", known)))
        except Exception:
            now = self._clock()
            if now - self._said >= _SAY_AGAIN:  # two threads at once may say it twice
                self._said = now
                _log.exception("the hook that observes calls failed")


def _code_of(error: BaseException) -> str:
    if isinstance(error, PortalError):
        return error.code
    return PortalError.code if isinstance(error, Exception) else CallCancelled.code


class _ObservedStream(ClosingIterator):
    """The items of a stream; reports the call when they end or the stream is closed. Threads: one at a time."""

    def __init__(self, observe: Observe, call: Call, begun: float, items: Iterator[Any]) -> None:
        super().__init__(items)
        self._observe = observe
        self._call = call
        self._begun = begun
        self._count = 0
        self._over = False

    def __next__(self) -> Any:
        try:
            item = super().__next__()
        except StopIteration:
            self._end("ok")
            raise
        except BaseException as error:
            self._end(_code_of(error))
            raise
        self._count += 1
        return item

    def close(self) -> None:
        """End the call; the generator behind it is closed."""
        try:
            super().close()
        finally:
            self._end(CallTimeout.code if self._call.context.expired else CallCancelled.code)

    def __del__(self) -> None:
        # A stream that nobody began is dropped without being closed: it was a call all the same.
        self._end(CallCancelled.code)

    def _end(self, code: str) -> None:
        if not self._over:
            self._over = True
            self._observe.tell(self._call, self._begun, code, self._count)


@dataclass(frozen=True, slots=True)
class FunctionCounts:
    """What was counted of one function.

    Attributes:
        codes: calls by code; "ok" are those that gave a result.
        seconds: of all its calls together.
        bounds: upper bounds of the classes of durations, seconds.
        durations: calls by class; one class more than bounds, for all that took longer.
    """

    codes: dict[str, int]
    seconds: float
    bounds: tuple[float, ...]
    durations: tuple[int, ...]

    @property
    def calls(self) -> int:
        """All calls."""
        return sum(self.durations)

    @property
    def failed(self) -> int:
        """Calls that gave no result."""
        return sum(count for code, count in self.codes.items() if code != "ok")

    def quantile(self, share: float) -> float | None:
        """The bound, in seconds, under which that share of the calls stayed: infinity beyond the last one; None
        without calls."""
        wanted = share * self.calls
        if not self.calls:
            return None
        reached = accumulate(self.durations)
        bounds = (*self.bounds, float("inf"))
        return next(bound for bound, count in zip(bounds, reached, strict=True) if count >= wanted)


class _Cell:
    """The counts of one function in one thread, which alone writes to them."""

    __slots__ = ("codes", "durations", "seconds")

    def __init__(self, classes: int) -> None:
        self.codes: dict[str, int] = {}
        self.durations = [0] * classes
        self.seconds = 0.0

    def absorb(self, other: _Cell) -> None:
        """Add the counts of another cell, which its thread may be writing to."""
        for code, count in other.codes.copy().items():
            self.count(code, count)
        self.durations = [own + more for own, more in zip(self.durations, list(other.durations), strict=True)]
        self.seconds += other.seconds

    def count(self, code: str, times: int = 1) -> None:
        if code not in self.codes and len(self.codes) >= _MAX_CODES:
            code = OTHER
        self.codes[code] = self.codes.get(code, 0) + times


_Cells = dict[str, _Cell]


class _Owner:
    """Kept in a thread's own storage, so that it goes when the thread does."""

    __slots__ = ("cells", "ended")

    def __init__(self, ended: deque[_Cells]) -> None:
        self.cells: _Cells = {}
        self.ended = ended

    def __del__(self) -> None:
        self.ended.append(self.cells)


class CallMetrics:
    """Counts of calls by code, and of their durations, by function; a hook for `Observe`.

    Each thread counts in cells of its own, without a lock; `snapshot` adds them up. The counts of a thread that has
    ended are kept.

    Args:
        bounds: upper bounds of the classes of durations, seconds, rising.
        max_functions: counted each by itself; those that come later are counted together, as OTHER.

    Raises: ConfigError. Threads: any. Fork: a child begins at zero.
    """

    def __init__(self, *, bounds: Iterable[float] = DURATIONS, max_functions: int = 1000) -> None:
        self._bounds = tuple(bounds)
        if (
            not self._bounds
            or not all(0 < bound < float("inf") for bound in self._bounds)
            or not all(low < high for low, high in pairwise(self._bounds))
        ):
            raise _wrong("call_counters.bounds", bounds, "rising numbers of seconds, at least one")
        if isinstance(max_functions, bool) or not isinstance(max_functions, int) or max_functions < 1:
            raise _wrong("call_counters.max_functions", max_functions, "a whole number of at least 1")
        self._max = max_functions
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # guards what follows, never held by a call of a function already seen
        self._local = threading.local()
        self._names: set[str] = set()
        self._live: list[_Cells] = []
        self._ended: deque[_Cells] = deque()
        self._retired: _Cells = {}

    def __call__(self, observation: CallRecord) -> None:
        """Count a call."""
        name, seconds, code, _, _, _, _ = observation
        try:
            cell = self._local.owner.cells[name]
        except (AttributeError, KeyError):
            cell = self._cell(name)
        cell.durations[bisect_left(self._bounds, seconds)] += 1
        cell.seconds += seconds
        codes = cell.codes
        if code in codes:
            codes[code] += 1
        else:
            cell.count(code)

    def _cell(self, name: str) -> _Cell:
        owner = getattr(self._local, "owner", None)
        if owner is None:
            owner = self._local.owner = _Owner(self._ended)
            with self._lock:
                self._retire()
                self._live.append(owner.cells)
        if name not in self._names:
            with self._lock:
                if len(self._names) < self._max:
                    self._names.add(name)
                else:
                    name = OTHER
        cells: _Cells = owner.cells
        cell = cells.get(name)
        if cell is None:
            cell = cells[name] = self._new()
        return cell

    def _new(self) -> _Cell:
        return _Cell(len(self._bounds) + 1)

    def _retire(self) -> None:
        """Take in the cells of threads that have ended; the lock is held."""
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
        """The counts by function, as of now; a call that ends meanwhile may be in some of them only."""
        total: _Cells = {}
        with self._lock:
            self._retire()
            for cells in (self._retired, *self._live):
                self._add(total, cells)
        return {
            name: FunctionCounts(cell.codes, cell.seconds, self._bounds, tuple(cell.durations))
            for name, cell in sorted(total.items())
        }


_living: WeakSet[CallMetrics] = WeakSet()


def _begin_anew() -> None:
    for counters in list(_living):
        counters._begin()  # the lock may have been held, and the threads that counted are not here


os.register_at_fork(after_in_child=_begin_anew)


def _wrong(path: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)
