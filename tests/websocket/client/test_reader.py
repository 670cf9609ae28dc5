"""Reader, with pairs of sockets."""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.websocket.client.poller import EpollPoller
from portal.websocket.client.reader import READ, WRITE, Reader, shared_reader
from tests.support.thread_list import new_threads

WAIT = 20.0


class Recorder:
    """A handler that notes what it gets."""

    def __init__(self, sock: socket.socket, fails: str = "") -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fails = fails
        self.interest = READ
        self.received = bytearray()
        self.changed = threading.Condition()
        self.notes: list[str] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def with_interest(self, apply: Callable[[int], object]) -> None:
        apply(self.interest)

    def on_readable(self) -> None:
        data = self.sock.recv(65536)
        self.note(f"read {data!r}")
        if self.fails == "read":
            raise RuntimeError("scripted")

    def on_writable(self) -> None:
        self.note("writable")

    def on_failure(self, error: BaseException) -> None:
        self.note(f"failed {error}")
        if self.fails == "failure":
            raise RuntimeError("scripted")

    def on_detached(self) -> None:
        self.sock.close()
        self.note("detached")

    def note(self, text: str) -> None:
        with self.changed:
            self.notes.append(text)
            self.changed.notify_all()

    def wait_for(self, text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.notes, WAIT), self.notes


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def pair() -> Iterator[Callable[..., tuple[Recorder, socket.socket]]]:
    opened: list[socket.socket] = []

    def make(**options: Any) -> tuple[Recorder, socket.socket]:
        mine, other = socket.socketpair()
        opened.extend((mine, other))
        return Recorder(mine, **options), other

    yield make
    for sock in opened:
        sock.close()


def stop(reader: Reader, *handlers: Recorder) -> None:
    """Detach the handlers and wait until the thread has ended."""
    thread = reader._loop._thread
    for handler in handlers:
        reader.detach(handler)
    for handler in handlers:
        handler.wait_for("detached")
    if thread is not None:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert not reader._loop.running


def test_one_thread_serves_all_sockets_and_ends_with_the_last(reader: Reader, pair: Any) -> None:
    pairs = [pair() for _ in range(20)]
    before = threading.enumerate()
    for handler, _ in pairs:
        reader.watch(handler)
    for _, other in pairs:
        other.send(b"x")
    for handler, _ in pairs:
        handler.wait_for("read b'x'")
    assert len(new_threads(before)) == 1
    stop(reader, *(handler for handler, _ in pairs))
    handler, other = pair()  # a later socket starts a new thread
    reader.watch(handler)
    other.send(b"y")
    handler.wait_for("read b'y'")
    stop(reader, handler)


def test_output_is_watched_only_when_wanted(reader: Reader, pair: Any) -> None:
    handler, other = pair()
    handler.interest = READ | WRITE
    reader.watch(handler)
    handler.wait_for("writable")
    handler.interest = READ
    reader.watch(handler)
    other.send(b"x")
    handler.wait_for("read b'x'")
    stop(reader, handler)


def test_timers_run_in_order_and_may_be_cancelled(reader: Reader) -> None:
    seen: list[str] = []
    done = threading.Event()

    def set_timers() -> None:  # in the reading thread, so that none is due before the last is set
        start = reader._clock()
        reader.call_at(start + 0.02, lambda: seen.append("third"))
        cancelled = reader.call_at(start + 0.01, lambda: seen.append("never"))
        cancelled.cancel()
        reader.call_at(start + 0.03, done.set)
        reader.call_at(start + 0.01, lambda: seen.append("second"))
        reader.call_soon(lambda: seen.append("first"))

    reader.call_soon(set_timers)
    assert done.wait(WAIT)
    assert seen == ["first", "second", "third"]
    stop(reader)


def test_a_cancelled_timer_does_not_keep_the_thread(reader: Reader) -> None:
    reader.call_at(reader._clock() + 3600, lambda: None).cancel()
    handler_thread = reader._loop._thread
    reader.call_soon(lambda: None)
    if handler_thread is not None:
        handler_thread.join(WAIT)
    stop(reader)


def test_a_handler_that_fails_affects_no_other(reader: Reader, pair: Any) -> None:
    bad, to_bad = pair(fails="read")
    good, to_good = pair()
    reader.watch(bad)
    reader.watch(good)
    to_bad.send(b"x")
    bad.wait_for("failed scripted")
    to_good.send(b"y")
    good.wait_for("read b'y'")
    stop(reader, bad, good)


