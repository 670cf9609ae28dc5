"""StopSignals: wait for SIGTERM or SIGINT, whichever thread receives the signal.

Python runs signal handlers in the main thread. If that thread waits for a lock, a signal that another thread receives
does not end the wait. So the main thread waits for a socket instead. The interpreter writes a byte to it for every
signal (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType

__all__ = ["StopSignals"]

_STOP = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Handles the signals of a process that serves until it is asked to stop.

    The first SIGTERM or SIGINT ends `wait`. The second one has its default effect.

    Args:
        on_hangup: called for each SIGHUP, on systems that have it.

    Threads: only the main thread may make and use it.
    """

    def __init__(self, on_hangup: Callable[[], object]) -> None:
        self._on_hangup = on_hangup
        self._stopped = False
        self._wakeup, written = socket.socketpair()
        for sock in (self._wakeup, written):
            sock.setblocking(False)
        self._written = written  # keeps the socket open as long as the handlers exist
        signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        for number in _STOP:
            signal.signal(number, self._stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in _STOP:
            signal.signal(each, signal.SIG_DFL)
        self._stopped = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._on_hangup()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a signal to stop.

        Args:
            timeout: seconds to wait; None waits until a signal arrives.

        Returns: whether a signal to stop has arrived.
        """
        while not self._stopped:
            ready, _, _ = select.select([self._wakeup], [], [], timeout)
            if not ready:
                break
            self._wakeup.recv(4096)
        return self._stopped
