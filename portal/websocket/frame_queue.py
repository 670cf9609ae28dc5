"""FrameQueue: frames that many threads make and one of them sends, in the order in which they were made.

A thread that sends lets others run meanwhile. If each one had to wait for it, all of them would stand in line. So a
thread that finds another one sending leaves its frame there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .frames import FrameProtocol

__all__ = ["FrameQueue"]

_ROUNDS = 16  # that one thread sends for the others


class FrameQueue:
    """The frames of one side that are not sent yet.

    Args:
        frames: makes them.

    Threads: any.
    """

    __slots__ = ("_frames", "_lock", "_made", "_sending")

    def __init__(self, frames: FrameProtocol) -> None:
        self._frames = frames
        self._lock = threading.Lock()  # held while a frame is made, and while frames are taken
        self._made: list[bytes] = []
        self._sending = threading.Lock()  # held by the thread that sends; nobody waits for it

    def add(self, text: bytes) -> None:
        """Add a text message."""
        with self._lock:
            self._made.append(self._frames.text(text))

    def take(self, last: Callable[[], bytes] | None = None) -> bytes:
        """Return the frames as one piece; they are sent before any that is made later.

        Args:
            last: makes one more frame.
        """
        with self._lock:
            if last is not None:
                self._made.append(last())
            made, self._made = self._made, []
        return made[0] if len(made) == 1 else b"".join(made)

    def send_all(self, send: Callable[[], object]) -> bool:
        """Call `send` while there are frames, unless another thread does so: that one sees the new frames as well.

        Args:
            send: takes the frames and sends them.
        Returns: False if frames are left, as the others make them as fast as this thread sends.
        """
        for _ in range(_ROUNDS):
            if not self._made or not self._sending.acquire(blocking=False):
                return True
            try:
                send()
            finally:
                self._sending.release()
        return not self._made
