"""TimedSocket: read a whole HTTP response within one deadline.

http.client has only a timeout for each read. A server that sends one byte within each timeout could hold its caller
without limit.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["TimedSocket", "time_left"]


def time_left(deadline: float) -> float:
    """Return the seconds until a `time.monotonic()` moment.

    Raises: TimeoutError if it has passed.
    """
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


class TimedSocket:
    """A socket with the methods that http.client's HTTPResponse uses.

    Args:
        sock: a socket, with or without TLS.
        deadline: `time.monotonic()` moment by which the last byte must be read; None for no deadline.
        read_timeout: seconds for each read; None for the deadline alone.

    Threads: one at a time.
    """

    def __init__(self, sock: Any, deadline: float | None, read_timeout: float | None = None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._read_timeout = read_timeout

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a buffered reader. Like that of a socket, it keeps the socket open until it is closed itself."""
        return io.BufferedReader(_Reader(self._sock.makefile("rb", buffering=0), self.update_timeout))

    def update_timeout(self) -> None:
        """Set the timeout of the socket for its next operation.

        Raises: TimeoutError if the deadline has passed.
        """
        seconds = self._read_timeout
        if self._deadline is not None:
            left = time_left(self._deadline)
            seconds = left if seconds is None else min(left, seconds)
        self._sock.settimeout(seconds)


class _Reader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, update_timeout: Callable[[], None]) -> None:
        super().__init__()
        self._raw = raw
        self._limit_next = update_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._limit_next()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
