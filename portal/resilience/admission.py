"""Admission: how many calls run at a time, which of the others wait, and which are rejected.

A call that would wait longer than the time it has left is rejected at once: waiting would only delay the error. The
wait is predicted from the mean time for which calls have held their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Event
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


class _Waiter:
    """A call that waits. `granted` is written under the lock of the Admission."""

    __slots__ = ("event", "granted")

    def __init__(self) -> None:
        self.event = Event()
        self.granted = False


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
        self._waiters: deque[_Waiter] = deque()

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

    def enter(self, context: CallContext, max_wait: float, name: str) -> tuple[float, int]:
        """Take a place, waiting for it if that is allowed. Each return is followed by one `leave`.

        Args:
            context: of the call; its deadline and cancellation end the wait.
            max_wait: the longest wait in seconds.
            name: what the limit is of, for the message.

        Returns: the moment at which the place was taken, and how many calls run.
        Raises: OverloadedError if no place is free and the call cannot or need not wait; CallTimeout, CallCancelled.
        """
        with self._lock:
            running = self._running
            if running < self._limit and not self._waiters:
                self._running = running = running + 1
                return self._clock(), running
        return self._ask(context, max_wait, name)

    def _ask(self, context: CallContext, max_wait: float, name: str) -> tuple[float, int]:
        """Take a place as `enter` does, if none was free a moment ago."""
        remaining = context.remaining()
        patience = max_wait if remaining is None or remaining > max_wait else remaining
        with self._lock:
            running = self._running
            verdict = decide(running, len(self._waiters), self._limit, self._max_waiting, patience, self._mean.value)
            if verdict == "run":
                self._running = running = running + 1
                return self._clock(), running
            expected = predicted_wait(len(self._waiters), self._limit, self._mean.value)
            if verdict != "wait":
                self.rejected[verdict] += 1
                limit = self._limit
            else:
                waiter = _Waiter()
                self._waiters.append(waiter)
        if verdict != "wait":
            raise _rejection(verdict, limit, expected, patience, name, context)
        return self._wait(waiter, context, patience, name)

    def _wait(self, waiter: _Waiter, context: CallContext, patience: float, name: str) -> tuple[float, int]:
        try:
            context.on_cancel(waiter.event.set)
            waiter.event.wait(patience)
        except BaseException:
            self._withdraw(waiter)
            raise
        with self._lock:
            if waiter.granted and not context.cancelled:
                return self._clock(), self._running
        self._withdraw(waiter)
        if context.cancelled:
            raise cancelled_error(context)
        if context.expired:
            raise expired_error(context, name)
        with self._lock:
            self.rejected["late"] += 1
            expected, limit = predicted_wait(len(self._waiters), self._limit, self._mean.value), self._limit
        raise _rejection("late", limit, expected, patience, name, context)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Leave the queue, or hand on the place that was granted meanwhile."""
        with self._lock:
            if waiter.granted:
                self._running -= 1
                self._grant()
            elif waiter in self._waiters:
                self._waiters.remove(waiter)

    def leave(self, started: float) -> float:
        """Give the place back and return the seconds for which it was held.

        Args:
            started: the moment that `enter` returned.
        """
        duration = max(0.0, self._clock() - started)
        with self._lock:
            self._running = max(0, self._running - 1)  # a child process may end a call of its parent
            self._mean.add(duration)
            if self._waiters:
                self._grant()
        return duration

    def _grant(self) -> None:
        while self._waiters and self._running < self._limit:
            waiter = self._waiters.popleft()
            waiter.granted = True
            self._running += 1
            waiter.event.set()

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
