"""FrameQueue: the order of frames, and which thread sends them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from portal.websocket.frame_queue import FrameQueue
from portal.websocket.frames import Close, FrameProtocol, Ping, TextMessage

WAIT = 20.0


def read(data: bytes) -> list[Any]:
    return FrameProtocol("client").feed(data)


def test_frames_are_sent_in_the_order_in_which_they_were_made() -> None:
    frames = FrameProtocol("server")
    queue = FrameQueue(frames)
    queue.add(b"1")
    queue.add(b"2")
    assert read(queue.take(frames.ping)) == [TextMessage("1"), TextMessage("2"), Ping(b"")]
    assert queue.take() == b""
    queue.add(b"3")
    assert read(queue.take(frames.close)) == [TextMessage("3"), Close(1000, "")]
    queue.add(b"after the close")
    assert queue.take() == b""


def test_the_thread_that_sends_also_sends_what_others_add_meanwhile() -> None:
    queue, sent = FrameQueue(FrameProtocol("server")), []
    queue.add(b"first")

    def send() -> None:
        sent.extend(read(queue.take()))
        if len(sent) == 1:
            queue.add(b"second")
            other = threading.Thread(target=lambda: found.append(queue.send_all(never)))
            other.start()
            other.join(WAIT)  # it does not wait for this thread

    def never() -> None:
        raise AssertionError("two threads send")

    found: list[bool] = []
    assert queue.send_all(send) is True
    assert found == [True]
    assert sent == [TextMessage("first"), TextMessage("second")]


def test_a_thread_does_not_send_for_others_forever() -> None:
    queue, sent = FrameQueue(FrameProtocol("server")), 0

    def send() -> None:
        nonlocal sent
        sent += 1
        queue.take()
        queue.add(b"again")

    queue.add(b"first")
    assert queue.send_all(send) is False
    assert sent == 16


def test_others_can_send_after_a_failure() -> None:
    queue, sent = FrameQueue(FrameProtocol("server")), []
    queue.add(b"1")

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.send_all(fail)
    assert queue.send_all(lambda: sent.extend(read(queue.take()))) is True
    assert sent == [TextMessage("1")]


def test_others_can_send_after_a_thread_was_interrupted_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        """A lock after which a signal arrives."""

        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc: object) -> None:
            raise KeyboardInterrupt

    queue, sent = FrameQueue(FrameProtocol("server")), []
    queue.add(b"1")
    with monkeypatch.context() as patched:
        patched.setattr(queue, "_lock", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            queue.send_all(lambda: None)
    assert queue.send_all(lambda: sent.extend(read(queue.take()))) is True
    assert sent == [TextMessage("1")]


def test_no_frame_of_many_threads_is_lost_or_torn() -> None:
    queue, sent, start = FrameQueue(FrameProtocol("server")), [], threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(WAIT)
        for index in range(200):
            queue.add(f"{number}.{index}".encode())
            while not queue.send_all(lambda: sent.append(queue.take())):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    texts = [event.text for event in read(b"".join(sent))]
    assert len(texts) == len(set(texts)) == 1600
    for number in range(8):
        assert [text for text in texts if text.startswith(f"{number}.")] == [
            f"{number}.{index}" for index in range(200)
        ]
