"""Loops in the background survive what their steps raise, and what ends their threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from portal._internal import background
from portal._internal.background import (
    BackgroundLoop,
    LoopGuard,
    failing_loops,
    logging_errors,
    restart_lost_loops,
    run_apart,
    start_thread,
    supervise,
)
from portal.errors import OverloadedError
from tests.support.clocks import Clock

WAIT = 10.0


class Steps:
    """The steps of a loop: each call of `run` does the next one. With nothing left to do, the loop waits."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.left = list(steps)
        self.all_done = threading.Event()
        self.over = threading.Event()
        self.threads: set[threading.Thread] = set()

    def run(self) -> None:
        self.threads.add(threading.current_thread())
        if self.left:
            self.left.pop(0)()
            return
        self.all_done.set()
        self.over.wait(WAIT)


def raising(error: BaseException) -> Callable[..., None]:
    def step(*args: object) -> None:
        raise error

    return step


@pytest.fixture
def loops() -> Iterator[Callable[..., BackgroundLoop]]:
    made: list[tuple[BackgroundLoop, Steps]] = []

    def make(steps: Steps, **options: object) -> BackgroundLoop:
        loop = BackgroundLoop("test-loop", steps.run, **options)  # type: ignore[arg-type]
        made.append((loop, steps))
        return loop

    yield make
    for loop, steps in made:
        steps.over.set()
        loop.stop(WAIT)
        assert not any(thread.is_alive() for thread in steps.threads)


