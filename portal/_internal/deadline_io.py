"""What http.client reads an answer from, held to one deadline in all: its own way is a timeout for each read.

Against that, a server that sends a byte within each keeps its caller for as long as it likes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["TimedSocket", "time_left"]


def time_left(deadline: float) -> float:
    """Seconds until a `time.monotonic()` moment; TimeoutError when it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


class TimedSocket:
    """A socket as far as http.client's HTTPResponse uses one.

    Args:
        sock: a socket, also one of TLS.
        deadline: `time.monotonic()` moment by which the last byte is read; None for none.
        pause: seconds for which nothing may come; None leaves that to the deadline.
    """

    def __init__(self, sock: Any, deadline: float | None, pause: float | None = None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._pause = pause

    def makefile(self, mode: str) -> io.BufferedReader:
        """What the answer is read from; like a socket's own, it keeps the socket open until it is closed itself."""
        return io.BufferedReader(_Reader(self._sock.makefile("rb", buffering=0), self.update_timeout))

    def update_timeout(self) -> None:
        """Let the socket's next step take no longer than there is time. TimeoutError when there is none."""
        seconds = self._pause
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
