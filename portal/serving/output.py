"""Output: the bytes that one client still has to read, and the time it may take to read them.

All output of a connection passes through here. The rules for slow clients stand in this module and nowhere else. It
knows no sockets: a `Sink` sends the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

__all__ = ["MIN_RATE", "Output", "Sink"]

#: Bytes a second that a client must read of a long response, beyond the write timeout.
MIN_RATE = 16 * 1024


class Sink(Protocol):
    """Sends bytes to one client."""

    def send_some(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as the system takes at once. Never waits.

        Returns: the number of bytes sent, 0 if the system takes none now.
        Raises: OSError if the client is gone.
        """

    def wait_writable(self, seconds: float) -> bool:
        """Wait until bytes can be sent, for at most `seconds`. Return whether they can."""


class Output:
    """The output of one connection.

    Args:
        sink: sends the bytes.
        write_timeout: seconds for which a client may read nothing while bytes wait for it.

    Attributes:
        sent: how many bytes were sent.
        pending: how many bytes wait until the client reads.

    Threads: one at a time may send. Any thread may read the attributes.
    """

    __slots__ = ("_clock", "_rest", "_sink", "_write_timeout", "sent")

    def __init__(self, sink: Sink, write_timeout: float, clock: Callable[[], float] = monotonic) -> None:
        self._sink = sink
        self._write_timeout = write_timeout
        self._clock = clock
        self._rest = memoryview(b"")
        self.sent = 0

    @property
    def pending(self) -> int:
        return len(self._rest)

    def write(self, data: bytes) -> None:
        """Send all of `data`. Waits while the client reads too slowly.

        A client may take `write_timeout` seconds for each part, and one second more for each `MIN_RATE` bytes in total.

        Raises: ConnectionError if the client is gone or too slow. The connection cannot be used after that.
        """
        taken = self._sink.send_some(data)
        self.sent += taken
        if taken < len(data):
            self._rest = memoryview(data)[taken:]
            try:
                self._flush()
            finally:
                self._rest = memoryview(b"")

    def write_now(self, data: bytes) -> bool:
        """Send `data` if the system takes all of it at once. Never waits.

        Returns: whether all was sent. Otherwise the connection cannot be used any more, as part may have been sent.
        """
        try:
            taken = self._sink.send_some(data)
        except OSError:
            return False
        self.sent += taken
        return taken == len(data)

    def _flush(self) -> None:
        end = self._clock() + self._write_timeout + len(self._rest) / MIN_RATE
        while self._rest:
            patience = min(self._write_timeout, end - self._clock())
            if patience <= 0 or not self._sink.wait_writable(patience):
                raise ConnectionAbortedError("the client reads the response too slowly")
            taken = self._sink.send_some(self._rest)
            self.sent += taken
            self._rest = self._rest[taken:]