def no_thread(patch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", fail)


@pytest.mark.parametrize(
    "error",
    [ValueError("wrong"), MemoryError(), RecursionError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_ends_only_its_step(
    loops: Callable[..., BackgroundLoop], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    done: list[int] = []
    steps = Steps(lambda: done.append(1), raising(error), lambda: done.append(2))
    loop = loops(steps)
    loop.start()
    assert steps.all_done.wait(WAIT)
    assert done == [1, 2]
    assert loop.running
    assert loop.guard.failures == 1
    assert len(steps.threads) == 1
    assert "a step of test-loop failed: consecutive_failures=1" in caplog.text


def test_a_log_handler_that_raises_does_not_end_the_loop(loops: Callable[..., BackgroundLoop]) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise MemoryError

    handler, steps = Failing(), Steps(raising(ValueError("wrong")), raising(ValueError("again")))
    logging.getLogger("portal.threads").addHandler(handler)
    try:
        loop = loops(steps)
        loop.start()
        assert steps.all_done.wait(WAIT)
    finally:
        logging.getLogger("portal.threads").removeHandler(handler)
    assert loop.running
    assert loop.guard.failures == 2


def test_a_pause_that_raises_does_not_end_the_loop(loops: Callable[..., BackgroundLoop]) -> None:
    def fail(seconds: float) -> None:
        raise MemoryError

    steps = Steps(raising(ValueError("wrong")))
    loop = loops(steps, pause=fail)
    loop.start()
    assert steps.all_done.wait(WAIT)
    assert loop.running


def test_a_thread_that_ends_unasked_is_replaced(
    loops: Callable[..., BackgroundLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps()
    loop = loops(steps)
    loop.start()
    assert steps.all_done.wait(WAIT)
    (first,) = steps.threads
    steps.all_done.clear()
    loop._replace(loop._turn)  # as the thread does when an exception hits it between two steps
    assert steps.all_done.wait(WAIT)
    assert loop.running
    assert loop._thread is not first
    steps.over.set()
    first.join(WAIT)
    assert not first.is_alive()  # only the new one goes on


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_unseen_is_replaced_later(
    loops: Callable[..., BackgroundLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception before the first and after the last statement of the thread."""
    steps = Steps()
    loop = loops(steps)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_run", raising(MemoryError()))
        loop.start()
        thread = loop._thread
        assert thread is not None
        thread.join(WAIT)
        assert loop.running  # nobody has seen it
    restart_lost_loops()
    assert steps.all_done.wait(WAIT)


def test_a_lost_thread_starts_again_later(
    loops: Callable[..., BackgroundLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(100.0)
    steps = Steps()
    loop = loops(steps, clock=clock)
    with monkeypatch.context() as patch:
        no_thread(patch)
        with pytest.raises(OverloadedError, match="no thread can be started for test-loop: can't start new thread"):
            loop.start()
        assert not loop.running
        assert not loop.failing
        assert "test-loop" not in failing_loops()
        clock.now += 0.5
        restart_lost_loops()
        assert loop.failing
        assert "test-loop" in failing_loops()
    restart_lost_loops()
    assert steps.all_done.wait(WAIT)
    assert loop.running
    assert not loop.failing
    assert "test-loop" not in failing_loops()


def test_an_exception_while_the_thread_starts_leaves_no_second_thread(
    loops: Callable[..., BackgroundLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal's exception in `Thread.start`: the thread runs although `start` has raised."""
    steps, start = Steps(), threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    loop = loops(steps)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.start()
    assert not loop.running
    steps.over.set()
    loop.start()
    assert steps.all_done.wait(WAIT)
    loop.stop(WAIT)
    for thread in steps.threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_a_loop_stops_and_starts_again(loops: Callable[..., BackgroundLoop]) -> None:
    steps = Steps()
    loop = loops(steps)
    loop.start()
    loop.start()
    assert steps.all_done.wait(WAIT)
    steps.over.set()
    loop.stop(WAIT)
    assert not loop.running
    assert not loop.failing
    steps.all_done.clear()
    steps.over.clear()
    loop.start()
    assert steps.all_done.wait(WAIT)
    assert len(steps.threads) == 2


def test_a_step_may_stop_its_own_loop(loops: Callable[..., BackgroundLoop]) -> None:
    steps = Steps()
    loop = loops(steps)
    steps.left.append(lambda: loop.stop(WAIT))
    loop.start()
    (thread,) = steps.threads or {loop._thread}
    if thread is not None:
        thread.join(WAIT)
    assert not loop.running


def test_a_guard_pauses_longer_and_logs_less_with_each_failure_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    clock, pauses = Clock(100.0), []
    guard = LoopGuard("steps", pause=pauses.append, clock=clock)
    for _ in range(20):
        guard.note(ValueError("wrong"))
    assert pauses[:3] == [0.001, 0.002, 0.004]
    assert pauses[-1] == 0.25
    assert len(caplog.records) == 5  # 1, 2, 4, 8, 16
    assert not guard.failing
    clock.now += 0.5
    assert guard.failing
    guard.clear()
    assert not guard.failing
    guard.note(ValueError("wrong"))
    clock.now += 60
    assert not guard.failing  # one failure alone; the next step may wait for long
    assert guard.failures == 21


def test_what_a_thread_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    thread = start_thread("test-thread", logging_errors, "test-thread", raising(SystemExit(1)))
    thread.join(WAIT)
    assert thread.daemon
    assert "the thread test-thread ended by an exception" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), OSError(11, "again")])
def test_start_thread_says_that_there_is_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(OverloadedError, match="no thread can be started for test-thread"):
        start_thread("test-thread", lambda: None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_has_no_thread_and_may_start_one(loops: Callable[..., BackgroundLoop]) -> None:
    steps = Steps()
    loop = loops(steps)
    loop.start()
    assert steps.all_done.wait(WAIT)
    pid = os.fork()
    if pid == 0:
        ok = not loop.running and not failing_loops()
        restart_lost_loops()
        ok = ok and not loop.running
        steps.all_done = threading.Event()
        loop.start()
        os._exit(0 if ok and steps.all_done.wait(WAIT) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert loop.running


def test_a_dropped_loop_is_forgotten() -> None:
    loop = BackgroundLoop("dropped-loop", lambda: None)
    supervise(loop)
    assert loop in background._living()
    del loop
    assert "dropped-loop" not in {one.name for one in background._living()}


def test_what_runs_apart_runs_here_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran, done = list[threading.Thread](), threading.Event()

    def run() -> None:
        ran.append(threading.current_thread())
        done.set()
        raise ValueError("wrong")

    run_apart("apart", run)
    assert done.wait(WAIT)
    with monkeypatch.context() as patch:
        no_thread(patch)
        run_apart("apart", run)
    assert ran[0].name == "apart"
    assert ran[1] is threading.current_thread()
    ran[0].join(WAIT)
    assert caplog.text.count("the thread apart ended by an exception") == 2
