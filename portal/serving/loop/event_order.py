"""EventOrder: which of many ready sockets the reactor handles first.

200 clients that connect at the same moment make a pass of the loop long, and the longer if other threads compute: the
reactor waits for the interpreter's lock after each system call. A client that is being served already would wait for
all of them, once for each of its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol

__all__ = ["MANY", "EventOrder"]

MANY = 16  # ready sockets; up to so many are handled in the order in which they are reported
_SLICE = 0.002  # seconds for sockets that wait, after which it is looked for more urgent ones


class _Parked(Protocol):
    """The attributes of a connection that decide its place in the order."""

    @property
    def requests(self) -> int: ...

    @property
    def draining(self) -> bool: ...


class EventOrder:
    """The ready sockets that wait while those of established connections are handled.

    A connection is established if an earlier request of it has been served. New connections, unfinished handshakes, the
    listening sockets and connections that end come after it, in the order in which they became ready. They are handled
    for a short time, then the reactor polls again.

    Args:
        parked: the parked connections by descriptor.
        handle: handles one ready socket, and returns whether the loop goes on. It must not raise.
        clock: seconds, as `time.monotonic`.

    Attributes:
        waiting: the descriptors that wait, with the moments at which they were first reported, oldest first. Each is
            handled once; if nothing is ready any more, that does nothing.

    Threads: one.
    """

    __slots__ = ("_clock", "_handle", "_parked", "waiting")

    def __init__(
        self, parked: Mapping[int, _Parked], handle: Callable[[int], bool], clock: Callable[[], float] = monotonic
    ) -> None:
        self._parked = parked
        self._handle = handle
        self._clock = clock
        self.waiting: dict[int, float] = {}

    def established(self, reported: list[int]) -> list[int]:
        """Return the descriptors of established connections, and let the others wait."""
        parked = self._parked
        found = [fd for fd in reported if (one := parked.get(fd)) is not None and one.requests > 0 and not one.draining]
        if self.waiting or len(found) < len(reported):
            now = self._clock()
            for fd in reported:
                self.waiting.setdefault(fd, now)
            for fd in found:
                del self.waiting[fd]
        return found

    def handle_some(self) -> bool:
        """Handle some of the sockets that wait, at least one of them. Return whether the loop goes on."""
        end = self._clock() + _SLICE
        while self.waiting:
            fd = next(iter(self.waiting))
            del self.waiting[fd]
            if not self._handle(fd):
                return False
            if self._clock() >= end:
                break
        return True

    def oldest(self, now: float) -> float:
        """Return the moment by which everything that was ready has been handled; `now` if nothing waits."""
        return next(iter(self.waiting.values()), now)
