"""Transport: the texts of one client over its channel: frames, bounds, signs of life and the closing handshake."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Protocol

from ..._internal.counter import Counter
from ...serving import Channel
from ..close_codes import CloseCode
from ..deflate import Agreement
from ..frames import Close, Failure, FrameEvent, FrameProtocol, Ping, Pong, TextMessage
from .liveness import Liveness
from .message_rate import MessageRate
from .outbox import Outbox
from .settings import WebSocketConfig

__all__ = ["COUNTED", "Counters", "Transport"]

COUNTED = 1024  # characters; smaller texts are not counted while their calls run


class Counters(Protocol):
    """Counts the ends of connections, by reason."""

    @property
    def closed_slow(self) -> Counter: ...
    @property
    def dead(self) -> Counter: ...
    @property
    def failures(self) -> Counter: ...


class Transport:
    """The texts of one client. It knows nothing of what they mean.

    Args:
        channel: the connection of the listener.
        deflate: what the handshake has agreed on, or None.
        config: limits and timeouts.
        counters: count the ends of connections.
        awaits_credential: whether the client must authenticate itself in a message.

    Attributes:
        liveness: the moments of the connection.
        outbox: what is sent.
        paused: whether nothing is read until the client has read what waits for it.
        lost: whether the connection is gone.

    Threads: any thread may call `farewell` and read `has_more`. Its owner has a lock for the other methods.
    """

    __slots__ = (
        *("_channel", "_config", "_counters", "_deadline", "_frames", "_holds", "_rate", "_unread"),
        *("liveness", "lost", "outbox", "paused"),
    )

    def __init__(
        self,
        channel: Channel,
        deflate: Agreement | None,
        config: WebSocketConfig,
        counters: Counters,
        *,
        awaits_credential: bool = False,
    ) -> None:
        now = monotonic()
        self._channel = channel
        self._config = config
        self._counters = counters
        self._frames = FrameProtocol(
            "server", max_message=config.max_message, max_fragments=config.max_fragments, deflate=deflate
        )
        self._rate = MessageRate(config.messages_per_second, now)
        self.liveness = Liveness(config, now, awaits_credential=awaits_credential)
        self.outbox = Outbox(channel, self._frames, config.max_queued)
        self._unread = False  # whether `next_text` has to look at the frames although nothing has arrived
        self._holds = False  # whether bytes are counted that are kept of texts
        self._deadline = inf  # at which the listener reports
        self.paused = self.lost = False

    @property
    def closing(self) -> bool:
        """Whether nothing more is sent to the client."""
        return self.lost or self._frames.closing

    # reading

    @property
    def has_more(self) -> bool:
        """Whether bytes have arrived that `next_text` may read and has not read."""
        return not self.paused and (self._unread or self._channel.has_arrived)

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived of which `next_text` has returned nothing yet."""
        return self._frames.reader.has_unread or self._channel.has_arrived

    def next_text(self, now: float, kept: int) -> str | None:
        """Return the next text of the client; None if none has arrived, or if it may not be read now.

        Args:
            kept: bytes that are kept of earlier texts.
        """
        frames, outbox = self._frames, self.outbox
        data = self._channel.take()
        if data:
            self.liveness.heard(now)
            frames.receive(data)
        while True:
            if outbox.is_full and not frames.closing:
                self.flush()
                if outbox.is_full:  # so the listener will report that everything was sent
                    self.paused = self._unread = True
                    self._channel.pause()
                    return None
            frame = frames.next_event()
            if frame is None:
                self._unread, size = False, frames.buffered + kept
                self._holds = size > 0
                if not self._channel.hold_input(size):
                    self.refuse()
                return None
            if not self._rate.take(now):
                self.close(CloseCode.TOO_MANY, f"more than {self._config.messages_per_second} messages a second")
            if isinstance(frame, TextMessage):
                if not frames.closing:
                    self.liveness.used(now)
                    self._unread = self._holds or frames.reader.has_unread or len(frame.text) >= COUNTED
                    return frame.text
            else:
                self._take(frame)

    def _take(self, frame: FrameEvent) -> None:
        if isinstance(frame, Pong):
            moment = self.liveness.next_moment(busy=False)
            if moment < self._deadline:  # that of the response to the ping, which has come
                self._report_at(moment)
        elif isinstance(frame, Ping):
            self.outbox.add_frame(self._frames.pong(frame.payload))
        elif isinstance(frame, Close):
            if self._frames.closing:
                self._channel.finish()
            self.close(frame.code, "", at_once=True)
        elif isinstance(frame, Failure):
            self._counters.failures.add()
            self.close(frame.code, frame.reason, at_once=True)
        else:
            self.close(CloseCode.UNSUPPORTED_DATA, "messages must be text")

    def refuse(self) -> None:
        """End the connection, as too much of incomplete messages is kept."""
        self.close(CloseCode.TRY_AGAIN_LATER, "the server keeps too much of unfinished messages", at_once=True)

    # sending

    def flush(self) -> None:
        """Send what the outbox has."""
        try:
            self.outbox.flush()
        except OSError:
            if not self._frames.closing:  # otherwise the listener sends the last frame
                self._channel.abort()

    def go_on(self) -> bool:
        """Send what waits for room. Return whether the client has read enough for others to go on."""
        self.outbox.refill()
        self.flush()
        return not self.outbox.is_full

    def resume(self) -> bool:
        """Read again. Return whether nothing was read until now."""
        paused, self.paused = self.paused, False
        if paused:
            self._channel.resume()
        return paused

    # ending

    def close(self, code: int, reason: str, *, at_once: bool = False) -> None:
        """Send a close frame.

        Args:
            at_once: whether to end the connection after it. Otherwise the client's close frame is waited for.
        """
        last = self._frames.close(code, reason)
        if not last:
            return
        self.outbox.add_frame(last)
        try:
            self.outbox.flush()
        except OSError:
            self._channel.abort()
            return
        if at_once:
            self._channel.finish()
        else:
            self.liveness.close(monotonic())
            self._report_at(self.liveness.next_moment(busy=False))
        self.resume()  # for the client's close frame

    def cut(self) -> None:
        """End the connection, as the client reads too slowly. Nothing is sent but the reason."""
        last = self.farewell()
        if last:
            self.outbox.drop()
            self._channel.cut(last)

    def farewell(self) -> bytes:
        """Return the last frame for a client that reads too slowly, or b"" if it is closing already."""
        last = self._frames.close(CloseCode.SLOW_CONSUMER, "the client reads too slowly")
        if last:
            self._counters.closed_slow.add()
        return last

    # time

    def do_what_is_due(self, now: float, *, busy: bool) -> bool:
        """Send a ping, close, or both, if it is time to. Return False if the client is dead.

        Args:
            busy: whether the client has calls or subscriptions.
        """
        due = self.liveness.due(now, busy=busy)
        if due == "dead":
            self._counters.dead.add()
            return False
        if due == "ping":
            self._frames.rest()
            self.outbox.add_frame(self._frames.ping())
        self.flush()
        if isinstance(due, tuple):
            self.close(*due)
        elif due == "end":
            self._channel.finish()
        return True

    def set_deadline(self, other: float | None, *, busy: bool) -> None:
        """Have the listener report when something is due.

        Args:
            other: a moment that the owner waits for, or None.
            busy: as for `do_what_is_due`.
        """
        moment = self.liveness.next_moment(busy=busy)
        self._report_at(moment if other is None else min(moment, other))

    def _report_at(self, moment: float) -> None:
        self._deadline = moment
        self._channel.set_deadline(moment)
