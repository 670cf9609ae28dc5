"""Circuit: the states of one circuit breaker, without threads, locks or a clock.

    closed     calls pass; failures are counted
    open       calls are rejected for `open_duration` seconds
    half_open  `half_open_calls` calls pass; that many successes close the circuit, one failure opens it again

Each change of state begins a new generation. The outcome of a call counts only in the generation that admitted it, so
a late response has no effect.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Circuit", "CircuitSnapshot", "CircuitState", "Permit", "Thresholds"]

CircuitState = Literal["closed", "open", "half_open"]
Permit = tuple[int, int]  # generation, number within the circuit

_BUCKETS = 10
_HALF_OPEN_WAIT = 1.0  # the longest `retry_after` in seconds while a half-open circuit has calls in progress


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When circuits open and close; the parameters of `Breaker`."""

    failures: int | None
    window: float
    consecutive: bool
    rate: float | None
    minimum_calls: int
    open_duration: float
    half_open_calls: int


@dataclass(frozen=True, slots=True)
class CircuitSnapshot:
    """One circuit at one moment.

    Attributes:
        state: "closed", "open" or "half_open". An open circuit becomes half open at the first call after its time.
        failures: the number of failures that count towards opening; after opening, of those that opened it.
        opened_at: the time of the last opening, on the breaker's clock, or None.
        retry_after: seconds until a call may pass; 0.0 if one may pass now, None if the circuit is open until a reset.
        half_open_calls: the number of calls in progress that a half-open circuit admitted.
        rejected: the number of rejected calls.
        last_failure: what the last failed call said, or None.
    """

    state: CircuitState
    failures: int
    opened_at: float | None
    retry_after: float | None
    half_open_calls: int
    rejected: int
    last_failure: str | None = field(default=None, compare=False)


class _RateWindow:
    """Calls and failures of the last `seconds`, in ten buckets."""

    __slots__ = ("_buckets", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._buckets: deque[list[int]] = deque(maxlen=_BUCKETS)  # [number of the bucket, calls, failures]

    def add(self, now: float, failed: bool) -> None:
        number = int(now // self._width)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed

    def totals(self, now: float) -> tuple[int, int]:
        oldest = int(now // self._width) - _BUCKETS
        live = [bucket for bucket in self._buckets if bucket[0] > oldest]
        return sum(bucket[1] for bucket in live), sum(bucket[2] for bucket in live)

    def clear(self) -> None:
        self._buckets.clear()


class Circuit:
    """The state of one circuit. Every `now` is in seconds on the same clock.

    Attributes:
        state: the present state.
        last_failure: what the last failed call said, or None; its owner sets it.

    Threads: one at a time.
    """

    __slots__ = (
        "_failed_at",
        "_generation",
        "_issued",
        "_opened_at",
        "_permits",
        "_rate",
        "_rejected",
        "_reopens_at",
        "_rules",
        "_succeeded",
        "last_failure",
        "state",
    )

    def __init__(self, rules: Thresholds) -> None:
        self._rules = rules
        self._generation = 0
        self._issued = 0
        self._rejected = 0
        self._failed_at: deque[float] = deque(maxlen=rules.failures or 1)
        self._rate = None if rules.rate is None else _RateWindow(rules.window)
        self._permits: dict[int, float] = {}  # half-open calls by number, with the time when each no longer counts
        self._opened_at: float | None = None
        self._reopens_at = 0.0
        self._succeeded = 0
        self.state: CircuitState = "closed"
        self.last_failure: str | None = None

    def admit(self, now: float, hold: float) -> Permit | None:
        """Admit a call and return its permit; return None to reject it.

        Args:
            hold: seconds after which a half-open call that has not returned no longer counts.
        """
        if self.state != "closed" and not self._has_half_open_place(now):
            self._rejected += 1
            return None
        self._issued += 1
        if self.state != "closed":
            self._permits[self._issued] = now + hold
        return self._generation, self._issued

    def _has_half_open_place(self, now: float) -> bool:
        if self.state == "open":
            if now < self._reopens_at:
                return False
            self._turn("half_open")
        for number in [number for number, end in self._permits.items() if end <= now]:
            del self._permits[number]
        return len(self._permits) + self._succeeded < self._rules.half_open_calls

    def settle(self, permit: Permit, failed: bool | None, now: float) -> None:
        """Count the outcome of an admitted call: a failure (True), a success (False), or neither (None)."""
        generation, number = permit
        if generation != self._generation:
            return
        if self.state == "half_open":
            self._settle_half_open(number, failed, now)
        elif failed is not None:
            self._count(failed, now)

    def _settle_half_open(self, number: int, failed: bool | None, now: float) -> None:
        if self._permits.pop(number, None) is None or failed is None:
            return
        if failed:
            self.open(now, self._rules.open_duration)
            return
        self._succeeded += 1
        if self._succeeded >= self._rules.half_open_calls:
            self.close()

    def _count(self, failed: bool, now: float) -> None:
        if self._rate is not None:
            self._rate.add(now, failed)
        if failed:
            self._failed_at.append(now)
            if self._exceeds(now):
                self.open(now, self._rules.open_duration)
        elif self._failed_at and self._rules.consecutive:
            self._failed_at.clear()

    def _exceeds(self, now: float) -> bool:
        rules = self._rules
        if len(self._failed_at) == rules.failures and now - self._failed_at[0] < rules.window:
            return True
        if self._rate is None or rules.rate is None:
            return False
        calls, failures = self._rate.totals(now)
        return calls >= rules.minimum_calls and failures >= rules.rate * calls

    def open(self, now: float, seconds: float) -> None:
        """Reject every call for a number of seconds; `math.inf` means until `close`."""
        self._opened_at = now
        self._reopens_at = now + seconds
        self._turn("open")

    def close(self) -> None:
        """Admit every call and clear the failures."""
        self._failed_at.clear()
        if self._rate is not None:
            self._rate.clear()
        self._turn("closed")

    def _turn(self, state: CircuitState) -> None:
        self.state = state
        self._generation += 1
        self._permits.clear()
        self._succeeded = 0

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call may pass; None if only `close` ends the rejection."""
        if self.state == "open":
            return None if self._reopens_at == math.inf else max(0.0, self._reopens_at - now)
        ends = [end for end in self._permits.values() if end > now]
        if self.state == "closed" or len(ends) + self._succeeded < self._rules.half_open_calls:
            return 0.0
        return min(_HALF_OPEN_WAIT, min(ends) - now)

    def snapshot(self, now: float) -> CircuitSnapshot:
        """Return the snapshot that `Breaker.states` shows."""
        since = now - self._rules.window
        failures = sum(at > since for at in self._failed_at) if self.state == "closed" else len(self._failed_at)
        if self._rate is not None:
            failures = max(failures, self._rate.totals(now)[1])
        calls = sum(end > now for end in self._permits.values())
        retry_after, opened_at = self.retry_after(now), self._opened_at
        return CircuitSnapshot(self.state, failures, opened_at, retry_after, calls, self._rejected, self.last_failure)
