"""Hedge: send an idempotent call a second time when the first response takes unusually long, and use the first one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from copy import copy
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

from .._internal.at_fork import new_lock
from .._internal.log import get_logger
from .._internal.settings import callback, count, number, positive_seconds, seconds
from ..calls.deadlines import cancelled_error, timeout_error
from ..calls.middleware import Call, CallNext
from ..calls.workers import DispatchWorkers
from ..context import CallContext
from ..errors import OverloadedError
from .keyed import KeyedState, authority_of
from .percentile import RecentPercentile
from .retry_budget import RetryTokens

__all__ = ["Hedge"]

_log = get_logger("portal.calls")


class _Outcome(NamedTuple):
    """The outcome of a branch.

    Attributes:
        branch: the call of the branch.
        duration: seconds that the branch took.
        result: of the call, if there is no error.
        error: what the branch raised.
    """

    branch: Call
    duration: float
    result: Any
    error: BaseException | None


def function_of(call: Call) -> str:
    """Return the authority and the function that a call goes to: durations are compared for one function."""
    return f"{authority_of(call)}/{call.function.name}"


class Hedge:
    """Middleware of the client: sends a slow call again, and uses the response that comes first.

    The second call is sent once the first one takes longer than most recent calls of the function. The loser is
    cancelled. Only functions declared idempotent are hedged, and no streams. While the retry budget of the service is
    half full or less, nothing is hedged.

    A hedged function is called in threads of the hedge. If none is free, the call is made in the caller's thread,
    without a second one.

    Args:
        percentile: the share of recent calls that is faster than the wait before the second call, from 0 to 1.
        initial_delay: the wait in seconds until 20 calls of the function have succeeded.
        min_delay: the shortest wait in seconds.
        max_hedges: how many further calls are sent at most, each after one more wait.
        executor: runs the calls; None makes a pool of `threads` threads on first use.
        threads: the size of that pool.
        key: callable (call) -> str; the durations of the calls with one key are compared. By default the authority and
            the function.
        max_entries: the largest number of keys whose durations are kept.
        clock: seconds, on the clock of deadlines.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        percentile: float = 0.95,
        *,
        initial_delay: float = 0.1,
        min_delay: float = 0.001,
        max_hedges: int = 1,
        executor: Executor | None = None,
        threads: int = 64,
        key: Callable[[Call], str] = function_of,
        max_entries: int = 1000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._percentile = number("hedge.percentile", percentile, minimum=0, maximum=1)
        self._initial_delay = positive_seconds("hedge.initial_delay", initial_delay)
        self._min_delay = seconds("hedge.min_delay", min_delay)
        self._max_hedges = count("hedge.max_hedges", max_hedges, maximum=4)
        self._executor = executor
        self._threads = count("hedge.threads", threads, maximum=1000)
        self._key = callback("hedge.key", key)
        self._max_entries = count("hedge.max_entries", max_entries)
        self._clock = clock
        self._tokens_of: Callable[[Call], RetryTokens] | None = None
        self._reset()

    def _reset(self) -> None:
        def make() -> RecentPercentile:
            return RecentPercentile(self._percentile)

        self._workers = DispatchWorkers(self._executor, threads=self._threads)
        self._durations: KeyedState[RecentPercentile] = KeyedState(make, self._max_entries)
        self._counts = _Counts()

    def for_consumer(self) -> Hedge:
        """Return a hedge with the same settings and no durations."""
        made = copy(self)
        made._reset()
        return made

    def with_tokens(self, tokens_of: Callable[[Call], RetryTokens]) -> Hedge:
        """Return this hedge within the retry budget of a Retry; both have the same durations and threads."""
        made = copy(self)
        made._tokens_of = tokens_of
        return made

    def delay_of(self, call: Call) -> float:
        """Return the seconds after which a call would be hedged."""
        found = self._durations.find(self._key(call))
        recent = None if found is None else found.value
        return self._initial_delay if recent is None else max(self._min_delay, recent)

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call, once or several times at once."""
        if call.streaming or not call.function.schema.idempotent:
            return call_next(call)
        durations = self._durations.get(self._key(call))
        race = _Race(call, call_next, self._workers, self._clock)
        try:
            winner = self._run(race, call, self.delay_of(call)) if race.start() else None
        finally:
            race.end()
        if winner is None:
            return call_next(call)
        call.function, call.address = winner.branch.function, winner.branch.address
        if winner.error is not None:
            try:
                raise winner.error
            finally:
                del winner  # else the exception and this frame refer to each other
        durations.add(winner.duration)
        if winner.branch is not race.branches[0]:
            self._counts.won()
        return winner.result

    def _run(self, race: _Race, call: Call, delay: float) -> _Outcome:
        """Return the first success; if every branch has failed, how the first one failed."""
        failed: _Outcome | None = None
        hedges = 0
        while True:
            is_patient = failed is not None or hedges >= self._max_hedges
            ended = race.wait(None if is_patient else delay)
            if ended is None:
                hedges += 1
                if self._may_hedge(call) and race.start():
                    self._counts.sent()
                    _log.debug("%s has taken %.3f s; hedged", call.function.name, delay)
                else:
                    hedges = self._max_hedges
            elif ended.error is None:
                return ended
            else:
                failed = failed or ended
                if not race.running:
                    return failed

    def _may_hedge(self, call: Call) -> bool:
        return self._tokens_of is None or self._tokens_of(call).allow_retry()

    def stats(self) -> dict[str, Any]:
        """Return the numbers of hedges sent and won, and the present delay of each key."""
        delays = {key: recent.value for key, recent in self._durations.items()}
        return {**self._counts.as_dict(), "delays": {key: value for key, value in delays.items() if value is not None}}

    def close(self) -> None:
        """End the threads; calls that run go on."""
        self._workers.close(0.0)


class _Counts:
    """The number of hedges sent, and the number that were faster than the first call.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the numbers
        self._sent = self._won = 0

    def sent(self) -> None:
        """Count a hedge."""
        with self._lock:
            self._sent += 1

    def won(self) -> None:
        """Count a hedge whose response was used."""
        with self._lock:
            self._won += 1

    def as_dict(self) -> dict[str, int]:
        """Return the numbers."""
        with self._lock:
            return {"sent": self._sent, "won": self._won}


