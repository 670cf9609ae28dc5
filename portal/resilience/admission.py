"""Admission: how many calls run at a time, which of the others wait, and which are rejected.

A call that would wait longer than the time it has left is rejected at once: waiting would only delay the error. The
wait is predicted from the mean time for which calls have held their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Event, Place
from ..calls.deadlines import cancelled_error, expired_error
from ..context import CallContext
from ..errors import OverloadedError

__all__ = ["Admission", "MeanDuration", "Verdict", "decide", "predicted_wait"]

Verdict = Literal["run", "wait", "full", "late"]

_SMOOTHING = 0.1  # weight of the newest duration in the mean
_MIN_RETRY_AFTER = 0.01  # seconds


def predicted_wait(ahead: int, limit: int, duration: float) -> float:
    """Return the seconds until a call starts that waits behind `ahead` others.

    Args:
        ahead: the calls that wait before it.
        limit: the calls that run at a time; all places are taken.
        duration: the mean time for which a call holds its place; 0 if not known.
    """
    return duration * (ahead + 1) / max(1, limit)


def decide(running: int, waiting: int, limit: int, max_waiting: int, patience: float, duration: float) -> Verdict:
    """Return what happens to a call that asks for a place.

    Args:
        running, limit: the calls that run now, and that may.
        waiting, max_waiting: the calls that wait now, and that may.
        patience: seconds for which this call can wait.
        duration: the mean time for which a call holds its place; 0 if not known.

    Returns: "run"; "wait"; "full" if no more calls may wait; "late" if its turn would come too late.
    """
    if running < limit and not waiting:
        return "run"
    if waiting >= max_waiting:
        return "full"
    if patience <= 0 or predicted_wait(waiting, limit, duration) > patience:
        return "late"
    return "wait"


class MeanDuration:
    """The mean of recent durations, in which the newest one counts for a tenth.

    Threads: one at a time.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, duration: float) -> None:
        """Count one duration in seconds."""
        value = self.value
        self.value = value + _SMOOTHING * (duration - value) if value else duration


class CallPlace(Place[None]):
    """The place of a call, which may have to wait for it.

    Attributes:
        granted: set when the call gets the place that it waits for.
        started: the moment at which it was taken.
        running: the calls that ran then, with this one.
    """

    __slots__ = ("granted", "running", "started")

    granted: Event

    def __init__(self, lost: deque[None]) -> None:
        self._lost = lost  # without the frame of another `__init__`, as each call passes here
        self.what = None
        self.is_held = False
        self.started = 0.0
        self.running = 0


