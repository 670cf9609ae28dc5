"""Output: what a client sends over its connection, and what waits until the server has read what came before."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from .._internal.conditions import Condition
from .frame_queue import FrameQueue
from .frames import FrameProtocol

__all__ = ["Output", "OutputOwner"]


class OutputOwner(Protocol):
    """The connection of an output."""

    def on_waiting(self) -> None:
        """Watch for room, as bytes wait; the lock of the output is held."""

    def abort(self, reason: str) -> None:
        """End the connection, in the reading thread: the caller may hold locks."""

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run a callback in the reading thread."""


class Output:
    """Sends frames in the order in which they were made, without waiting.

    Args:
        sock: does not block.
        frames: makes the frames.
        owner: the connection.
        lock: guards this object. Over TLS its owner also receives with it, as OpenSSL allows one operation at a time.
        max_queued: bytes that may wait before `wait_for_room` waits.
        clock: seconds, as `time.monotonic`.

    Threads: any.
    """

    __slots__ = ("_clock", "_ended", "_is_tls", "_max_queued", "_owner", "_queue", "_room", "_sock", "_waiting")

    def __init__(
        self,
        sock: socket.socket,
        frames: FrameProtocol,
        owner: OutputOwner,
        lock: Any,
        max_queued: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._sock: Any = sock
        self._is_tls = hasattr(sock, "pending")
        self._owner = owner
        self._max_queued = max_queued
        self._clock = clock
        self._queue = FrameQueue(frames)
        self._room = Condition(lock)
        self._waiting = bytearray()
        self._ended = False

    @property
    def queued(self) -> int:
        """The bytes that wait until the peer has read what was sent before."""
        return len(self._waiting)

    def send(self, text: bytes, *, flush: bool = True) -> None:
        """Send a text message, or keep it until the peer has read what was sent before.

        Args:
            flush: whether to send it now; otherwise the caller calls `flush` later.
        """
        try:
            self._queue.add(text)
        except BaseException as error:  # the compressor may know a part of it
            self._owner.abort(str(error) or type(error).__name__)
            raise
        if flush:
            self.flush()

    def flush(self) -> None:
        """Send the messages that were added. If another thread is sending, that one does it."""
        is_done = False
        try:
            is_done = self._queue.send_all(self._send_queue)
        finally:  # a signal may interrupt this thread, to which others have left their messages
            if not is_done:
                self._owner.call_soon(self.flush)

    def _send_queue(self) -> None:
        try:
            with self._room:
                self._send(self._queue.take())
        except BaseException:  # of a signal's handler: messages of other threads may be lost with this one
            self._owner.abort("sending was interrupted")
            raise

    def wait_for_room(self, deadline: float | None) -> bool:
        """Wait until less than `max_queued` bytes wait to be sent. Return False at the deadline.

        Threads: not the reading thread.
        """
        if len(self._waiting) < self._max_queued:
            return True
        with self._room:
            while len(self._waiting) >= self._max_queued and not self._ended:
                left = None if deadline is None else deadline - self._clock()
                if left is not None and left <= 0:
                    return False
                self._room.wait(left)
        return True

    # the lock is held

    def send_frame(self, make: Callable[[], bytes]) -> None:
        """Send a frame after the messages that were added.

        Args:
            make: makes it, or b"" for none.
        """
        self._send(self._queue.take(make))

    def go_on(self) -> None:
        """Send what waits, as there is room."""
        waiting, self._waiting = self._waiting, bytearray()
        self._send(waiting)
        if not self._waiting:
            self._room.notify_all()

    def end(self) -> None:
        """Forget what waits, and send nothing from now on."""
        self._ended = True
        self._waiting.clear()
        self._room.notify_all()

    def _send(self, data: bytes | bytearray) -> None:
        if self._ended or not data:
            return
        if self._waiting:
            self._waiting += data
            return
        try:
            sent = self._send_tls(data) if self._is_tls else self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._owner.abort(str(error) or type(error).__name__)
            return
        if sent < len(data):
            self._waiting += data[sent:] if sent else data
            self._owner.on_waiting()

    def _send_tls(self, data: bytes | bytearray) -> int:
        """Send what can be sent now, over TLS. Raises: OSError."""
        import ssl

        from .._internal.openssl import clear_error_queue

        clear_error_queue()  # the calling thread may have left errors of a TLS connection of its own
        try:
            return int(self._sock.send(data))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
