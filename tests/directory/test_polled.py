"""PolledDirectory: the last known list stays in use, and watchers hear of each change in order."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from portal.directory import Directory, Instance, PolledDirectory, Watch
from portal.directory.source import Lookup
from portal.errors import OverloadedError, TransportError
from tests.support.clocks import Clock
from tests.support.raising import raising_once
from tests.support.waiting import eventually

A, B = Instance("http://a/x"), Instance("http://b/x")
WAIT = 30.0


class Given:
    """A source whose instances a test sets."""

    trusted = True
    interval = 0.01
    problem: str | None = None

    def __init__(self, *instances: Instance) -> None:
        self.instances = instances
        self.failure: Exception | None = None
        self.closed = False
        self._seen: tuple[Instance, ...] | None = None

    def poll(self) -> Lookup | None:
        if self.failure is not None:
            raise self.failure
        if self.instances == self._seen:
            return None
        found = self._seen = self.instances
        return lambda name: found if name == "x" else ()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def make() -> Iterator[Callable[[Given], PolledDirectory]]:
    made: list[PolledDirectory] = []

    def directory(source: Given) -> PolledDirectory:
        made.append(PolledDirectory(source, clock=Clock()))
        return made[-1]

    yield directory
    for one in made:
        one.close()


def test_it_is_a_directory(make: Callable[[Given], PolledDirectory]) -> None:
    directory = make(Given(A))
    assert isinstance(directory, Directory)
    assert isinstance(directory.watch("x", print), Watch)
    assert directory.instances("x") == (A,)
    assert directory.instances("y") == ()
    assert directory.problem is None


def test_watchers_hear_of_changes(make: Callable[[Given], PolledDirectory]) -> None:
    source = Given(A)
    directory = make(source)
    heard: queue.Queue[tuple[Instance, ...]] = queue.Queue()
    watch = directory.watch("x", heard.put)
    assert heard.get(timeout=WAIT) == (A,)
    source.instances = (A, B)
    assert heard.get(timeout=WAIT) == (A, B)
    other: queue.Queue[tuple[Instance, ...]] = queue.Queue()
    directory.watch("x", other.put)
    assert other.get(timeout=WAIT) == (A, B)
    watch.close()
    watch.close()
    source.instances = ()
    assert other.get(timeout=WAIT) == ()
    assert heard.empty()


def test_a_watcher_that_fails_does_not_harm_the_others(
    make: Callable[[Given], PolledDirectory], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(found: tuple[Instance, ...]) -> None:
        raise RuntimeError("no")

    source = Given(A)
    directory = make(source)
    heard: queue.Queue[tuple[Instance, ...]] = queue.Queue()
    directory.watch("x", fail)
    directory.watch("x", heard.put)
    assert heard.get(timeout=WAIT) == (A,)
    assert "a watcher of the directory failed" in caplog.text


def test_a_watcher_that_fails_is_called_again(
    make: Callable[[Given], PolledDirectory], caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise a consumer would go on calling instances that are gone."""
    failures = [MemoryError(), RuntimeError("no")]
    heard: queue.Queue[tuple[Instance, ...]] = queue.Queue()

    def sometimes(found: tuple[Instance, ...]) -> None:
        if failures:
            raise failures.pop()
        heard.put(found)

    directory = make(Given(A))
    directory.watch("x", sometimes)
    assert heard.get(timeout=WAIT) == (A,)
    assert caplog.text.count("a watcher of the directory failed") == 1


def test_a_poll_that_does_not_end_is_a_problem() -> None:
    class Hanging(Given):
        def poll(self) -> Lookup | None:
            begun.set()
            assert over.wait(WAIT)
            return super().poll()

    begun, over, clock = threading.Event(), threading.Event(), Clock()
    directory = PolledDirectory(Hanging(A), clock=clock)
    poll = threading.Thread(target=directory.poll)
    poll.start()
    try:
        assert begun.wait(WAIT)
        assert directory.problem is None
        clock.now += 6.0
        assert directory.problem == "the directory has not responded for 6 seconds"
    finally:
        over.set()
        poll.join(WAIT)
    assert directory.problem is None
    directory.close()


def test_an_interrupted_poll_tells_the_other_watchers_later() -> None:
    source = Given(A)
    directory = PolledDirectory(source)
    heard: list[tuple[Instance, ...]] = []
    first = True

    def interrupt(found: tuple[Instance, ...]) -> None:
        nonlocal first
        if found == (B,) and first:
            first = False
            raise SystemExit(1)

    directory.watch("x", interrupt)
    directory.watch("x", heard.append)
    directory._loop.stop()
    source.instances = (B,)
    with pytest.raises(SystemExit):
        directory.poll()
    directory.poll()
    assert heard == [(A,), (B,)]
    directory.close()


