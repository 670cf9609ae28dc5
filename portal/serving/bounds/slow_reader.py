"""SlowReader: decides when a client takes what waits for it too slowly. It knows no sockets and no clock."""

from __future__ import annotations

from math import inf

__all__ = ["NOTHING_READ", "TOO_LONG", "TOO_SLOW", "SlowReader"]

NOTHING_READ = "the client read nothing for the write timeout"
TOO_SLOW = "the client read below the least rate"
TOO_LONG = "the client did not read the response within the response timeout"


class SlowReader:
    """Measures how fast a client takes the bytes that wait for it.

    All moments are of one clock, in seconds.

    Args:
        write_timeout: seconds for which the client may take nothing. The rate is averaged over this time.
        min_rate: bytes a second that the client must take; 0 allows any rate.

    Threads: one at a time.
    """

    __slots__ = ("_end", "_min_rate", "_moved", "_taken", "_window", "_write_timeout")

    def __init__(self, write_timeout: float, min_rate: float) -> None:
        self._write_timeout = write_timeout
        self._min_rate = min_rate
        self._moved = self._window = 0.0
        self._end = inf
        self._taken = 0

    def begin(self, now: float) -> None:
        """Note that bytes wait for the client from now on."""
        self._moved = self._window = now
        self._end = inf
        self._taken = 0

    def limit(self, end: float) -> None:
        """Require that the client has taken everything by the moment `end`."""
        self._end = min(self._end, end)

    def progress(self, count: int, now: float) -> None:
        """Note that the client has taken `count` bytes."""
        self._moved = now
        self._taken += count

    def complaint(self, now: float) -> str | None:
        """Return why the client is too slow, or None. Call it while bytes wait, several times per write timeout."""
        if now >= self._end:
            return TOO_LONG
        if now - self._moved >= self._write_timeout:
            return NOTHING_READ
        measured = now - self._window
        if measured >= self._write_timeout:
            if self._taken < self._min_rate * measured:
                return TOO_SLOW
            self._window, self._taken = now, 0
        return None