class _Race:
    """The branches of one call, each in a thread.

    Args:
        call: the call, whose deadline and cancellation hold for all branches.
        call_next: makes the call of a branch.
        workers: run the branches.
        clock: seconds.

    Threads: one at a time, that of the caller; the branches only add their outcome.
    """

    def __init__(self, call: Call, call_next: CallNext, workers: DispatchWorkers, clock: Callable[[], float]) -> None:
        self._call = call
        self._call_next = call_next
        self._workers = workers
        self._clock = clock
        self._outcomes: SimpleQueue[_Outcome | None] | None = SimpleQueue()  # None once the call has ended
        self.branches: list[Call] = []
        self.running = 0
        self._on_cancel = partial(self._outcomes.put, None)
        call.context.on_cancel(self._on_cancel)

    def start(self) -> bool:
        """Start one more branch. Return False if no thread is free."""
        call = self._call
        context = call.context.child(metadata=call.context.metadata)
        context.idempotency_key = call.context.idempotency_key
        context.abortable = True
        branch = copy(call)  # of its own class: a call of a group has its instances
        branch.context = context
        try:
            self._workers.submit(self._make, branch)
        except OverloadedError:
            return False
        self.branches.append(branch)
        self.running += 1
        return True

    def _make(self, branch: Call) -> None:
        started = self._clock()
        try:
            result = self._call_next(branch)
        except BaseException as error:  # the caller raises it
            self._add(_Outcome(branch, self._clock() - started, None, error))
        else:
            self._add(_Outcome(branch, self._clock() - started, result, None))

    def _add(self, outcome: _Outcome) -> None:
        """Add an outcome; drop that of a loser, whose error has a traceback with frames that refer to this object."""
        outcomes = self._outcomes
        if outcomes is not None:
            outcomes.put(outcome)

    def wait(self, delay: float | None) -> _Outcome | None:
        """Return the next outcome; None if there is none within the delay.

        Raises: CallTimeout at the deadline of the call; CallCancelled.
        """
        assert self._outcomes is not None
        context: CallContext = self._call.context
        left = context.remaining()
        if delay is not None and left is not None and delay >= left:
            delay = None
        try:
            ended = self._outcomes.get(timeout=left if delay is None else delay)
        except Empty:
            if delay is not None:
                return None
            raise timeout_error(context, self._call.function.name, left) from None
        if ended is None:
            raise cancelled_error(context)
        self.running -= 1
        return ended

    def end(self) -> None:
        """Take no more outcomes, and cancel every branch; for those that have ended this does nothing."""
        self._outcomes = None
        self._call.context.forget(self._on_cancel)
        for branch in self.branches:
            branch.context.cancel()
