"""Channel: a connection as the protocol uses it that has taken it over from HTTP."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...context import Identity
from ..messages.upgraded import Run, Upgraded

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Channel"]


class Channel:
    """A connection that speaks a protocol other than HTTP.

    Args:
        connection: the connection.
        run_in_worker: see below.
        take_over: makes the protocol; it may send at once.

    Attributes:
        handler: the protocol.
        run_in_worker: has work done by a worker.

    Threads: one at a time may call `send`, `finish`, `take` and `resume_http`. Any thread may call the other methods.
    """

    __slots__ = ("_arrived", "_connection", "_known", "_stopping", "handler", "run_in_worker")

    def __init__(self, connection: Connection, run_in_worker: Run, take_over: Callable[[Channel], Upgraded]) -> None:
        self._connection = connection
        self.run_in_worker = run_in_worker
        self._arrived: deque[bytes] = deque()
        self._known = False
        self.handler = take_over(self)
        self._stopping: list[Callable[[], object]] = [self.handler.stopping]  # until it is called

    @property
    def peer(self) -> str:
        """The network address of the client, "unix:" on a Unix socket."""
        return self._connection.peer

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""
        return self._connection.secure

    @property
    def identity(self) -> Identity | None:
        """The identity of the client by its certificate, or None."""
        return self._connection.identity

    @property
    def queued(self) -> int:
        """The bytes of memory that are kept until the client reads."""
        return self._connection.output.held

    @property
    def bytes_in(self) -> int:
        """The number of bytes received."""
        return self._connection.bytes_in

    @property
    def bytes_out(self) -> int:
        """The number of bytes sent."""
        return self._connection.output.sent

    # sending

    def send(self, data: bytes) -> None:
        """Send whole messages. Never waits: what the system does not take at once is sent later.

        Raises: OSError if the client is gone, or if the connection was cut for what waits for it.
        """
        self._connection.send_part(data)

    def finish(self, last: bytes = b"") -> None:
        """Send `last`, then nothing more, and close once the client has closed its side or a moment has passed."""
        try:
            if last:
                self.send(last)
            self._connection.shut_writing()
        except OSError:
            self._connection.abort()

    def cut(self, last: bytes) -> None:
        """Send `last` in the place of the messages that wait, then nothing more, and close; see `finish`.

        Only a message of which a part was sent is sent to its end.
        """
        if self._connection.output.replace(last):
            self.finish()
        else:
            self.finish(last)

    def abort(self) -> None:
        """Break the connection and drop what waits for the client."""
        self._connection.abort()

    # reading

    def put(self, data: bytes) -> None:
        """Add bytes that have arrived. Only the listener calls this, one thread at a time."""
        self._arrived.append(data)

    def take(self) -> bytes:
        """Return the bytes that have arrived since the last call, in order; b"" for none."""
        arrived = self._arrived
        if not arrived:
            return b""
        data = arrived.popleft()
        while arrived:
            data += arrived.popleft()
        return data

    @property
    def has_arrived(self) -> bool:
        """Whether `take` would return bytes."""
        return bool(self._arrived)

    def pause(self) -> None:
        """Read nothing until `resume`. The kernel holds what the client sends meanwhile, and then the client waits."""
        self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        self._connection.resume()

    def admit(self) -> None:
        """Count what is kept as that of a caller who is known."""
        self._known = True
        self._connection.input.admit()

    def hold_input(self, size: int) -> bool:
        """Count the bytes that are kept of messages which have not arrived completely, or wait or run.

        Returns: False if they must be dropped, as all connections together keep too much.
        """
        share = self._connection.input
        if size:
            return share.hold(self._connection, size)
        if share.held:
            share.release()
            if self._known:
                share.admit()
        return True

    # life

    def set_deadline(self, moment: float) -> None:
        """Call `handler.overdue` at this `time.monotonic()` moment, within half a second."""
        self._connection.set_deadline(moment)

    def notify_writable(self) -> None:
        """Tell the protocol that it may send more, unless output waits for the client or the connection ends."""
        if not self._connection.output.pending and not self._connection.draining:
            self.handler.writable()

    def notify_stopping(self) -> None:
        """Tell the protocol once that the listener stops."""
        try:
            stopping = self._stopping.pop()
        except IndexError:
            return
        stopping()

    def resume_http(self, rest: bytes = b"") -> None:
        """Speak HTTP again, beginning with `rest`. Only `Upgraded.received` may call this."""
        self._stopping.clear()
        self._connection.downgrade(rest)
