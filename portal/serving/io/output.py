"""Output: the bytes that one client still has to read.

All output of a connection passes through here. What the system does not take at once is kept, and the thread that
watches the connections sends it later. So a client that reads slowly holds no worker. This module knows no sockets and
no HTTP: a `Sink` sends the bytes, and `SlowReader` decides when a client is too slow.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from ..._internal.conditions import Condition
from ..bounds.budget import ByteBudget, Places
from ..bounds.input import InputBudgets
from ..bounds.slow_reader import SlowReader

__all__ = ["ConnectionOwner", "Output", "Sink"]

_BATCH = 16 * 1024  # bytes of small parts that are sent together
_STEP = 256 * 1024  # bytes that `flush` sends before other connections have their turn
_OVERHEAD = 256  # bytes of memory that a part takes beside its data
_LOOK = 0.5  # seconds between two looks at the clock while a stream waits for its client
_ABORTED = "the connection was aborted"


class Sink(Protocol):
    """Sends bytes to one client."""

    def send_some(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as the system takes at once. Never waits.

        Returns: the number of bytes sent, 0 if the system takes none now.
        Raises: OSError if the client is gone.
        """

    def count_unacknowledged(self) -> int:
        """Return how many sent bytes the system still holds as the client has not acknowledged them, 0 if unknown."""


class ConnectionOwner(Protocol):
    """Watches connections that are not being served. Threads: any."""

    @property
    def output_budget(self) -> ByteBudget:
        """Counts the output that waits for clients."""

    @property
    def inputs(self) -> InputBudgets:
        """Counts what is held of requests that have not been served."""

    @property
    def streams(self) -> Places:
        """Counts the streams that are being sent."""

    @property
    def bodies(self) -> Any:
        """Keeps large bodies on disk; a `BodyStore`, or None."""

    def park(self, connection: Any) -> None:
        """Watch a connection from now on."""

    def resume(self, connection: Any) -> None:
        """Read a connection again that was paused."""

    def watch_output(self, connection: Any, pending: bool) -> None:
        """Send what waits for the client of a connection, until `pending` is False. Its output's lock is held."""

    def reduce_output(self, connection: Any) -> None:
        """Abort connections until their output is within its budget.

        Raises: ConnectionAbortedError if `connection` is one of them.
        """

    def on_hangup(self, connection: Any, callback: Callable[[], object]) -> None:
        """Call `callback` once if the client closes its side."""

    def on_reset(self, connection: Any, callback: Callable[[], object]) -> None:
        """Call `callback` once if the connection is broken."""

    def forget_reset(self, connection: Any, callback: Callable[[], object]) -> None:
        """Drop the callback."""

    def forget_hangup(self, connection: Any) -> None:
        """Drop the callback."""


