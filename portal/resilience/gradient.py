"""Gradient2: find how many calls may run at a time, from how long they take. Without threads, locks or a clock.

The limit grows by `queue` calls for each window of time while calls take about as long as they did on average. It
shrinks in proportion when they take longer than `tolerance` times that, since calls then wait for each other.

In a long overload the average would follow the durations, and the limit would grow without end. So after 30 windows at
the limit, half of it holds for two windows. What calls take then is the new average.

Source: the algorithm Gradient2 of Netflix's concurrency-limits. There, drops change nothing, and nothing is measured
anew; Envoy's gradient controller does that.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gradient2", "GradientRules"]

_LONG_WINDOWS = 600  # windows of the long average
_WARM_UP = 10  # windows at the start whose plain mean is the long average
_DRIFT = 2.0  # beyond this ratio to the newest duration, the long average is too high, as after an overload
_DECAY = 0.95  # what it is then multiplied by
_FULL_WINDOWS = 30  # windows at the limit after which the average is measured anew
_PROBE_WINDOWS = 2  # in the first, calls from before still end


@dataclass(frozen=True, slots=True)
class GradientRules:
    """The settings of Gradient2; `AdaptiveLimit` has checked and documents them."""

    initial: int = 20
    minimum: int = 1
    maximum: int = 200
    queue: int = 4
    smoothing: float = 0.2
    tolerance: float = 1.5
    min_gradient: float = 0.5
    window: float = 1.0
    min_samples: int = 10


class Gradient2:
    """The limit of one service.

    Attributes:
        limit: the calls that may run at a time.
        long: the long average of the durations in seconds, 0 before the first window.
        short: the mean duration in the last window.

    Threads: one at a time.
    """

    def __init__(self, rules: GradientRules) -> None:
        self._rules = rules
        self._estimate = float(rules.initial)
        self.long = self.short = 0.0
        self._windows = self._full = self._probe = 0
        self.limit = rules.initial
        self._since: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._sum = 0.0
        self._samples = self._drops = self._in_flight = 0

    def add(self, duration: float | None, in_flight: int, now: float) -> bool:
        """Count a call that has ended. Return whether a window has ended, so that the limit may have changed.

        Args:
            duration: seconds; None for a call that the peer rejected as overloaded, or that got no response in time.
            in_flight: the calls that ran when it ended, itself included.
            now: the moment.
        """
        if self._since is None:
            self._since = now
        if duration is None:
            self._drops += 1
        else:
            self._sum += duration
            self._samples += 1
        if in_flight > self._in_flight:
            self._in_flight = in_flight
        rules = self._rules
        if now - self._since < rules.window or self._samples + self._drops < rules.min_samples:
            return False
        self._end_window()
        self._since = now
        self._clear()
        return True

    def _end_window(self) -> None:
        if self._probe:
            self._end_probe()
            return
        self._full = self._full + 1 if self._in_flight >= self.limit else 0
        self._adapt()
        if self._full >= _FULL_WINDOWS:
            self._full, self._probe = 0, _PROBE_WINDOWS
            self.limit = max(self._rules.minimum, int(self._estimate / 2))
        else:
            self.limit = int(self._estimate)

    def _end_probe(self) -> None:
        self._probe -= 1
        if not self._probe:
            if self._samples:
                self.short = self.long = self._sum / self._samples
            self.limit = int(self._estimate)

    def _adapt(self) -> None:
        rules, gradient = self._rules, 1.0
        if self._samples:
            self.short = short = self._sum / self._samples
            self._add_long(short)
            if self.long > _DRIFT * short:
                self.long *= _DECAY
            gradient = min(1.0, rules.tolerance * self.long / short) if short > 0 else 1.0
        gradient *= 1.0 - self._drops / (self._samples + self._drops)
        gradient = max(rules.min_gradient, gradient)
        if self._in_flight < self._estimate / 2 and not self._drops:
            return  # the callers ask for less than the limit, so nothing is known about it
        wanted = self._estimate * gradient + (rules.queue if not self._drops else 0)
        estimate = self._estimate * (1.0 - rules.smoothing) + wanted * rules.smoothing
        self._estimate = max(float(rules.minimum), min(float(rules.maximum), estimate))

    def _add_long(self, short: float) -> None:
        self._windows += 1
        weight = 1.0 / self._windows if self._windows <= _WARM_UP else 2.0 / (_LONG_WINDOWS + 1)
        self.long += weight * (short - self.long)
