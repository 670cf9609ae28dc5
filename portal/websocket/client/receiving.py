"""ReceivingCaller: a caller that waits for its response receives it itself.

With a reading thread each call costs two changes of threads. A caller that is alone on its connection takes the place
of the reading thread while it waits.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress

__all__ = ["ReceivingCaller"]


class ReceivingCaller:
    """The place of the one caller that may receive from a connection.

    Args:
        receive: receives what has arrived.
        fail: gives up the connection, as `receive` has raised.
        clock: seconds, as `time.monotonic`.

    Attributes:
        is_receiving: whether a caller receives now.
        ended_at: the moment at which the last one ended.

    Threads: one caller at a time. The lock of the transport guards `begin`, `end` and `wake`.
    """

    __slots__ = ("_clock", "_fail", "_poll", "_receive", "_waker", "ended_at", "is_receiving")

    def __init__(
        self, receive: Callable[[], object], fail: Callable[[BaseException], object], clock: Callable[[], float]
    ) -> None:
        self._receive = receive
        self._fail = fail
        self._clock = clock
        self._waker: _Waker | None = None
        self._poll: select.poll | None = None
        self.is_receiving = False
        self.ended_at = 0.0

    def begin(self, fd: int) -> None:
        """Take the place."""
        if self._poll is None:
            self._waker = _Waker()
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            self._poll.register(self._waker.fd, select.POLLIN)
        self.is_receiving = True

    def end(self) -> None:
        """Leave the place."""
        if self.is_receiving:
            self.is_receiving = False
            self.ended_at = self._clock()

    def wake(self) -> None:
        """Let the caller look whether it is done."""
        if self.is_receiving and self._waker is not None:
            self._waker.ring()

    def receive_until(self, is_done: Callable[[], bool], deadline: float | None) -> None:
        """Receive until `is_done`, or the deadline."""
        assert self._poll is not None
        assert self._waker is not None
        poll, waker = self._poll.poll, self._waker
        while not is_done():
            left = None if deadline is None else (deadline - self._clock()) * 1000
            if left is not None and left <= 0:
                return
            for fd, _ in poll(left):
                if fd == waker.fd:
                    waker.clear()
                    continue
                try:
                    self._receive()
                except BaseException as error:
                    self._fail(error)
                    if not isinstance(error, Exception):
                        raise  # such as KeyboardInterrupt, which is for the caller


class _Waker:
    """A descriptor that becomes readable; closed with the object."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self.fd)
