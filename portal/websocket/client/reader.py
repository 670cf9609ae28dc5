"""Reader: one thread that watches the connections of all clients of this process.

The thread starts with the first connection and ends when there is nothing left to watch. It never runs code of a user.
A handler that fails loses its own connection and no other; a selector that fails is made anew.
"""

from __future__ import annotations

import heapq
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol

from ..._internal.at_fork import new_lock, renew_after_fork
from ..._internal.background import BackgroundLoop
from ..._internal.closing import run_all
from ..._internal.log import get_logger
from .poller import EpollPoller, Poller, make_poller

__all__ = ["READ", "WRITE", "Handler", "Reader", "Timer", "shared_reader"]

_log = get_logger("portal.websocket")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_MAX_WAIT = 3600.0  # seconds
_MAX_FAILURES = 5  # of one timer
_AGAIN = 0.1  # seconds after which a timer runs again


class Handler(Protocol):
    """A watched socket. The reader calls its methods in the reading thread; they must not block."""

    def with_interest(self, apply: Callable[[int], object]) -> None:
        """Call `apply` with the events that are wanted now: READ, WRITE, both or 0. They must not change meanwhile."""

    def fileno(self) -> int:
        """Return the descriptor, which stays open until `detached`."""

    def on_readable(self) -> None:
        """Read what has arrived."""

    def on_writable(self) -> None:
        """Send what waits to be sent."""

    def on_failure(self, error: BaseException) -> None:
        """Give up the connection: one of the other methods has failed, or the socket cannot be watched."""

    def on_detached(self) -> None:
        """Close the descriptor, which is not watched any more."""


