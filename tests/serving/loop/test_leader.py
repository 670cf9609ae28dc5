"""LeaderFollower: another thread continues a loop while a step is stuck."""

from __future__ import annotations

import queue
import threading
from itertools import count
from time import monotonic
from typing import Any

import pytest

from portal._internal.background import LoopGuard
from portal.errors import OverloadedError
from portal.serving.loop.leader import LeaderFollower, Leadership
from tests.support.races import fast_switches
from tests.support.waiting import eventually

WAIT = 10.0


class Loop:
    """A loop that takes its steps from a queue."""

    def __init__(self, limit: int = 4) -> None:
        self.steps: queue.Queue[Any] = queue.Queue()
        self.overtaken: queue.Queue[int] = queue.Queue()
        self.finished: queue.Queue[tuple[int, bool]] = queue.Queue()
        self.leader = LeaderFollower(name=f"test-loop-{id(self)}", limit=limit, patience=0.002)
        self.leader.start(self.lead, self.overtaken.put)

    def lead(self, turn: Leadership) -> None:
        while True:
            number, step = self.steps.get(timeout=60)
            if number == 0:
                return
            turn.begin(number)
            step()
            leads = turn.end()
            self.finished.put((number, leads))
            if not leads:
                return

    def until_willing(self) -> None:
        for number in range(100, 10_000):
            if self.leader.can_serve_inline:
                return
            self.steps.put((number, lambda: None))
            self.finished.get(timeout=WAIT)
        pytest.fail("the leader never became can_serve_inline")

    def end(self) -> None:
        self.steps.put((0, None))
        self.leader.join()


def test_steps_that_end_in_time_stay_with_one_thread() -> None:
    loop = Loop()
    for number in range(1, 50):
        loop.steps.put((number, lambda: None))
    assert [loop.finished.get(timeout=WAIT) for _ in range(1, 50)] == [(number, True) for number in range(1, 50)]
    assert loop.leader.stuck == 0
    loop.end()


def test_another_thread_continues_the_loop_while_a_step_is_stuck() -> None:
    loop, gate = Loop(), threading.Event()
    loop.until_willing()
    loop.steps.put((1, lambda: gate.wait(WAIT)))
    assert loop.overtaken.get(timeout=WAIT) == 1
    assert loop.leader.stuck == 1
    loop.steps.put((2, lambda: None))
    assert loop.finished.get(timeout=WAIT) == (2, True)
    gate.set()
    assert loop.finished.get(timeout=WAIT) == (1, False)
    loop.end()
    assert loop.leader.stuck == 0


def test_it_does_not_serve_inline_when_the_limit_of_stuck_threads_is_reached() -> None:
    loop, gate = Loop(limit=2), threading.Event()
    loop.until_willing()
    for number in (1, 2):
        loop.steps.put((number, lambda: gate.wait(WAIT)))
        assert loop.overtaken.get(timeout=WAIT) == number
    assert loop.leader.can_serve_inline is False
    gate.set()
    assert {loop.finished.get(timeout=WAIT) for _ in range(2)} == {(1, False), (2, False)}
    loop.end()


def test_its_threads_end_with_the_loop() -> None:
    loop = Loop()
    loop.until_willing()
    loop.end()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(f"test-loop-{id(loop)}")]


def test_a_step_that_starts_as_the_watcher_falls_asleep_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, gate = Loop(), threading.Event()
    loop.until_willing()
    leader, watching = loop.leader, loop.leader._watching._thread
    reached, begun = threading.Event(), threading.Event()
    looks: list[float] = []

    def clock() -> float:
        now = monotonic()
        if threading.current_thread() is watching and not reached.is_set():
            looks.append(now)
            if len(looks) == 2:
                # It has noted all earlier steps and compared again; now it sees that nothing was done for long.
                reached.set()
                begun.wait(WAIT)
                return now + 3600.0
        return now

    def step() -> None:
        assert leader.can_serve_inline
        begun.set()
        gate.wait(WAIT)

    monkeypatch.setattr("portal.serving.loop.leader.monotonic", clock)
    assert reached.wait(WAIT)
    loop.steps.put((1, step))
    assert loop.overtaken.get(timeout=WAIT) == 1
    gate.set()
    loop.end()


def test_it_continues_after_the_system_could_not_start_a_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, gate = Loop(), threading.Event()
    loop.until_willing()
    start, rejections = threading.Thread.start, [RuntimeError("can't start new thread")] * 3

    def failing(thread: threading.Thread) -> None:
        if rejections and thread.name.startswith(f"test-loop-{id(loop)}"):
            raise rejections.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    loop.steps.put((1, lambda: gate.wait(WAIT)))
    assert loop.overtaken.get(timeout=WAIT) == 1
    loop.steps.put((2, lambda: None))
    assert loop.finished.get(timeout=WAIT) == (2, True)
    assert not rejections
    assert [record.getMessage() for record in caplog.records].count(
        "cannot start the thread that watches the connections: can't start new thread"
    ) == 1
    gate.set()
    assert loop.finished.get(timeout=WAIT) == (1, False)
    loop.end()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)], ids=repr)
