"""BundleSize: how many calls of a map to send in one message. Without threads or a clock."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["BundleSize"]

_LARGEST = 100  # calls of one message: servers accept no more
_SAMPLES = 8  # messages of the present size, before a larger one is tried
_KEPT = 16
_GAIN = 0.75  # a larger message takes at most so much of the time for each call
_GOOD, _BAD = 3, 4  # trials that decide for a larger size, and against it
_SHORT = 0.02  # seconds. Calls that take longer are tried in pairs first, not by four.
_LONG = 0.25  # seconds. Calls that take longer are not tried in larger messages.
_PAUSE = 256  # calls after which a larger size is tried again
_LONG_PAUSE = 2048  # the same after messages whose calls had to be made again
_MISSES = 3  # such messages in a row: one may have met a limit of its server for the moment
_WORSE = 10.0  # times what a message took at first: the function has become slower


class BundleSize:
    """Finds the size of a message by trying larger ones, one at a time.

    A server makes the calls of one message one after the other, and those of several messages at a time. So larger
    messages are quicker for small calls, and slower for long ones. The number of calls in flight stays the same, so the
    calls a second are the more, the less time a message takes for each of its calls (Little's law).

    Args:
        window: calls in flight. A message has at most half of them, so that client and server work at a time.

    Threads: one at a time.
    """

    def __init__(self, window: int) -> None:
        self._largest = max(1, min(_LARGEST, window // 2))
        self._quiet = 0  # calls until a larger size is tried
        self._least = float("inf")  # seconds of the quickest call; the usual ones wait for others, too
        self._size = 1
        self._times: deque[float] = deque(maxlen=_KEPT)  # of messages of this size
        self._first: float | None = None  # what a message took at first
        self._trial: int | None = None  # the larger size
        self._is_trying = False  # whether a message of that size is on its way
        self._good = self._bad = 0  # messages of that size
        self._misses = 0  # messages of this size in a row of which calls had to be made again

    @property
    def value(self) -> int:
        """The calls of the next message."""
        return self._size if self._trial is None or self._is_trying else self._trial

    def stop(self) -> None:
        """Make all further calls alone."""
        self._largest = 1
        self._restart(1)

    def failed(self, calls: int) -> None:
        """Note a message of which some calls must be made again alone. After some in a row all calls are made alone."""
        if calls == self._trial:
            self._tried(good=False)
        elif calls == self._size:
            self._misses += 1
            if self._misses == _MISSES:
                self._give_up()

    def began(self, calls: int) -> None:
        """Note a message that is sent."""
        self._is_trying |= calls == self._trial

    def ended(self, calls: int, seconds: float) -> None:
        """Note a message whose calls all have their outcome.

        Args:
            calls: how many it had.
            seconds: from the moment when it was ready to be sent until its response.
        """
        self._quiet = max(0, self._quiet - calls)
        self._least = min(self._least, seconds / calls)
        if calls == self._trial:
            self._tried(good=seconds / calls < _GAIN * median(self._times) / self._size)
        elif calls == self._size:
            self._misses = 0
            self._measured(seconds)

    def _measured(self, seconds: float) -> None:
        """Take a message of the present size into account."""
        self._times.append(seconds)
        if len(self._times) < _SAMPLES:
            return
        usual = median(self._times)
        if self._first is None:
            self._first = usual
        if self._size > 1 and usual > _WORSE * self._first:
            self._give_up()
        elif self._trial is None and not self._quiet and self._size < self._largest and self._least < _LONG:
            self._trial = min(self._largest, 2 if self._size == 1 and self._least > _SHORT else 4 * self._size)
            self._good = self._bad = 0

    def _tried(self, *, good: bool) -> None:
        """Take a message of the larger size into account."""
        assert self._trial is not None
        self._is_trying = False
        if good:
            self._good += 1
        else:
            self._bad += 1
        if self._good == _GOOD:
            self._restart(self._trial)
        elif self._bad == _BAD:
            self._trial, self._quiet = None, _PAUSE

    def _give_up(self) -> None:
        self._restart(1)
        self._quiet = _LONG_PAUSE

    def _restart(self, size: int) -> None:
        """Measure a size anew."""
        self._size = size
        self._times.clear()
        self._first = self._trial = None
        self._is_trying, self._misses = False, 0
