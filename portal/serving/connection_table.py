"""ConnectionTable: the open connections of a listener, and which of them wait for their client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic

from .connection import Connection
from .poller import Poller
from .timeouts import FOLLOW_UP_SECONDS

__all__ = ["ConnectionTable"]

_log = logging.getLogger("portal.serving")


class ConnectionTable:
    """The open connections of a listener.

    A connection is either parked, and the reactor watches it, or it belongs to the thread that serves its request.

    Args:
        poller: tells the reactor which sockets are ready.
        retire: receives each connection that was closed here.

    Attributes:
        parked: connections that wait for their client, by descriptor.
        open: all open connections.

    Threads: any thread may call `park`, `close`, `release_to_worker`, `on_hangup`, `forget_hangup`, `stop_keeping`,
        `end`, `has_unfinished` and `abandon`, and may read the attributes. The thread that watches the leader calls
        `hand_over`. Only the thread that leads the reactor's loop calls the other methods.
    """

    def __init__(self, poller: Poller, retire: Callable[[Connection], object]) -> None:
        self.parked: dict[int, Connection] = {}
        self.open: set[Connection] = set()
        self._poller = poller
        self._retire = retire
        self._hangups: dict[int, Callable[[], object]] = {}
        self._keeping = True
        self._ended = False

    # any thread

    def park(self, connection: Connection) -> None:
        """Watch a connection that the calling thread has finished with."""
        if connection.closed:
            return
        now = monotonic()
        connection.note_parked(now)
        if not self._keeping and connection.awaits_request:
            connection.set_deadline(now + FOLLOW_UP_SECONDS)
        fd = connection.stream.fileno()
        self.parked[fd] = connection
        self._ignoring_closed(self._poller.arm, fd)
        if self._ended and self.parked.pop(fd, None) is not None:
            self.close(connection)

    def close(self, connection: Connection) -> None:
        """Close a connection that belongs to the calling thread."""
        if not connection.closed:
            self._poller.forget(connection.stream.fileno())
            connection.close()
            self.open.discard(connection)
            self._retire(connection)

    def release_to_worker(self, connection: Connection) -> None:
        """Report no events of a connection until it is parked again."""
        self._ignoring_closed(self._poller.disarm, connection.stream.fileno())

    def on_hangup(self, connection: Connection, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client closes its side of a connection that is being served."""
        fd = connection.stream.fileno()
        self._hangups[fd] = callback
        self._ignoring_closed(self._poller.arm_hangup, fd)

    def forget_hangup(self, connection: Connection) -> None:
        """Drop the callback of `on_hangup`."""
        if self._hangups:
            self._hangups.pop(connection.stream.fileno(), None)

    def stop_keeping(self) -> None:
        """Close connections soon after their response from now on."""
        self._keeping = False

    def end(self) -> None:
        """Close every connection that is parked from now on."""
        self._keeping = False
        self._ended = True

    def has_unfinished(self) -> bool:
        """Return whether a client is sending a request, or may be about to."""
        now = monotonic()
        return any(one.is_unfinished(now) for one in list(self.parked.values()))

    def abandon(self) -> None:
        """Close this process's copies of the sockets in the child of a fork, without a word to the clients."""
        self.end()
        for connection in self.open:
            connection.discard()

    # the thread that leads the reactor's loop

    def add(self, connection: Connection) -> None:
        """Watch a new connection."""
        fd = connection.stream.fileno()
        self.open.add(connection)
        self.parked[fd] = connection
        self._poller.add(fd)

    def take_hangup(self, fd: int) -> Callable[[], object] | None:
        """Return the callback for a client that has closed its side, and drop it."""
        return self._hangups.pop(fd, None) if self._hangups else None

    def drop(self, fd: int) -> None:
        """Close the connection that is parked under a descriptor, if there is one."""
        connection = self.parked.pop(fd, None)
        if connection is not None:
            self.close(connection)

    def drop_all(self) -> None:
        """Close all parked connections."""
        for fd in list(self.parked):
            self.drop(fd)

    def keep_for_follow_up(self, connection: Connection) -> None:
        """Keep an idle connection for the moment in which the client's next request may already be on its way.

        The client gets a 503 then; see `FOLLOW_UP_SECONDS`.
        """
        connection.set_deadline(monotonic() + FOLLOW_UP_SECONDS)

    def is_resting(self, connection: Connection) -> bool:
        """Return whether the last response is too old for a next request to be on its way."""
        return self._ended or monotonic() - connection.idle_since >= FOLLOW_UP_SECONDS

    # the thread that watches the leader

    def hand_over(self, fd: int, reported: Iterable[int]) -> None:
        """Prepare for the next leader while the step that serves `fd` is stuck.

        The poller reports readable sockets again to the next leader. It reports a hang-up only once, so those that the
        stuck leader has not handled are armed anew.

        Args:
            reported: descriptors that the poller has reported to the stuck leader and that it has not handled.
        """
        self._ignoring_closed(self._poller.disarm, fd)
        if fd in self.parked:  # the responder at the deadline has parked it just now
            self._ignoring_closed(self._poller.arm, fd)
        for other in reported:
            if other in self._hangups:
                self._ignoring_closed(self._poller.arm_hangup, other)
                if other in self.parked:  # its stream has ended just now
                    self._ignoring_closed(self._poller.arm, other)

    def _ignoring_closed(self, change: Callable[[int], object], fd: int) -> None:
        try:
            change(fd)
        except (OSError, ValueError):
            _log.debug("a connection to be watched was closed already")