class Output:
    """The output of one connection.

    Args:
        sink: sends the bytes.
        reader: decides when the client is too slow.
        budget: counts the bytes that all connections keep.
        stream_limit: bytes that are kept before a stream has to wait.
        on_pending: called with True when bytes begin to wait for the client, and with False when none wait any more.
            `lock` is held meanwhile.

    Attributes:
        sent: how many bytes were sent.
        pending: how many bytes wait until the client reads.
        held: how many bytes of memory are kept for the client.
        lock: guards the attributes. It is also held where a thread changes what the poller reports of this connection,
            and where it closes or breaks the connection.

    Threads: one at a time may write. Any thread may call the other methods and read the attributes.
    """

    __slots__ = (
        "_aborted",
        "_begun",
        "_budget",
        "_changed",
        "_clock",
        "_delivered",
        "_ended",
        "_gathered",
        "_on_pending",
        "_on_sent",
        "_parts",
        "_reader",
        "_sink",
        "_stream_limit",
        "held",
        "lock",
        "pending",
        "sent",
    )

    def __init__(
        self,
        sink: Sink,
        reader: SlowReader,
        budget: ByteBudget,
        stream_limit: int,
        on_pending: Callable[[bool], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._sink = sink
        self._reader = reader
        self._budget = budget
        self._stream_limit = stream_limit
        self._on_pending = on_pending
        self._clock = clock
        self._parts: deque[tuple[memoryview, int]] = deque()  # what is left of a part, and the memory it holds
        self.held = 0
        self._delivered = 0  # bytes that the client has acknowledged, when it was last looked at
        self._aborted = False
        self._ended = False  # whether the last part is kept already
        self._gathered = bytearray()  # the last of `pending`, which the system has not been offered
        self._begun = False  # whether some of the first part was sent
        self._on_sent: Callable[[], object] | None = None
        self._changed: Condition | None = None  # on `lock`, while a stream waits
        self.lock = threading.RLock()
        self.pending = 0
        self.sent = 0

    # the thread that responds

    def write(self, data: bytes, timeout: float | None = None) -> bool:
        """Send `data`. Keep what the system does not take at once; never waits.

        Args:
            timeout: seconds in which the client must take everything, or None.
        Returns: False if all connections together keep more than their budget now.
        Raises: OSError if the client is gone, or if the connection was aborted.
        """
        rest: bytes | memoryview = data
        with self.lock:
            if self._aborted or self._ended:
                raise ConnectionAbortedError(_ABORTED)
            if self._gathered:
                self._send_parts()
            if not self.pending and rest:
                while taken := self._sink.send_some(rest):
                    self.sent += taken
                    if taken == len(rest):
                        return True
                    rest = memoryview(rest)[taken:]
            return self._keep(memoryview(rest), len(data) + _OVERHEAD, timeout) if rest else True

    def gather(self, data: bytes) -> bool:
        """Keep a small part, so that the thread that watches the connections sends it, with those that follow at once.

        That thread sends as soon as it runs and the client can take something. The next `write` sends it before.

        Returns: whether the part is kept. It is not if it is large, or if much waits already.
        Raises: ConnectionAbortedError if the connection was aborted.
        """
        with self.lock:
            if self._aborted or self._ended:
                raise ConnectionAbortedError(_ABORTED)
            size, begins = len(data), not self.pending
            if self.pending + size > _BATCH:
                return False
            self._gathered += data
            self.pending += size
            if begins:
                self._begin()
            return True

    def write_now(self, data: bytes) -> bool:
        """Send `data` if the system takes all of it at once. Never waits.

        Returns: whether all was sent. Otherwise the connection cannot be used any more, as part may have been sent.
        """
        with self.lock:
            if self._aborted or self._ended:
                return False
            try:
                if self._gathered:
                    self._send_parts()
                if self.pending:
                    return False
                taken = self._sink.send_some(data)
            except OSError:
                return False
            self.sent += taken
            return taken == len(data)

    def wait_for_room(self) -> None:
        """Wait while a stream would keep too much. Raises: ConnectionAbortedError if the client is too slow."""
        if self.held <= self._stream_limit:
            return
        with self.lock:
            self._changed = self._changed or Condition(self.lock)
            while self.held > self._stream_limit:
                complaint = self.complaint()
                if complaint is not None:
                    self.discard()
                    raise ConnectionAbortedError(complaint)
                self._changed.wait(_LOOK)
            if self._aborted:
                raise ConnectionAbortedError(_ABORTED)

    def when_sent(self, callback: Callable[[], object]) -> None:
        """Call `callback` once nothing waits for the client any more: now, or in the thread that sends the rest."""
        with self.lock:
            if self.pending:
                self._on_sent = callback
                return
        callback()

    def _keep(self, rest: memoryview, size: int, timeout: float | None) -> bool:
        """Keep what the system does not take now. The lock is held."""
        begins = not self.pending
        self._parts.append((rest, size))
        self.pending += len(rest)
        self.held += size
        self._budget.add(size)
        if begins:
            self._begin(has_begun=len(rest) < size - _OVERHEAD)
        if timeout is not None:
            self._reader.limit(self._clock() + timeout)
        return not self._budget.is_exceeded  # after the report: of two connections, the later one sees both

    def _begin(self, *, has_begun: bool = False) -> None:
        """Note that the client has to take something. The lock is held."""
        self._begun = has_begun
        self._delivered = self.sent - self._sink.count_unacknowledged()
        self._reader.begin(self._clock())
        self._on_pending(True)

    # any thread

    def flush(self) -> bool:
        """Send what the system takes now, up to a limit that keeps other connections from waiting.

        Returns: False if the client is gone or the connection was aborted.
        """
        with self.lock:
            if self._aborted:
                return False
            try:
                self._send_parts()
            except OSError:
                self.discard()
                return False
            if not self.pending:
                callback, self._on_sent = self._on_sent, None
                if callback is not None:
                    try:
                        callback()
                    except OSError:
                        return False
            return True

    def _send_parts(self) -> None:
        count = 0
        self._keep_gathered()
        while self._parts and count < _STEP:
            part, size = self._parts[0]
            taken = self._sink.send_some(part)
            if not taken:
                break
            count += taken
            self._begun = taken < len(part)
            if self._begun:
                self._parts[0] = (part[taken:], size)
            else:
                self._parts.popleft()
                self._release(size)
        if count:
            self.sent += count
            self.pending -= count
            if not self.pending:
                self._on_pending(False)

    def _keep_gathered(self) -> None:
        """Make a part of what was gathered, which counts as held from now on. The lock is held."""
        if self._gathered:
            size = len(self._gathered) + _OVERHEAD
            self._parts.append((memoryview(self._gathered), size))
            self._gathered = bytearray()
            self.held += size
            self._budget.add(size)

    def complaint(self) -> str | None:
        """Return why the client is too slow, or None. Call it several times per write timeout.

        What counts is what the client has acknowledged: the system reports that it can send more only after a large
        part of its own buffer is free, which a slow client may take minutes for.
        """
        with self.lock:
            if not self.pending:
                return None
            now = self._clock()
            delivered = self.sent - self._sink.count_unacknowledged()
            if delivered > self._delivered:
                self._reader.progress(delivered - self._delivered, now)
                self._delivered = delivered
            return self._reader.complaint(now)

    def discard(self) -> None:
        """Drop what waits for the client, and accept nothing more."""
        with self.lock:
            self._aborted = True
            self._on_sent = None
            self._parts.clear()
            self._gathered = bytearray()
            self._release(self.held)
            if self.pending:
                self.pending = 0
                self._on_pending(False)

    def replace(self, last: bytes) -> bool:
        """Drop the parts of which nothing was sent, and keep `last` in their place. Nothing is written after it.

        Returns: False, with nothing changed, if nothing waits for the client.
        """
        with self.lock:
            if not self.pending:
                return False
            self._keep_gathered()
            kept = [self._parts[0]] if self._begun else []
            dropped = sum(size for _, size in self._parts) - sum(size for _, size in kept)
            self._parts = deque([*kept, (memoryview(last), len(last) + _OVERHEAD)])
            self.pending = sum(len(part) for part, _ in self._parts)
            self.held += len(last) + _OVERHEAD
            self._budget.add(len(last) + _OVERHEAD)
            self._release(dropped)
            self._ended = True
            return True

    def close(self) -> None:
        """Drop everything for good; the connection is closed."""
        with self.lock:
            self.discard()
            self._on_pending = _ignore

    def _release(self, size: int) -> None:
        self.held -= size
        if size:
            self._budget.release(size)
        if self._changed is not None:
            self._changed.notify_all()


def _ignore(pending: bool) -> None:
    """Take a report of a closed connection."""