def test_a_handler_that_cannot_even_fail_is_detached(reader: Reader, pair: Any, caplog: Any) -> None:
    worse, to_worse = pair(fails="failure")
    worse.on_readable = lambda: 1 // 0
    good, to_good = pair()
    reader.watch(worse)
    reader.watch(good)
    to_worse.send(b"x")
    worse.wait_for("detached")
    to_good.send(b"y")
    good.wait_for("read b'y'")
    assert "a failed WebSocket connection could not be closed" in caplog.text
    stop(reader, good)


def test_a_timer_that_fails_is_logged(reader: Reader, caplog: Any) -> None:
    done = threading.Event()
    reader.call_soon(lambda: 1 // 0)
    reader.call_soon(done.set)
    assert done.wait(WAIT)
    assert "a timer of a WebSocket connection failed" in caplog.text
    stop(reader)


def test_a_closed_descriptor_fails_its_own_handler(reader: Reader, pair: Any) -> None:
    closed, _ = pair()
    closed.sock.close()
    reader.watch(closed)
    closed.wait_for("failed Invalid file descriptor: -1")
    stop(reader)


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll")
def test_events_may_be_changed_at_once_from_another_thread(reader: Reader, pair: Any) -> None:
    handler, other = pair()
    assert not reader.set_events(handler, READ)  # it is not watched
    reader.watch(handler)
    other.send(b"x")
    handler.wait_for("read b'x'")
    handler.interest = 0
    assert reader.set_events(handler, 0)
    other.send(b"y")
    done = threading.Event()
    reader.call_soon(done.set)
    assert done.wait(WAIT)
    assert "read b'y'" not in handler.notes
    assert reader.set_events(handler, READ)
    handler.wait_for("read b'y'")
    stop(reader, handler)
    assert not reader.set_events(handler, READ)


def test_a_reader_without_epoll(pair: Any) -> None:
    reader = Reader(make_selector=selectors.SelectSelector)
    handler, other = pair()
    reader.watch(handler)
    other.send(b"x")
    handler.wait_for("read b'x'")
    assert not reader.set_events(handler, 0)
    stop(reader, handler)


class FailingSelector(EpollPoller):
    """A selector that fails once."""

    failed = False

    def select(self, timeout: float | None = None) -> Any:
        if not FailingSelector.failed:
            FailingSelector.failed = True
            raise OSError(9, "scripted")
        return super().select(timeout)


def test_a_selector_that_fails_is_made_anew(pair: Any, caplog: Any) -> None:
    reader = Reader(make_selector=FailingSelector)
    handler, other = pair()
    reader.watch(handler)
    other.send(b"x")
    handler.wait_for("read b'x'")
    assert "a step of portal-websocket-reader failed" in caplog.text
    stop(reader, handler)


def test_a_child_process_has_a_reader_of_its_own(pair: Any) -> None:
    reader = Reader()
    handler, other = pair()
    reader.watch(handler)
    other.send(b"x")
    handler.wait_for("read b'x'")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            mine, theirs = socket.socketpair()
            child = Recorder(mine)
            reader.watch(child)
            theirs.send(b"z")
            child.wait_for("read b'z'")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    other.send(b"y")
    handler.wait_for("read b'y'")
    stop(reader, handler)


def test_the_shared_reader_is_one() -> None:
    assert shared_reader() is shared_reader()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
def test_a_timer_that_raises_runs_again(reader: Reader, error: BaseException) -> None:
    """Otherwise nobody would connect again, or notice that a server is silent."""
    ran = threading.Event()
    failures = [error, error]

    def work() -> None:
        if failures:
            raise failures.pop()
        ran.set()

    timer = reader.call_at(reader._clock(), work)
    assert ran.wait(WAIT)
    stop(reader)
    assert timer.cancelled


def test_a_timer_that_always_raises_ends(reader: Reader) -> None:
    runs = 0
    last = threading.Event()

    def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 5:
            last.set()
        raise RuntimeError("injected")

    timer = reader.call_at(reader._clock(), work)
    assert last.wait(WAIT)
    stop(reader)  # it waits until there is no timer
    assert runs == 5
    assert timer.cancelled
