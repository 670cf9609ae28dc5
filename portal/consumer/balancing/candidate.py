"""Candidate: one instance as its callers know it, with its load, its latency and its failures."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from time import monotonic

from ...address import Address
from ...directory.instance import Instance
from .outcomes import ASKED

__all__ = ["Candidate"]

_DECAY = 10.0  # seconds in which an estimate of the latency falls to 1/e
_UNKNOWN = 1.0  # seconds assumed for an instance that is called and has not responded yet
_FAILURE, _MAX_PENALTY = 3.0, 10.0  # a failure multiplies the estimate, up to a number of seconds
_MIN_RETRY, _MAX_RETRY = 0.1, 5.0  # seconds after which an unreachable instance is tried again


class Candidate:
    """One instance of a group. A picker reads it; the group changes it.

    Args:
        instance: where the function is served.
        now: when the instance joined; None if it was there from the beginning, and needs no slow start.
        clock: seconds, as `time.monotonic`.

    Attributes:
        address: where to call it.
        text: the address as text.
        weight: its share of the calls. During the slow start it rises to the weight of the instance.
        ramp: the share of its weight that the slow start allows, above 0 and at most 1.
        outstanding: calls that are in progress. A picker of its own process sees only the calls of that process.
        calls, failures: all calls that have ended, and those of them that failed.
        successes, bad: calls of the current interval of the outlier detection.
        ejected_at: since when the outlier detection ejects it, or None.
        ejections: the multiplier of the ejection time; each ejection adds 1, each interval without one takes 1.
        down_until: an unreachable instance is not called before this time; None while it is reachable.
        barred_until: the instance, or its breaker, asked not to be called before this time.
        barred_why: the reason, worded to precede "for another".
        credit: of the smooth weighted round robin.

    Threads: one at a time changes it, under the lock of its group; any may read.
    """

    __slots__ = (
        "_clock",
        "_peak",
        "_peak_at",
        "_refusals",
        "address",
        "bad",
        "barred_until",
        "barred_why",
        "calls",
        "credit",
        "down_until",
        "ejected_at",
        "ejections",
        "failures",
        "instance",
        "joined_at",
        "outstanding",
        "ramp",
        "successes",
        "text",
        "weight",
    )

    def __init__(self, instance: Instance, *, now: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._peak: float | None = None
        self._peak_at = 0.0
        self._refusals = 0
        self.instance = instance
        self.address: Address = instance.address
        self.text = str(instance.address)
        self.weight = float(instance.weight)
        self.ramp = 1.0
        self.joined_at = now
        self.outstanding = 0
        self.calls = 0
        self.failures = 0
        self.successes = 0
        self.bad = 0
        self.ejected_at: float | None = None
        self.ejections = 0
        self.down_until: float | None = None
        self.barred_until = 0.0
        self.barred_why = ASKED
        self.credit = 0.0

    def __repr__(self) -> str:
        return f"Candidate({self.text!r}, outstanding={self.outstanding}, latency={self.latency})"

    @property
    def latency(self) -> float | None:
        """The peak EWMA of the latency in seconds; None before the first response.

        It follows a rise at once. A fall takes time: the estimate decays to 1/e in 10 seconds without calls.
        """
        peak = self._peak
        return None if peak is None else peak * exp((self._peak_at - self._clock()) / _DECAY)

    @property
    def cost(self) -> float:
        """The latency, multiplied by the calls in progress and one more, and divided by the weight."""
        latency = self.latency
        if latency is None:
            return _UNKNOWN * self.outstanding / self.weight
        return latency * (self.outstanding + 1) / self.weight

    def observe(self, seconds: float, now: float, failed: bool) -> None:
        """Add a call that has ended. A failure makes an instance look slower: its speed is of no use."""
        self.calls += 1
        if failed:
            self.failures += 1
            self.bad += 1
            latency = self.latency
            least = _UNKNOWN if latency is None else max(latency, min(latency * _FAILURE, _MAX_PENALTY))
            self.observe_at_least(max(seconds, least), now)
            return
        self.successes += 1
        peak = self._peak
        if peak is not None:
            share = exp((self._peak_at - now) / _DECAY)
            if seconds < peak * share:
                seconds = peak * share + seconds * (1 - share)
        self._peak = seconds
        self._peak_at = now

    def observe_at_least(self, seconds: float, now: float) -> None:
        """Add a call that was given up after a time: the latency is not known, but not shorter."""
        if seconds >= (self.latency or 0.0):
            self._peak = seconds
            self._peak_at = now

    def refuse(self, now: float) -> None:
        """Note that the instance cannot be reached. Each time in a row doubles the time until it is tried again."""
        self.down_until = now + min(_MIN_RETRY * 2.0 ** min(self._refusals, 16), _MAX_RETRY)
        self._refusals += 1

    def accept(self, now: float) -> bool:
        """Note that the instance responded. Return whether it was unreachable before: its slow start begins."""
        self.barred_until = 0.0
        if self.down_until is None:
            return False
        self.down_until = None
        self._refusals = 0
        self.joined_at = now
        return True

    def warm_up(self, now: float, duration: float) -> bool:
        """Set the weight by the slow start, and return whether the slow start goes on."""
        ramp = 1.0
        if duration and self.joined_at is not None:
            ramp = max(0.1, min(1.0, (now - self.joined_at) / duration))
        if ramp >= 1.0:
            self.joined_at = None
        self.ramp = ramp
        self.weight = self.instance.weight * ramp
        return ramp < 1.0
