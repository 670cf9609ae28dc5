"""BusyLane: few requests compute at a time, clients take turns, long ones leave."""

from __future__ import annotations

import time

import pytest

from portal.errors import OverloadedError
from portal.serving.loop.busy_lane import MAX_TURN, BusyLane, Pass
from portal.serving.loop.thread_clock import ThreadClock


def test_jobs_run_while_there_is_a_place() -> None:
    lane: BusyLane[str] = BusyLane(2, 10, 10)
    assert lane.enter("ann", "1", 0.0) is not None
    assert lane.enter("ann", "2", 0.0) is not None
    assert lane.enter("ann", "3", 0.0) is None
    assert (lane.running, len(lane)) == (2, 1)


def test_clients_take_turns() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    place = lane.enter("ann", "a0", 0.0)
    for job in ("a1", "a2", "a3"):
        lane.enter("ann", job, 0.0)
    lane.enter("bob", "b1", 0.0)
    order = []
    for _ in range(4):
        assert place is not None
        [(job, place)] = lane.leave(place, 0.0)
        order.append(job)
    assert lane.leave(place, 0.0) == []
    assert order == ["a1", "b1", "a2", "a3"]
    assert (lane.running, len(lane)) == (0, 0)


def test_a_long_job_lets_the_next_one_in_and_is_not_counted_twice() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    first = lane.enter("ann", "long", 0.0)
    assert first is not None
    lane.enter("bob", "short", 0.1)
    lane.enter("bob", "next", 0.1)
    assert lane.pass_long(MAX_TURN / 2) == []
    [(job, second)] = lane.pass_long(MAX_TURN)
    assert job == "short"
    assert lane.leave(first, MAX_TURN) == []  # it has no place any more: nobody else runs for it
    assert [job for job, _ in lane.leave(second, MAX_TURN)] == ["next"]


def running_for(place: Pass | None, shares: list[float | None]) -> None:
    """Give a place the clock of a thread that computes for these shares of the time."""
    assert place is not None
    spent = [time.thread_time()]
    for share in shares:
        spent.append(spent[-1] + (share or 0.0))
    times = iter(spent[1:])
    place.start(0.0, ThreadClock(lambda thread: None if None in shares else next(times)))


def test_a_job_that_waits_lets_the_next_one_in() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    running_for(lane.enter("ann", "query", 0.0), [1.0, 0.0])
    lane.enter("bob", "next", 0.0)
    assert lane.look(1.0, lets_in=True) == []
    assert [job for job, _ in lane.look(2.0, lets_in=True)] == ["next"]


def test_a_job_that_computes_again_counts_again() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    running_for(lane.enter("ann", "query", 0.0), [0.0, 1.0])
    lane.enter("bob", "next", 0.0)
    lane.enter("bob", "last", 0.0)
    [(_, following)] = lane.look(1.0, lets_in=True)
    running_for(following, [0.0])
    assert lane.look(2.0, lets_in=True) == []
    assert [job for job, _ in lane.leave(following, 2.0)] == []


def test_a_job_that_waits_keeps_its_place_while_nobody_is_let_in() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    running_for(lane.enter("ann", "query", 0.0), [0.0])
    lane.enter("bob", "next", 0.0)
    assert lane.look(1.0, lets_in=False) == []


def test_a_job_that_has_no_worker_yet_keeps_its_place() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    assert lane.enter("ann", "query", 0.0) is not None
    lane.enter("bob", "next", 0.0)
    assert lane.look(1.0, lets_in=True) == []


def test_without_the_time_of_threads_a_turn_is_short() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    running_for(lane.enter("ann", "query", 0.0), [None])
    lane.enter("bob", "next", 0.0)
    assert lane.look(0.01, lets_in=True) == []
    assert [job for job, _ in lane.look(0.1, lets_in=True)] == ["next"]


def test_the_queue_is_bounded_in_all_and_by_client() -> None:
    lane: BusyLane[int] = BusyLane(1, 3, 2)
    assert lane.enter("ann", 0, 0.0) is not None
    assert [lane.enter("ann", number, 0.0) for number in (1, 2)] == [None, None]
    with pytest.raises(OverloadedError):
        lane.enter("ann", 3, 0.0)
    assert lane.enter("bob", 4, 0.0) is None
    with pytest.raises(OverloadedError):
        lane.enter("eve", 5, 0.0)
    assert lane.rejected == 2


def test_due_jobs_are_taken_back_in_order_and_the_rest_stays() -> None:
    lane: BusyLane[int] = BusyLane(1, 10, 10)
    place = lane.enter("ann", 0, 0.0)
    assert place is not None
    for number in (1, 2, 3):
        lane.enter("ann", number, 0.0)
    lane.enter("bob", 5, 0.0)
    assert lane.take_back(lambda job: job % 2 == 1) == [1, 3, 5]
    assert len(lane) == 1
    assert [job for job, _ in lane.leave(place, 0.0)] == [2]


def test_a_failure_while_jobs_are_judged_loses_none() -> None:
    lane: BusyLane[str] = BusyLane(1, 10, 10)
    place = lane.enter("ann", "0", 0.0)
    for client, job in (("ann", "1"), ("bob", "2"), ("cid", "3")):
        lane.enter(client, job, 0.0)

    def is_due(job: str) -> bool:
        if job == "3":
            raise MemoryError
        return True

    with pytest.raises(MemoryError):
        lane.take_back(is_due)
    assert len(lane) == 3
    assert place is not None
    assert [job for job, _ in lane.leave(place, 0.0)] == ["1"]
    assert lane.take_back(lambda job: True) == ["2", "3"]
    assert len(lane) == 0
