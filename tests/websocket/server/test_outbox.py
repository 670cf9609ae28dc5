"""Outbox: what is sent, in which order, and what waits for room."""

from __future__ import annotations

from typing import Any

from portal.websocket.frames import FrameProtocol, SharedText, TextMessage
from portal.websocket.server.outbox import Outbox


class Channel:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.queued = 0

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def texts(self) -> list[str]:
        events = FrameProtocol("client", max_message=1 << 30).feed(b"".join(self.sent))
        return [event.text for event in events if isinstance(event, TextMessage)]


class Subscription:
    def __init__(self, *texts: str) -> None:
        self.left = list(texts)

    def take(self) -> SharedText | None:
        return SharedText(self.left.pop(0)) if self.left else None


def outbox(max_queued: int = 1000) -> tuple[Outbox, Any, FrameProtocol]:
    channel, frames = Channel(), FrameProtocol("server")
    return Outbox(channel, frames, max_queued), channel, frames  # type: ignore[arg-type]


def test_frames_are_joined_and_sent_in_order() -> None:
    box, channel, frames = outbox()
    box.add(b"1")
    box.add_frame(frames.ping())
    box.add(b"2")
    assert channel.sent == []
    box.flush()
    box.flush()
    assert len(channel.sent) == 1
    assert channel.texts() == ["1", "2"]


def test_subscriptions_take_turns() -> None:
    box, channel, _ = outbox()
    channel.queued = 2000
    box.wake(Subscription("a1", "a2"))  # type: ignore[arg-type]
    box.wake(Subscription("b1", "b2", "b3"))  # type: ignore[arg-type]
    channel.queued = 0
    box.refill()
    box.flush()
    assert channel.texts() == ["a1", "b1", "a2", "b2", "b3"]


def test_messages_of_subscriptions_wait_for_room_and_responses_do_not() -> None:
    box, channel, _ = outbox(max_queued=1000)
    one = Subscription(*["x" * 400] * 5)
    box.wake(one)  # type: ignore[arg-type]
    assert box.is_full
    assert len(one.left) == 2
    box.add(b"response")
    box.flush()
    channel.queued = 1300  # the client has not read
    box.refill()
    assert len(one.left) == 2
    channel.queued = 0
    box.refill()
    box.flush()
    assert one.left == []
    assert channel.texts() == [*["x" * 400] * 3, "response", *["x" * 400] * 2]


def test_much_is_sent_in_parts() -> None:
    box, channel, _ = outbox(max_queued=10_000_000)
    box.wake(Subscription(*["x" * 100_000] * 7))  # type: ignore[arg-type]
    assert len(channel.sent) == 2
    box.flush()
    assert len(channel.texts()) == 7


def test_nothing_is_taken_after_a_close() -> None:
    box, channel, frames = outbox()
    frames.close()
    one = Subscription("late")
    box.wake(one)  # type: ignore[arg-type]
    box.add(b"late")
    box.flush()
    assert (one.left, channel.sent) == (["late"], [])


def test_drop_forgets_everything() -> None:
    box, channel, _ = outbox(max_queued=10)
    one = Subscription("x" * 20, "y")
    box.add(b"1")
    box.wake(one)  # type: ignore[arg-type]
    box.drop()
    box.refill()
    box.flush()
    assert (channel.sent, one.left) == ([], ["y"])