class Admission:
    """Places for calls that run at a time. Waiting calls get a place in the order in which they asked.

    Args:
        limit: the places.
        max_waiting: the calls that may wait for one.
        clock: seconds, on the clock of deadlines.

    Attributes:
        rejected: calls that got no place, by verdict.

    Threads: any. Fork: a child process starts with all places free.
    """

    def __init__(self, limit: int, max_waiting: int, clock: Callable[[], float]) -> None:
        self._max_waiting = max_waiting
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._limit = limit
        self._mean = MeanDuration()
        self.rejected = {"full": 0, "late": 0}
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Free all places; called by `__init__`, and in a child process, where the threads that held them are not."""
        self._running = 0
        self._waiters: deque[CallPlace] = deque()
        self._lost: deque[None] = deque()

    @property
    def limit(self) -> int:
        """The places."""
        return self._limit

    def resize(self, limit: int) -> None:
        """Change the number of places. Calls that run go on."""
        with self._lock:
            self._limit = limit
            self._grant()

    @property
    def is_idle(self) -> bool:
        """Whether no call runs or waits."""
        return self._running == 0 and not self._waiters

    def place(self) -> CallPlace:
        """Return a place for `enter`, which is not taken yet."""
        return CallPlace(self._lost)

    def enter(self, place: CallPlace, context: CallContext, max_wait: float, name: str) -> CallPlace:
        """Take a place, waiting for it if that is allowed, and return it. Each call is followed by a `leave`.

        Args:
            place: of the call. If this raises, it may have been taken, by the handler of a signal.
            context: of the call; its deadline and cancellation end the wait.
            max_wait: the longest wait in seconds.
            name: what the limit is of, for the message.

        Raises: OverloadedError if no place is free and the call cannot or need not wait; CallTimeout, CallCancelled.
        """
        with self._lock:
            if self._lost:
                self._reclaim()
            running = self._running
            if running < self._limit and not self._waiters:
                self._running = place.running = running + 1
                place.is_held = True
                place.started = self._clock()
                return place
        return self._ask(place, context, max_wait, name)

    def _reclaim(self) -> None:
        while self._lost:
            self._lost.popleft()
            self._running = max(0, self._running - 1)
        self._grant()

    def _ask(self, place: CallPlace, context: CallContext, max_wait: float, name: str) -> CallPlace:
        """Take a place as `enter` does, if none was free a moment ago."""
        remaining = context.remaining()
        patience = max_wait if remaining is None or remaining > max_wait else remaining
        with self._lock:
            running = self._running
            verdict = decide(running, len(self._waiters), self._limit, self._max_waiting, patience, self._mean.value)
            if verdict == "run":
                self._running = place.running = running + 1
                place.is_held = True
                place.started = self._clock()
                return place
            expected = predicted_wait(len(self._waiters), self._limit, self._mean.value)
            if verdict != "wait":
                self.rejected[verdict] += 1
                limit = self._limit
            else:
                place.granted = Event()
                self._waiters.append(place)
        if verdict != "wait":
            raise _rejection(verdict, limit, expected, patience, name, context)
        return self._wait(place, context, patience, name)

    def _wait(self, place: CallPlace, context: CallContext, patience: float, name: str) -> CallPlace:
        try:
            context.on_cancel(place.granted.set)
            place.granted.wait(patience)
        except BaseException:
            self._withdraw(place)
            raise
        with self._lock:
            if place.is_held and not context.cancelled:
                place.started, place.running = self._clock(), self._running
                return place
        self._withdraw(place)
        if context.cancelled:
            raise cancelled_error(context)
        if context.expired:
            raise expired_error(context, name)
        with self._lock:
            self.rejected["late"] += 1
            expected, limit = predicted_wait(len(self._waiters), self._limit, self._mean.value), self._limit
        raise _rejection("late", limit, expected, patience, name, context)

    def _withdraw(self, place: CallPlace) -> None:
        """Leave the queue, or hand on the place that was granted meanwhile."""
        with self._lock:
            if place.is_held:
                self._give_back(place)
                self._grant()
            elif place in self._waiters:
                self._waiters.remove(place)

    def _give_back(self, place: CallPlace) -> None:
        fewer = max(0, self._running - 1)  # a child process may end a call of its parent
        if place.is_held:
            self._running = fewer
            place.is_held = False

    def leave(self, place: CallPlace) -> float:
        """Give a place back if it is held, and return the seconds for which it was."""
        if not place.is_held:
            return 0.0
        duration = max(0.0, self._clock() - place.started)
        with self._lock:
            self._give_back(place)
            self._mean.add(duration)
            if self._waiters:
                self._grant()
        return duration

    def _grant(self) -> None:
        while self._waiters and self._running < self._limit:
            place = self._waiters.popleft()
            self._running += 1
            place.is_held = True
            place.granted.set()

    def stats(self) -> dict[str, float]:
        """Return limit, running and waiting calls, rejected ones, and the predicted wait of the next call."""
        with self._lock:
            free = self._running < self._limit and not self._waiters
            expected = 0.0 if free else predicted_wait(len(self._waiters), self._limit, self._mean.value)
            return {
                "limit": self._limit,
                "running": self._running,
                "waiting": len(self._waiters),
                "rejected": sum(self.rejected.values()),
                "predicted_wait": expected,
            }


def _rejection(
    verdict: Verdict, limit: int, expected: float, patience: float, name: str, context: CallContext
) -> OverloadedError:
    message = f"{limit:,} calls of {name} are running, which is the limit"
    if verdict == "late" and expected > patience:
        message += f"; a place is expected in {expected:.3g} s, and the call can wait for {patience:.3g} s"
    facts = {"request_id": context.request_id}
    return OverloadedError(message, retry_after=max(_MIN_RETRY_AFTER, round(expected, 3)), context=facts)
