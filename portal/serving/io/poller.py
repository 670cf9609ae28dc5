"""Poller: reports to one thread which sockets are ready.

An armed socket is reported as long as it is ready. A socket that another thread uses is disarmed meanwhile. With epoll,
any thread arms a socket by one system call. On other systems it goes through `selectors`, and the waiting thread is
woken.
"""

from __future__ import annotations

import select
import selectors
import socket
from collections import deque
from typing import Protocol

from ..._internal.at_fork import new_lock
from .busy_poll import BusyPoll

__all__ = ["Poller", "open_poller"]

_BATCH = 512  # events taken at a time


class Poller(Protocol):
    """Reports which sockets are ready. Sockets are given by their descriptors.

    Threads: any thread may call `arm`, `disarm`, `arm_hangup`, `arm_output`, `forget` and `wake`. Before the reactor
        starts, the thread that makes the listener calls `listen`. Only the thread that leads the reactor's loop calls
        the other methods.
    """

    def listen(self, fd: int) -> None:
        """Report a listening socket whenever a connection waits at it."""

    def add(self, fd: int) -> None:
        """Report a new socket whenever it can be read or was closed by its peer."""

    def arm(self, fd: int, output: bool = False) -> None:
        """Report a socket again whenever it can be read or was closed by its peer.

        Args:
            output: whether to report it also whenever it can be written.
        Raises: OSError if the socket is closed.
        """

    def disarm(self, fd: int) -> None:
        """Do not report a socket until it is armed again."""

    def arm_hangup(self, fd: int, output: bool = False) -> bool:
        """Report a socket once when its peer closes its side.

        Args:
            output: whether to report it also when it can be written, once in either case.
        Returns: False if the system cannot tell a hang-up from data.
        """

    def arm_output(self, fd: int) -> None:
        """Report a socket whenever it can be written."""

    def forget(self, fd: int) -> None:
        """Never report a socket again."""

    def wait(self, timeout: float, alone: bool = False) -> list[int]:
        """Wait for at most `timeout` seconds and return the sockets that are ready.

        Args:
            alone: whether no other thread has work to do; see `BusyPoll`.
        """

    def wake(self) -> None:
        """End the present or the next `wait`."""

    def close(self) -> None:
        """Release the system's resources. Nothing must be waiting."""


class _Bell:
    """A pipe that wakes the waiting thread."""

    def __init__(self) -> None:
        self.out, self._in = socket.socketpair()
        self.out.setblocking(False)
        self._in.setblocking(False)
        self._lock = new_lock()  # held while it rings, so that no other socket with its descriptor gets the byte

    def ring(self) -> None:
        try:
            with self._lock:
                self._in.send(b"\0")
        except OSError:
            return  # full, and the thread will wake anyway; or closed, and no thread waits

    def clear(self) -> None:
        try:
            self.out.recv(4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            self.out.close()
            self._in.close()


class _EpollPoller:
    """epoll of Linux. A change by another thread takes effect on a running wait; see epoll_ctl(2).

    No lock is held during a change: its thread would keep it while it waits for the interpreter's lock, and all other
    threads would wait for both. So `close` only drops the reference. The descriptor is closed when no thread is within
    a change any more, and no change reaches another descriptor of the same number.
    """

    def __init__(self, busy_poll: float) -> None:
        self._epoll: select.epoll | None = select.epoll()
        self._wait = BusyPoll(lambda timeout: self._opened().poll(timeout, _BATCH), busy_poll).wait
        self._ready = select.EPOLLIN | select.EPOLLRDHUP
        self._hangup = select.EPOLLRDHUP | select.EPOLLONESHOT
        self._bell = _Bell()
        self._epoll.register(self._bell.out.fileno(), select.EPOLLIN)

    def _opened(self) -> select.epoll:
        epoll = self._epoll
        if epoll is None:
            raise ValueError("the poller is closed")
        return epoll

    def listen(self, fd: int) -> None:
        # If several processes wait at the same socket, the kernel needs to wake only one.
        self._opened().register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def add(self, fd: int) -> None:
        self._opened().register(fd, self._ready)

    def arm(self, fd: int, output: bool = False) -> None:
        self._opened().modify(fd, self._ready | select.EPOLLOUT if output else self._ready)

    def disarm(self, fd: int) -> None:
        # The kernel reports a broken connection all the same. With one-shot it does so once only.
        self._opened().modify(fd, select.EPOLLONESHOT)

    def arm_hangup(self, fd: int, output: bool = False) -> bool:
        self._opened().modify(fd, self._hangup | select.EPOLLOUT if output else self._hangup)
        return True

    def arm_output(self, fd: int) -> None:
        self._opened().modify(fd, select.EPOLLOUT)

    def forget(self, fd: int) -> None:
        try:
            self._opened().unregister(fd)
        except (OSError, ValueError):
            return  # it is not registered any more

    def wait(self, timeout: float, alone: bool = False) -> list[int]:
        bell = self._bell.out.fileno()
        found = [fd for fd, _ in self._wait(timeout, alone)]
        if bell in found:
            self._bell.clear()
            found.remove(bell)
        return found

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._epoll = None
        self._bell.close()


class _SelectorPoller:
    """The same on `selectors.DefaultSelector`, which only the waiting thread may use.

    A socket that another thread has disarmed may be reported once more. The reactor ignores connections that are not
    parked.
    """

    def __init__(self, busy_poll: float) -> None:
        self._selector = selectors.DefaultSelector()
        self._wait = BusyPoll(self._selector.select, busy_poll).wait
        self._changes: deque[tuple[int, int]] = deque()  # (events or 0, descriptor), from other threads
        self._bell = _Bell()
        self._selector.register(self._bell.out.fileno(), selectors.EVENT_READ)

    def listen(self, fd: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def add(self, fd: int) -> None:
        self._change(selectors.EVENT_READ, fd)

    def arm(self, fd: int, output: bool = False) -> None:
        self._change(selectors.EVENT_READ | selectors.EVENT_WRITE if output else selectors.EVENT_READ, fd)

    def disarm(self, fd: int) -> None:
        self._change(0, fd)

    def arm_hangup(self, fd: int, output: bool = False) -> bool:
        self._change(selectors.EVENT_WRITE if output else 0, fd)
        return False

    def arm_output(self, fd: int) -> None:
        self._change(selectors.EVENT_WRITE, fd)

    def forget(self, fd: int) -> None:
        self._change(0, fd)

    def _change(self, events: int, fd: int) -> None:
        self._changes.append((events, fd))
        self._bell.ring()

    def wait(self, timeout: float, alone: bool = False) -> list[int]:
        self._apply()
        found = [key.fd for key, _ in self._wait(timeout, alone)]
        bell = self._bell.out.fileno()
        if bell in found:
            self._bell.clear()
            found.remove(bell)
        return found

    def _apply(self) -> None:
        while self._changes:
            events, fd = self._changes.popleft()
            self._remove(fd)
            if events:
                try:
                    self._selector.register(fd, events)
                except (OSError, ValueError):
                    continue  # closed meanwhile

    def _remove(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._selector.close()
        self._bell.close()


def open_poller(*, busy_poll: float = 0.0, portable: bool = not hasattr(select, "epoll")) -> Poller:
    """Return the poller for this system.

    Args:
        busy_poll: seconds for which it polls before it sleeps, as long as events come that fast.
        portable: whether to take the poller that works on all systems.
    """
    return _SelectorPoller(busy_poll) if portable else _EpollPoller(busy_poll)