class Timer:
    """A callback that runs once in the reading thread, or a few times if it raises. Threads: any may cancel it."""

    __slots__ = ("_callback", "_failures", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self._callback: Callable[[], object] | None = callback
        self._failures = 0

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        """Make sure that the callback does not start any more."""
        self._callback = None

    @property
    def cancelled(self) -> bool:
        """Whether the callback was cancelled or has run."""
        return self._callback is None

    def fire(self) -> None:
        """Run the callback, unless it was cancelled. If it raises, it may run again, for example to connect again."""
        callback, self._callback = self._callback, None
        if callback is not None:
            try:
                callback()
            except BaseException:
                self._failures += 1
                self._callback = callback if self._failures < _MAX_FAILURES else None
                raise


class Reader:
    """Watch sockets and timers in one thread.

    Args:
        clock: seconds, as `time.monotonic`.
        make_selector: makes a selector.

    Threads: any. Fork: the reader of a child process watches nothing.
    """

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        make_selector: Callable[[], Poller] = make_poller,
    ) -> None:
        self._clock = clock
        self._make_selector = make_selector
        self._lock = new_lock()  # guards the start and end of the loop, the timers and `_next`
        self._loop = BackgroundLoop("portal-websocket-reader", self._step)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Watch nothing; called by `__init__`, and in a child process after a fork."""
        self._active = False
        self._reading: threading.Thread | None = None
        self._selector: Poller | None = None
        self._changes: deque[tuple[Handler, bool]] = deque()  # (handler, whether to watch it)
        self._watched: dict[Handler, None] = {}  # changed by the reading thread alone
        self._timers: list[Timer] = []
        self._next = float("inf")  # the moment at which the thread wakes by itself
        self._bell: tuple[int, int] | None = None

    # for other threads

    def watch(self, handler: Handler) -> None:
        """Watch a socket for the events that it wants; once more when they have changed."""
        self._change(handler, True)

    def set_events(self, handler: Handler, events: int) -> bool:
        """Watch a socket for other events at once. Return False if it is not watched, or the system cannot do that.

        The handler makes sure that the events it wants do not change meanwhile.
        """
        selector = self._selector
        if handler not in self._watched or not isinstance(selector, EpollPoller):
            return False
        try:
            selector.set_events(handler.fileno(), events)
        except (OSError, ValueError):
            return False
        return True

    def detach(self, handler: Handler) -> None:
        """Stop watching a socket. Its `on_detached` runs in the reading thread."""
        self._change(handler, False)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Run a callback in the reading thread at a moment of the clock."""
        timer = Timer(when, callback)
        with self._lock:
            heapq.heappush(self._timers, timer)
            self._start_or_wake(when < self._next)
        return timer

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run a callback in the reading thread."""
        self.call_at(self._clock(), callback)

    def in_thread(self) -> bool:
        """Return whether the caller is the reading thread."""
        return threading.current_thread() is self._reading

    def _change(self, handler: Handler, wanted: bool) -> None:
        with self._lock:
            self._changes.append((handler, wanted))
            self._start_or_wake(True)

    def _start_or_wake(self, wake: bool) -> None:
        if not self._active:
            self._open()
            self._loop.start()
            self._active = True
        elif wake and self._bell is not None and not self.in_thread():
            with suppress(BlockingIOError):  # full: the thread wakes anyway
                os.write(self._bell[1], b"x")

    # the thread

    def _open(self) -> None:
        if self._bell is None:
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
        self._selector = self._make_selector()
        self._selector.register(self._bell[0], READ)

    def _step(self) -> None:
        self._reading = threading.current_thread()
        try:
            self._apply_changes()
            if not self._is_done():
                self._wait_and_serve()
        except BaseException:
            self._recover()
            raise

    def _is_done(self) -> bool:
        """End the thread if there is nothing to watch."""
        with self._lock:
            while self._timers and self._timers[0].cancelled:
                heapq.heappop(self._timers)
            if self._watched or self._changes or self._timers:
                return False
            self._loop.stop()
            self._active = False
            selector, self._selector = self._selector, None
            bell, self._bell = self._bell, None
            if selector is not None:
                selector.close()
            for end in bell or ():
                os.close(end)
            return True

    def _wait_and_serve(self) -> None:
        assert self._selector is not None
        assert self._bell is not None
        for key, events in self._selector.select(self._time_to_wait()):
            if key.data is None:
                with suppress(BlockingIOError):
                    os.read(self._bell[0], 4096)
                continue
            self._serve(key.data, events)
        self._fire_timers()

    def _time_to_wait(self) -> float:
        with self._lock:
            if self._changes:
                return 0.0
            self._next = self._timers[0].when if self._timers else float("inf")
            return max(0.0, min(self._next - self._clock(), _MAX_WAIT))

    def _serve(self, handler: Handler, events: int) -> None:
        try:
            if events & READ:
                handler.on_readable()
            if events & WRITE and handler in self._watched:
                handler.on_writable()
        except BaseException as error:
            self._fail(handler, error)

    def _fail(self, handler: Handler, error: BaseException) -> None:
        _log.debug("a WebSocket connection failed: %r", error)
        try:
            run_all(lambda: handler.on_failure(error), attempts=2)
        except BaseException:
            _log.exception("a failed WebSocket connection could not be closed")
            self.detach(handler)

    def _apply_changes(self) -> None:
        while self._changes:
            handler, wanted = self._changes.popleft()
            try:
                self._apply(handler, wanted)
            except BaseException as error:  # its descriptor was closed, or is watched already
                self._fail(handler, error)

    def _apply(self, handler: Handler, wanted: bool) -> None:
        selector = self._selector
        assert selector is not None
        known = handler in self._watched
        if wanted:
            set_events = selector.modify if known else selector.register
            handler.with_interest(lambda events: set_events(handler, events, handler))
            self._watched[handler] = None
            return
        if known:
            del self._watched[handler]
            with suppress(KeyError, ValueError, OSError):
                selector.unregister(handler)
        handler.on_detached()

    def _fire_timers(self) -> None:
        now = self._clock()
        while True:
            with self._lock:
                if not self._timers or self._timers[0].when > now:
                    return
                timer = heapq.heappop(self._timers)
            try:
                timer.fire()
            except BaseException:
                _log.exception("a timer of a WebSocket connection failed")
                if not timer.cancelled:
                    timer.when = now + _AGAIN
                    with self._lock:
                        heapq.heappush(self._timers, timer)

    def _recover(self) -> None:
        """Make the selector anew, and watch again whatever still can be watched."""
        watched, self._watched = self._watched, {}
        self._changes.extendleft((handler, True) for handler in watched)  # first: the next line may raise
        if self._selector is not None:
            with suppress(Exception):
                self._selector.close()
        with self._lock:
            self._open()
            self._active = True


_shared_lock = new_lock()  # guards the creation of the shared reader
_shared: list[Reader] = []


def shared_reader() -> Reader:
    """Return the reader of this process."""
    with _shared_lock:
        if not _shared:
            _shared.append(Reader())
        return _shared[0]
