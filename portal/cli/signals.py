"""StopSignals: waits for SIGTERM or SIGINT, whichever thread the system gives it to.

Python's handlers run in the main thread. Where that thread waits for a lock or a queue, only a signal that the system
delivers to it, once it sleeps, ends the wait: one that another thread gets, or that comes a moment earlier, is noted
and not acted on. So it waits for a socket, which the interpreter writes to for every signal (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType

__all__ = ["StopSignals"]

_STOPS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Handles the signals of a process that serves until it is told to stop.

    The second signal to stop does what it does by default.

    Args:
        on_hangup: called for each SIGHUP, where the system has that.

    Threads: the main thread's alone.
    """

    def __init__(self, on_hangup: Callable[[], object]) -> None:
        self._on_hangup = on_hangup
        self._stopped = False
        self._bell, told = socket.socketpair()
        for sock in (self._bell, told):
            sock.setblocking(False)
        self._told = told  # it lives as long as the handlers, which is as long as the process
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        for each in _STOPS:
            signal.signal(each, self._stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in _STOPS:
            signal.signal(each, signal.SIG_DFL)
        self._stopped = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self._on_hangup()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a signal says stop, at most `timeout` seconds if given; whether one has."""
        while not self._stopped:
            ready, _, _ = select.select([self._bell], [], [], timeout)
            if not ready:
                break
            self._bell.recv(4096)
        return self._stopped
