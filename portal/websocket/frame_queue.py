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

    __slots__ = ("_frames", "_lock", "_made", "_sender")

    def __init__(self, frames: FrameProtocol) -> None:
        self._frames = frames
        self._lock = threading.Lock()  # held while a frame is made, and while frames are taken
        self._made: list[bytes] = []
        self._sender: object = None  # of the thread that sends; nobody waits for it

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
        own = object()
        for _ in range(_ROUNDS):
            try:  # a signal may interrupt a thread right after it has become the sender
                if not self._become_sender(own):
                    return True
                send()
            finally:
                if self._sender is own:
                    self._sender = None
        return not self._made

    def _become_sender(self, own: object) -> bool:
        """Return whether there are frames and no thread sends. The caller sends then."""
        if not self._made or self._sender is not None:
            return False
        with self._lock:
            if self._sender is None:
                self._sender = own
        return self._sender is own
