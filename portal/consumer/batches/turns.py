"""Turns: how many calls of a batch may be in flight while a server limits them. Without threads or a clock."""

from __future__ import annotations

__all__ = ["Turns"]


class Turns:
    """A window of calls in flight, as TCP has one of bytes.

    A rejected call halves the window, once for all calls that were in flight then, and no call begins until the time
    that the server said. Each success opens the window by a part of a call. So the window finds how many calls the
    server takes, also if they take long, and few calls are rejected in vain.

    Args:
        most: the largest window.

    Threads: one at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._window = float(most)
        self._epoch = 0
        self._resume_at = 0.0

    @property
    def window(self) -> int:
        """The calls that may be in flight."""
        return int(self._window)

    @property
    def epoch(self) -> int:
        """The number of times the window was halved. A call notes it as it begins."""
        return self._epoch

    def wait(self, now: float) -> float:
        """Return the seconds until a call may begin, 0 for now."""
        return max(0.0, self._resume_at - now)

    def passed(self) -> None:
        """Count a call that the server took."""
        self._window = min(float(self._most), self._window + 1.0 / self._window)

    def limited(self, epoch: int, retry_after: float, now: float) -> None:
        """Count a call that the server rejected.

        Args:
            epoch: from when the call began.
            retry_after: seconds that the server asks to wait.
            now: the moment.
        """
        self._resume_at = max(self._resume_at, now + retry_after)
        if epoch == self._epoch:
            self._epoch += 1
            self._window = max(1.0, self._window / 2.0)
