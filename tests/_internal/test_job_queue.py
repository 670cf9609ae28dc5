"""JobQueue: which job may run, as tables, and against a model that knows every job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from portal._internal.job_queue import JobQueue, Key, KeyLimit, Keys
from portal.errors import OverloadedError

LIMITS = {"function": KeyLimit(2), "client": KeyLimit(3, 2)}


def keys(text: str) -> Keys:
    """Return the keys of a text such as "f1 c2"."""
    kinds = {"f": "function", "c": "client", "x": "unlimited"}
    return tuple((kinds[word[0]], word[1:]) for word in text.split())


@pytest.mark.parametrize(
    ("jobs", "outcomes"),
    [
        # four places, three that wait
        (["", "", "", "", "", "", "", ""], "rrrrwww-"),
        (["f1", "f1", "f1", "f2", "f2", "f2"], "rrwrrw"),  # each function has two places
        (["f1", "f1", "f1", "f1", "f1", "f1"], "rrwww-"),
        (["c1", "c1", "c1", "c1", "c1", "c1", "c2"], "rrrww-r"),  # a client has two places in the queue
        (["f1 c1", "f1 c2", "f1 c1", "f2 c1", "f2 c2"], "rrwrr"),  # a job that waits is overtaken
        (["x1", "x1", "x1", "x1", "x1"], "rrrrw"),  # a kind without limits
        (["c1", "c1", "c1", "c2", "c2", "c2", "c2"], "rrrrww-"),  # every place is taken, and a share of the queue
    ],
)
def test_what_runs_waits_and_is_rejected(jobs: list[str], outcomes: str) -> None:
    queue: JobQueue[int] = JobQueue(4, 3, LIMITS)
    found = ""
    for number, text in enumerate(jobs):
        try:
            found += "r" if queue.add(number, keys(text)) else "w"
        except OverloadedError:
            found += "-"
    assert found == outcomes


@pytest.mark.parametrize(
    ("running", "waiting", "ends", "starts"),
    [
        (["f1", "f1"], ["f1", "f1"], "f1", [0]),
        (["f1 c1", "f1 c2"], ["f1 c3", "f1 c4"], "f1 c2", [0]),
        (["f1 c1", "f1 c1", "f2 c1"], ["f1 c2", "f2 c1"], "f1 c1", [0, 1]),  # each key lets one job run
        (["f1 c1", "f1 c1", "f2 c1"], ["f1 c1", "f1 c1"], "f2 c1", []),
        (["f1", "f1", "f2", "f2"], ["f1", "f3"], "f2", [1]),  # the first one still waits for its key
        (["f1", "f2", "f2", "c1"], ["f1", "f3"], "f2", [1]),  # no other job of its function runs
        (["f1", "f2", "f2", "c1"], ["f1 c2", "f3 c1", "f4 c2"], "f2", [2]),  # nor of its client
        (["f1", "f2", "f2", "c1"], ["f1", "f2"], "f2", [0]),  # of equal ones the oldest
    ],
)
def test_the_oldest_job_whose_keys_have_the_fewest_running_jobs_runs_next(
    running: list[str], waiting: list[str], ends: str, starts: list[int]
) -> None:
    queue: JobQueue[int] = JobQueue(4, 3, LIMITS)
    assert all(queue.add(-1, keys(text)) for text in running)
    assert not any(queue.add(number, keys(text)) for number, text in enumerate(waiting))
    assert queue.finish(keys(ends)) == starts


def test_a_running_job_may_hold_a_further_key() -> None:
    queue: JobQueue[str] = JobQueue(8, 8, LIMITS)
    assert queue.add("batch", keys("c1"))
    assert queue.add("first", keys("f1"))
    queue.hold(("function", "1"))
    with pytest.raises(OverloadedError, match="2 calls of this function are running"):
        queue.hold(("function", "1"))
    assert not queue.add("second", keys("f1"))
    assert queue.limited == 2
    assert queue.release(keys("f1")) == ["second"]
    assert queue.counts(("function", "1")) == (2, 0)


def test_waiting_jobs_can_be_taken_back() -> None:
    queue: JobQueue[int] = JobQueue(1, 8, LIMITS)
    for number in range(3):
        queue.add(number, keys("c1") if number else ())
    with pytest.raises(OverloadedError):
        queue.add(9, keys("c1"))
    assert queue.take_back(lambda number: number == 2) == [2]
    assert not queue.add(9, keys("c1"))
    assert queue.finish() == [1]


def test_nothing_waits_for_a_key_that_is_full_of_abandoned_jobs() -> None:
    queue: JobQueue[int] = JobQueue(8, 8, LIMITS)
    assert queue.add(1, keys("f1 c1"))
    assert queue.add(2, keys("f1 c2"))
    assert not queue.add(3, keys("f1 c3"))
    queue.abandon(keys("f1 c1"))
    assert not queue.is_stalled(keys("f1"))
    queue.abandon(keys("f1 c2"))
    assert queue.is_stalled(keys("f1 c3"))
    with pytest.raises(OverloadedError, match="2 calls of this function are running"):
        queue.add(4, keys("f1 c3"))
    assert queue.add(5, keys("f2 c1"))
    queue.recover(keys("f1 c1"))
    assert not queue.is_stalled(keys("f1"))
    assert queue.finish(keys("f1 c1")) == [3]


def test_an_abandoned_job_gives_its_place_back() -> None:
    queue: JobQueue[int] = JobQueue(2, 8, spare=1)
    assert [queue.add(number) for number in range(5)] == [True, True, False, False, False]
    assert queue.abandon(()) == [2]
    assert queue.abandon(()) == []  # there is one spare place
    assert (queue.abandoned, queue.running, len(queue)) == (2, 3, 2)
    queue.recover(())
    assert queue.finish() == [3]
    queue.recover(())
    assert queue.finish() == []  # now a job that is not abandoned holds the place
    assert queue.finish() == [4]


def test_nothing_waits_if_every_place_and_spare_place_is_abandoned() -> None:
    queue: JobQueue[int] = JobQueue(1, 8, spare=1)
    assert queue.add(1)
    queue.abandon(())
    assert queue.add(2)
    assert not queue.is_stalled(())
    queue.abandon(())
    with pytest.raises(OverloadedError, match="workers are busy"):
        queue.add(3)


def test_counts_alone_have_no_places_and_no_queue() -> None:
    queue: JobQueue[int] = JobQueue(None, 0, LIMITS)
    assert queue.add(1, keys("f1"))
    assert queue.add(2, keys("f1"))
    with pytest.raises(OverloadedError, match="2 calls of this function are running"):
        queue.add(3, keys("f1"))
    assert all(queue.add(number) for number in range(100))


class QueueMachine(RuleBasedStateMachine):
    """The numbers of a JobQueue against lists of all jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: JobQueue[int] = JobQueue(4, 4, LIMITS)
        self.running: dict[int, Keys] = {}
        self.waiting: dict[int, Keys] = {}
        self.held: list[Key] = []
        self.number = 0

    def count(self, jobs: dict[int, Keys], key: Key) -> int:
        held = self.held.count(key) if jobs is self.running else 0
        return held + sum(key in wanted for wanted in jobs.values())

    def is_full(self, key: Key) -> bool:
        limit = LIMITS[key[0]].running
        return limit is not None and self.count(self.running, key) >= limit

    def may_run(self, wanted: Keys) -> bool:
        return len(self.running) < 4 and not any(map(self.is_full, wanted))

    def load(self, wanted: Keys) -> int:
        return max((self.count(self.running, key) for key in wanted), default=0)

    def start(self, started: list[int]) -> None:
        for number in started:
            able = [one for one, wanted in self.waiting.items() if self.may_run(wanted)]
            assert number == min(able, key=lambda one: (self.load(self.waiting[one]), one))
            wanted = self.waiting.pop(number)
            self.running[number] = wanted

    @rule(function=st.sampled_from("1234"), client=st.sampled_from("123"), kinds=st.sampled_from(["", "f", "c", "fc"]))
    def add(self, function: str, client: str, kinds: str) -> None:
        found = {"f": ("function", function), "c": ("client", client)}
        wanted = tuple(found[kind] for kind in kinds)
        number, self.number = self.number, self.number + 1
        runs = self.may_run(wanted)
        share = all(self.count(self.waiting, key) < (LIMITS[key[0]].waiting or 99) for key in wanted)
        try:
            assert self.queue.add(number, wanted) is runs
        except OverloadedError:
            assert not runs
            assert len(self.waiting) == 4 or not share
            return
        assert runs or (len(self.waiting) < 4 and share)
        (self.running if runs else self.waiting)[number] = wanted

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        self.start(self.queue.finish(self.running.pop(number)))

    @rule(kind=st.sampled_from(["function", "client"]), value=st.sampled_from("123"))
    def hold(self, kind: str, value: str) -> None:
        key = (kind, value)
        if self.is_full(key):
            with pytest.raises(OverloadedError):
                self.queue.hold(key)
        else:
            self.queue.hold(key)
            self.held.append(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        key = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.start(self.queue.release((key,)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_back(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.queue.take_back(lambda one: one == number) == [number]
        del self.waiting[number]

    @invariant()
    def no_job_waits_that_could_run(self) -> None:
        assert not any(map(self.may_run, self.waiting.values()))

    @invariant()
    def the_numbers_are_those_of_the_jobs(self) -> None:
        assert (self.queue.running, len(self.queue)) == (len(self.running), len(self.waiting))
        for kind, values in (("function", "1234"), ("client", "123")):
            for key in ((kind, value) for value in values):
                assert self.queue.counts(key) == (self.count(self.running, key), self.count(self.waiting, key))
                limit = LIMITS[kind].running
                assert limit is None or self.count(self.running, key) <= limit


QueueMachine.TestCase.settings = settings(max_examples=200, deadline=None, stateful_step_count=40)
TestQueueMachine = QueueMachine.TestCase


def test_turns_of_places() -> None:
    queue: JobQueue[str] = JobQueue(2, 10)
    assert queue.add("a")
    assert queue.turns(()) == (None, 0.0)
    assert queue.add("b")
    assert queue.turns(()) == (None, 0.5)
    assert not queue.add("c")
    assert queue.turns(()) == (None, 1.0)
    assert JobQueue[str](None, 0).turns(()) == (None, 0.0)
