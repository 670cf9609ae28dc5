"""Transport: one open WebSocket connection of a client, over a socket that the reader watches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..._internal.closing import run_all
from ..close_codes import CloseCode
from ..frames import BinaryMessage, Close, Failure, Ping, TextMessage
from ..output import Output
from .dialer import Dialed
from .reader import READ, WRITE, Reader, Timer
from .receiving import ReceivingCaller

if TYPE_CHECKING:
    import ssl

__all__ = ["Transport", "TransportOwner"]

# Bytes. The allocator maps memory anew for each buffer of the larger size, which slows short calls down by a third.
_READ_SIZE, _LARGE_READ_SIZE = 64 * 1024, 256 * 1024
_CLOSE_SECONDS = 5.0  # for the peer's close frame
_LINGER = 0.01  # seconds for which a caller that has received may come back before the reader receives


class TransportOwner(Protocol):
    """Receives the messages of a transport. Its methods run in the reading thread, each text before the next one is
    read."""

    def on_text(self, transport: Transport, text: str | bytes) -> None:
        """Take a message."""

    def on_lost(self, transport: Transport, code: int, reason: str) -> None:
        """Note that the connection has ended; called once, after the last text.

        Args:
            code: of the peer's close frame, or of this side's for a peer that broke the protocol; ABNORMAL without one.
            reason: text for messages.
        """


class Transport:
    """Send and receive the messages of an open connection.

    Args:
        dialed: the connection; closed here.
        reader: watches the socket.
        owner: gets what arrives.
        heartbeat: seconds of silence of the peer after which it gets a ping, and after a second such time counts as
            lost; None for no limit.
        max_queued: bytes that may wait to be sent before `wait_for_room` waits.
        clock: seconds, as `time.monotonic`.

    Attributes:
        send, flush, wait_for_room: those of `Output`.

    Threads: any may send and close.
    """

    def __init__(
        self,
        dialed: Dialed,
        reader: Reader,
        owner: TransportOwner,
        *,
        heartbeat: float | None = 20.0,
        max_queued: int = 4 * 1024 * 1024,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        sock = self._sock = dialed.sock
        self._frames = dialed.frames
        self._rest = dialed.rest
        self._reader = reader
        self._owner = owner
        self._heartbeat = heartbeat
        self._clock = clock
        self._tls: ssl.SSLSocket | None = sock if hasattr(sock, "pending") else None  # type: ignore[assignment]
        # Guards sending and the output; over TLS also receiving, as OpenSSL allows one operation at a time.
        self._lock = threading.RLock()
        output = self._output = Output(sock, dialed.frames, self, self._lock, max_queued, clock)
        # Not methods of its own, as each call passes here.
        self.send, self.flush, self.wait_for_room = output.send, output.flush, output.wait_for_room
        self._ended = self._started = self._detached = False
        self._receiving = threading.Lock()  # held by the thread that receives: the reader, or a caller
        self._read_size = _READ_SIZE  # of the thread that receives
        self._watched = True  # whether the reader watches for input
        self._lingers = False  # whether a timer will have the reader watch again
        self._caller = ReceivingCaller(self._receive_now, self.on_failure, clock)
        self._heard_at, self._pinged_at = clock(), -inf
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Begin to receive."""
        if self._rest:
            self._reader.call_soon(self._receive_rest)
        else:
            self._watch()
        if self._heartbeat is not None:
            self._set_timer(self._heartbeat, self._check_heartbeat)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    # sending

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run a callback in the reading thread."""
        self._reader.call_soon(callback)

    @property
    def queued(self) -> int:
        """The bytes that wait to be sent."""
        return self._output.queued

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame, and end the connection when the peer has responded or after 5 seconds."""
        with self._lock:
            if self._ended or self._frames.closing:
                return
            self._output.send_frame(partial(self._frames.close, code, reason))
        self._set_timer(_CLOSE_SECONDS, lambda: self._end(CloseCode.ABNORMAL, "the close was not confirmed in time"))

    def abort(self, reason: str) -> None:
        """End the connection at once, without a close frame."""
        self._reader.call_soon(lambda: self._end(CloseCode.ABNORMAL, reason))

    def on_waiting(self) -> None:
        """Have the reader watch for room; the lock is held."""
        if self._started:
            self._update()

    def with_interest(self, apply: Callable[[int], object]) -> None:
        """Call `apply` with the events that the reader watches for."""
        with self._lock:
            apply(self._interest())

    def _interest(self) -> int:
        return (READ if self._watched else 0) | (WRITE if self._output.queued else 0)

    def _update(self) -> None:
        """Have the reader watch for the events that are wanted now; the lock is held."""
        if not self._reader.set_events(self, self._interest()):
            self._reader.watch(self)

    def receive_until(self, is_done: Callable[[], bool], deadline: float | None) -> bool:
        """Receive in the thread of a caller, which saves a hand-over between threads.

        It ends when `is_done`, at the deadline, or with the connection, perhaps before the owner is told of that.

        Returns: False if that is not possible now: another thread receives, or bytes wait to be sent.
        """
        if not self._receiving.acquire(blocking=False):
            return False
        began = False
        try:
            with self._lock:
                began = self._started and not self._ended and not self._output.queued and self._unwatch()
                if began:
                    self._caller.begin(self._sock.fileno())
            if began:
                self._caller.receive_until(lambda: self._ended or is_done(), deadline)
            return began
        finally:
            with self._lock:
                self._receiving.release()
                self._caller.end()
                detached = self._detached
                lingers, self._lingers = self._lingers or self._ended or not began, self._lingers or began
            if detached:
                self._close_unless_in_use()
            elif not lingers:
                self._reader.call_at(self._clock() + _LINGER, self._end_lingering)

    def wake(self) -> None:
        """Let a caller that receives look whether it is done."""
        with self._lock:
            self._caller.wake()

    def hand_over(self) -> None:
        """Have the reader receive from now on, as other callers wait."""
        if not self._watched:
            with self._lock:
                if not self._caller.is_receiving and not self._watched and not self._ended:
                    self._watched = True
                    self._update()

    def _unwatch(self) -> bool:
        if not self._watched:
            return True
        self._watched = not self._reader.set_events(self, 0)
        return not self._watched

    def _end_lingering(self) -> None:
        """Have the reader receive if no caller has for a moment; one that calls again saves the two changes."""
        with self._lock:
            in_use = self._caller.is_receiving or self._clock() - self._caller.ended_at < _LINGER
            again = self._lingers = in_use and not self._ended
        if again:
            self._reader.call_at(self._clock() + _LINGER, self._end_lingering)
        else:
            self.hand_over()

    # in the reading thread

    def on_writable(self) -> None:
        """Send what waits."""
        with self._lock:
            self._output.go_on()
            if not self._output.queued:
                self._update()

    def on_readable(self) -> None:
        """Receive what has arrived, and hand on the messages."""
        if self._receiving.acquire(blocking=False):  # if not, a caller receives
            try:
                self._receive_now()
            finally:
                self._receiving.release()

    def _receive_now(self) -> None:
        if self._tls is not None:
            self._receive_tls()
            return
        try:
            data = self._sock.recv(self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(CloseCode.ABNORMAL, str(error))
            return
        self._receive(data)

    def _receive_tls(self) -> None:
        import ssl

        from ..._internal.openssl import clear_error_queue

        while not self._ended:
            with self._lock:
                clear_error_queue()
                try:
                    data = self._sock.recv(self._read_size)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                    return
                except OSError as error:
                    data, reason = b"", str(error)
                else:
                    reason = ""
            if reason:
                self._end(CloseCode.ABNORMAL, reason)
                return
            self._receive(data)

    def _receive_rest(self) -> None:
        rest, self._rest = self._rest, b""
        self._receive(rest)
        self._watch()

    def _watch(self) -> None:
        with self._lock:
            self._started = True
            if not self._ended:
                self._update()

    def _receive(self, data: bytes) -> None:
        if not data:
            self._end(CloseCode.ABNORMAL, "the server closed the connection")
            return
        self._heard_at = self._clock()
        self._read_size = _LARGE_READ_SIZE if len(data) >= _READ_SIZE else _READ_SIZE
        frames = self._frames
        frames.receive(data)
        while (event := frames.next_event()) is not None:
            if isinstance(event, TextMessage):
                self._owner.on_text(self, event.text)
            elif isinstance(event, Ping):
                with self._lock:
                    self._output.send_frame(partial(frames.pong, event.payload))
            elif isinstance(event, BinaryMessage):
                self._owner.on_text(self, event.data)
            elif isinstance(event, Close | Failure):
                with self._lock:
                    own = "" if isinstance(event, Close) else event.reason
                    self._output.send_frame(partial(frames.close, event.code, own))
                self._end(event.code, event.reason)

    def on_failure(self, error: BaseException) -> None:
        """End the connection after a fault in the reading thread."""
        self._end(CloseCode.ABNORMAL, f"{type(error).__name__}: {error}")

    def on_detached(self) -> None:
        """Close the socket, once no caller receives from it."""
        with self._lock:
            self._detached = True
        self._close_unless_in_use()

    def _close_unless_in_use(self) -> None:
        with self._lock:
            if not self._detached or self._caller.is_receiving:
                return
            with suppress(OSError):
                self._sock.close()

    def _end(self, code: int, reason: str) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._output.end()
            self._caller.wake()
            timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()
        run_all(lambda: self._reader.detach(self), lambda: self._owner.on_lost(self, code, reason), attempts=2)

    # timers

    def _set_timer(self, seconds: float, callback: Callable[[], object]) -> None:
        timer = self._reader.call_at(self._clock() + seconds, callback)
        with self._lock:
            self._timers = [one for one in self._timers if not one.cancelled]
            if self._ended:
                timer.cancel()
            else:
                self._timers.append(timer)

    def _check_heartbeat(self) -> None:
        """Send a ping after one time of silence. End the connection after one time of silence since the ping."""
        heartbeat, now = self._heartbeat, self._clock()
        assert heartbeat is not None
        is_asked = self._pinged_at > self._heard_at
        wait = max(self._heard_at, self._pinged_at) + heartbeat - now
        if wait > 0:
            self._set_timer(wait, self._check_heartbeat)
        elif is_asked:
            self._end(CloseCode.ABNORMAL, f"the server was silent for {now - self._heard_at:.0f} seconds")
        else:  # also if this thread comes late: what has arrived meanwhile may not have been read yet
            self._pinged_at = now
            self._set_timer(heartbeat, self._check_heartbeat)
            with self._lock:
                self._output.send_frame(self._frames.ping)