def test_a_loop_that_raises_goes_on(error: BaseException) -> None:
    loop = Loop()

    def fail() -> None:
        raise error

    loop.steps.put((1, fail))
    loop.steps.put((2, lambda: None))
    assert loop.finished.get(timeout=WAIT) == (2, True)
    assert loop.leader.failures == 1
    assert not loop.leader.failing
    loop.end()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_unasked_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two exceptions at once: the second one hits the handler of the first."""
    loop, faults, leaders = Loop(), [MemoryError()], list[threading.Thread]()
    first = loop.leader._leading

    def note(self: LoopGuard, error: BaseException) -> None:
        if faults:
            raise faults.pop()

    monkeypatch.setattr(LoopGuard, "note", note)
    loop.steps.put((1, None))  # cannot be called
    loop.steps.put((2, lambda: leaders.append(threading.current_thread())))
    assert loop.finished.get(timeout=WAIT) == (2, True)
    assert not faults
    assert leaders != [first]
    assert loop.leader.stuck == 0
    loop.end()
    assert first is not None
    first.join(WAIT)  # its exception belongs to this test


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_leader_that_ends_unseen_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception before the first statement of the leading thread."""
    run, faults, ran = LeaderFollower._run, [MemoryError()], threading.Event()

    def broken(self: LeaderFollower, turn: Leadership) -> None:
        if faults:
            raise faults.pop()
        run(self, turn)

    monkeypatch.setattr(LeaderFollower, "_run", broken)
    loop = Loop()
    first = loop.leader._leading
    loop.steps.put((1, ran.set))
    assert ran.wait(WAIT)
    loop.end()
    assert first is not None
    first.join(WAIT)  # its exception belongs to this test


#: Each step of the watching thread.
WATCHING = ["_check", "_replace_leader", "_start_leader"]


@pytest.mark.parametrize("name", WATCHING)
@pytest.mark.parametrize("error", [MemoryError(), OSError("wrong"), SystemExit(1)], ids=repr)
def test_the_loop_is_passed_on_whatever_step_of_the_watching_thread_raises(
    monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    loop, gate, faults = Loop(), threading.Event(), [error]
    loop.until_willing()
    original = getattr(loop.leader, name)

    def failing(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return original(*args)

    monkeypatch.setattr(loop.leader, name, failing)
    loop.steps.put((1, lambda: gate.wait(WAIT)))
    assert loop.overtaken.get(timeout=WAIT) == 1
    loop.steps.put((2, lambda: None))
    assert loop.finished.get(timeout=WAIT) == (2, True)
    assert not faults
    gate.set()
    assert loop.finished.get(timeout=WAIT) == (1, False)
    loop.until_willing()
    assert loop.leader.stuck == 0
    loop.end()


def test_the_loop_is_passed_on_if_the_hand_over_raises() -> None:
    steps: queue.Queue[Any] = queue.Queue()
    done, gate, leader = threading.Event(), threading.Event(), LeaderFollower(name="test-loop", limit=2)

    def lead(turn: Leadership) -> None:
        while (step := steps.get(timeout=60)) is not None:
            turn.begin(1)
            step()
            if not turn.end():
                return

    def fail(token: int) -> None:
        raise MemoryError

    leader.start(lead, fail)
    while not leader.can_serve_inline:
        threading.Event().wait(0.001)
    steps.put(lambda: gate.wait(WAIT))
    steps.put(done.set)
    assert done.wait(WAIT)
    gate.set()
    steps.put(None)
    leader.join()


def test_a_loop_without_a_thread_is_failing_and_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, gate = Loop(), threading.Event()
    loop.until_willing()

    tries: list[threading.Thread] = []
    looks: set[bool] = set()

    def fail(thread: threading.Thread) -> None:
        looks.add(loop.leader.failing)
        tries.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("portal.serving.loop.leader._TOLERANCE", 0.0)
    monkeypatch.setattr(threading.Thread, "start", fail)
    loop.steps.put((1, lambda: gate.wait(WAIT)))
    assert loop.overtaken.get(timeout=WAIT) == 1
    eventually(lambda: len(tries) > 2)
    assert looks == {True}  # in each of the attempts to start a thread
    assert loop.leader.failing
    loop.steps.put((0, None))
    loop.leader.join()  # in this thread, and without waiting for the step that is stuck
    assert loop.finished.empty()
    gate.set()
    assert loop.finished.get(timeout=WAIT) == (1, False)
    assert not loop.leader.failing


def test_a_start_that_fails_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    name = "test-loop-that-fails"

    def failing(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    leader = LeaderFollower(name=name, limit=2)
    monkeypatch.setattr(threading.Thread, "start", failing)
    with pytest.raises(OverloadedError):
        leader.start(lambda turn: None, lambda token: None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(name)]
    leader.join()


def test_no_step_that_relies_on_the_watching_thread_goes_unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watching thread goes to sleep again and again, just as steps begin."""
    monkeypatch.setattr("portal.serving.loop.leader._QUIET", 0.0)
    overtaken: dict[int, threading.Event] = {}
    ended = threading.Event()
    relied: list[int] = []
    unwatched: list[int] = []
    tokens = count(1)
    leader = LeaderFollower(name="test-quiet", limit=1_000, patience=0.0005)

    def lead(turn: Leadership) -> None:
        while len(relied) < 100 and not unwatched:
            token = next(tokens)
            overtaken[token] = threading.Event()
            turn.begin(token)
            if leader.can_serve_inline:
                relied.append(token)
                if not overtaken[token].wait(WAIT):
                    unwatched.append(token)
            if not turn.end():
                return
        ended.set()

    with fast_switches():
        leader.start(lead, lambda token: overtaken[token].set())
        assert ended.wait(3 * WAIT)
        leader.join()
    assert unwatched == []
    assert len(set(relied)) == len(relied) >= 100
    for thread in [one for one in threading.enumerate() if one.name == "test-quiet"]:
        thread.join(WAIT)
    assert leader.stuck == 0
