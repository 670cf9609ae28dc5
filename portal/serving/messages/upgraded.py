"""Upgraded: a protocol other than HTTP on a connection of a listener, and the work for its messages."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from ..._internal.job_queue import Keys
from ...errors import OverloadedError
from .held_keys import HeldKeys

__all__ = ["Run", "Upgraded", "Work"]


class Work(Protocol):
    """The work of an upgraded protocol for one message, done by the reading thread or by a worker.

    It may have a `deadline`, a `time.monotonic()` moment or None. If its turn is expected later, it is rejected.
    """

    def __call__(self, held: HeldKeys | None) -> bool:
        """Do it.

        Args:
            held: counts the work for further keys; None in the thread that reads.
        Returns: whether its time tells how long the next work of its kind takes; that of an error does not.
        """

    def reject(self, error: OverloadedError) -> None:
        """Take it back, as it waited for a worker for too long. The reactor calls this; it must not wait."""


Run = Callable[[Hashable, Keys, Work], None]
"""Has work done: here if work of its kind usually takes next to no time, otherwise in a worker.

It takes the kind of the work, the keys that limit how much of it runs and waits, and the work. It raises
OverloadedError if there is no worker for it.
"""


class Upgraded(Protocol):
    """A protocol that has taken a connection over, such as WebSocket. It uses the connection through a `Channel`."""

    def received(self, run: Run) -> None:
        """Take the bytes that have arrived from the channel, and go on with what earlier calls have left.

        The reactor calls this, or a worker. It must not wait, except in what it passes to `run`. If that takes too
        long, another thread calls this method meanwhile. So the bytes are taken in order while a lock is held.
        """

    def writable(self) -> None:
        """Go on sending: everything that waited for the client was sent. The reactor calls this; it must not wait."""

    def overdue(self) -> bool:
        """React to the passing of the deadline of the channel. The reactor calls this; it must not wait.

        Returns: whether a later deadline is set. Otherwise the connection is closed.
        """

    def farewell(self) -> bytes:
        """Return the last bytes for a client that reads too slowly, and send nothing after that; b"" for none.

        Any thread calls this, also while another one holds locks of this object. It takes no lock.
        """

    def refused(self) -> None:
        """End the connection, as too much of incomplete messages is kept. The reactor calls this; it must not wait."""

    def stopping(self) -> None:
        """Say goodbye to the client, as the listener stops. Called once, by the reactor or by a worker."""

    def ending(self) -> None:
        """Send the last bytes: the listener has waited for long enough and closes the connection after this."""

    def lost(self) -> None:
        """React to the end of the connection."""