def test_a_watch_that_cannot_be_made_is_forgotten(make: Callable[[Given], PolledDirectory]) -> None:
    source = Given(A)
    directory = make(source)
    heard: list[tuple[Instance, ...]] = []

    def interrupt(found: tuple[Instance, ...]) -> None:
        heard.append(found)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        directory.watch("x", interrupt)
    source.instances = (B,)
    directory.poll()
    assert set(heard) == {(A,)}  # the thread of the directory may have called it, too


def test_close_closes_the_source_although_the_thread_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Given(A)
    directory = PolledDirectory(source)
    raising_once(monkeypatch, directory._loop, "stop", MemoryError())
    with pytest.raises(MemoryError):
        directory.close()
    assert source.closed
    directory.close()


def test_the_last_list_stays_in_use(make: Callable[[Given], PolledDirectory], caplog: pytest.LogCaptureFixture) -> None:
    source = Given(A)
    directory = make(source)
    assert directory.instances("x") == (A,)
    source.failure = OSError("connection refused")
    directory.poll()
    directory.poll()
    assert directory.instances("x") == (A,)
    assert directory.problem == "the directory cannot be read: connection refused"
    failures = [one for one in caplog.records if "the last known list stays in use" in one.getMessage()]
    assert len(failures) == 1
    source.failure = None
    directory.poll()
    assert directory.problem is None
    assert "the directory is read again" in caplog.text


def test_without_any_list_a_lookup_fails(
    make: Callable[[Given], PolledDirectory], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    source = Given(A)
    source.failure = OSError("refused")
    directory = make(source)
    with pytest.raises(TransportError, match="the directory cannot be read: refused") as caught:
        directory.instances("x")
    assert caught.value.delivery == "not_sent"
    source.failure = None
    assert directory.instances("x") == (A,)


def test_the_problem_of_the_source_is_said(make: Callable[[Given], PolledDirectory]) -> None:
    source = Given(A)
    source.problem = "2 records rejected"
    assert make(source).problem == "2 records rejected"
    assert make(source).trusted


def test_close_closes_the_source(make: Callable[[Given], PolledDirectory]) -> None:
    source = Given(A)
    directory = make(source)
    directory.instances("x")
    directory.close()
    directory.close()
    assert source.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_goes_on_watching(make: Callable[[Given], PolledDirectory]) -> None:
    source = Given(A)
    directory = make(source)
    heard: queue.SimpleQueue[tuple[Instance, ...]] = queue.SimpleQueue()
    directory.watch("x", heard.put)
    assert heard.get(timeout=WAIT) == (A,)
    child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent only
        try:
            source.instances = (B,)
            os._exit(0 if heard.get(timeout=WAIT) == (B,) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_directory_keeps_its_list_and_starts_no_thread() -> None:
    source = Given(A)
    directory = PolledDirectory(source, clock=Clock())
    assert directory.instances("x") == (A,)
    directory.close()
    assert directory.instances("x") == (A,)
    directory.watch("x", print).close()
    assert not directory._loop.running
    directory.poll()
    assert directory.problem == "the directory is closed"
    closed = PolledDirectory(Given(A), clock=Clock())
    closed.close()
    with pytest.raises(TransportError, match="the directory is closed"):
        closed.instances("x")


def test_a_list_is_used_although_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise OverloadedError("no thread")

    clock = Clock()
    directory = PolledDirectory(Given(A), clock=clock)
    monkeypatch.setattr("portal._internal.background.start_thread", no_thread)
    assert directory.instances("x") == (A,)
    assert directory.instances("x") == (A,)
    assert caplog.text.count("the directory is not read: no thread") == 1
    clock.now += 5.0
    assert directory.problem is not None
    assert "no thread can be started" in directory.problem
    monkeypatch.undo()
    directory.instances("x")
    assert directory.problem is None
    directory.close()


def test_threads_that_wait_for_the_first_list_share_one_poll() -> None:
    """A store that does not respond takes its timeout once, and not once for each thread."""
    waiting: list[threading.Thread] = []
    errors: list[TransportError] = []

    def look() -> None:
        try:
            directory.instances("x")
        except TransportError as error:
            errors.append(error)

    def waits(thread: threading.Thread) -> bool:
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None and frame.f_code.co_name != "_first_lookup":
            frame = frame.f_back
        return frame is not None and "polls" in frame.f_locals

    class Slow(Given):
        polls = 0
        interval = 3600.0

        def poll(self) -> Lookup | None:
            self.polls += 1
            waiting.extend(threading.Thread(target=look) for _ in range(4))
            for thread in waiting:
                thread.start()
                eventually(lambda thread=thread: waits(thread))  # type: ignore[misc]
            raise OSError("no response")

    source = Slow()
    directory = PolledDirectory(source, clock=Clock())
    look()
    for thread in waiting:
        thread.join(WAIT)
    directory.close()
    assert source.polls == 1
    assert len(errors) == 5
