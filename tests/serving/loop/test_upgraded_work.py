"""UpgradedWork: which thread does the work, without a listener."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from types import SimpleNamespace

import pytest

from portal import OverloadedError
from portal._internal.executor import WorkerPool
from portal._internal.job_queue import KeyLimit
from portal.serving import Run
from portal.serving.loop.leader import Leadership
from portal.serving.loop.service_times import ServiceTimes
from portal.serving.loop.upgraded_work import UpgradedWork
from portal.serving.messages.held_keys import HeldKeys

WAIT = 10.0


class Leader:
    can_serve_inline = True


class Job:
    def __init__(self, counts: bool = True) -> None:
        self.done = threading.Event()
        self.threads: list[str] = []
        self.held: list[HeldKeys | None] = []
        self.counts = counts

    def __call__(self, held: HeldKeys | None) -> bool:
        self.threads.append(threading.current_thread().name)
        self.held.append(held)
        self.done.set()
        return self.counts

    def reject(self, error: OverloadedError) -> None:
        raise AssertionError(error)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1, 1, name="worker", limits={"client": KeyLimit(1, 0)})
    yield made
    made.shutdown(cancel_futures=True)


def work_on(pool: WorkerPool) -> UpgradedWork:
    return UpgradedWork(Leader(), pool, max_wait=30.0)  # type: ignore[arg-type]


def done(work: UpgradedWork, turn: Leadership, kind: str, counts: bool = True) -> Job:
    job = Job(counts)
    work.runner(turn)(kind, (), job)
    assert job.done.wait(WAIT)
    return job


def test_unknown_work_goes_to_a_worker_and_quick_work_stays(pool: WorkerPool) -> None:
    work, turn = work_on(pool), Leadership(threading.Lock())
    first = done(work, turn, "add")
    assert first.threads[0].startswith("worker")
    assert first.held[0] is not None
    own = threading.current_thread().name
    while (later := done(work, turn, "add")).threads != [own]:
        pass  # the worker notes its time just after the work
    assert later.held == [None]
    assert done(work, turn, "other").threads[0].startswith("worker")


def test_the_time_of_an_error_tells_nothing(pool: WorkerPool) -> None:
    work, turn = work_on(pool), Leadership(threading.Lock())
    for _ in range(5):
        assert done(work, turn, "fails", counts=False).threads[0].startswith("worker")


def test_a_thread_that_leads_no_more_and_one_that_worked_for_long_use_workers(pool: WorkerPool) -> None:
    work, turn = work_on(pool), Leadership(threading.Lock())
    while done(work, turn, "add").threads[0].startswith("worker"):
        pass
    turn.begin(1)
    turn.take_away(turn.since)
    assert done(work, turn, "add").threads[0].startswith("worker")


def test_each_call_of_the_thread_that_reads_has_the_time_of_a_step(pool: WorkerPool) -> None:
    """Many short calls that arrive together are not stuck."""
    work, turn = work_on(pool), Leadership(threading.Lock())
    while done(work, turn, "add").threads[0].startswith("worker"):
        pass
    turn.begin(7)
    run, steps, begun = work.runner(turn), turn.steps, turn.since
    for number in (1, 2):
        run("add", (), Job())
        assert (turn.token, turn.steps) == (7, steps + number)
        assert turn.since > begun
        begun = turn.since


def test_a_stuck_kind_goes_to_workers_for_a_while(pool: WorkerPool) -> None:
    work, turn = work_on(pool), Leadership(threading.Lock())
    while done(work, turn, "add").threads[0].startswith("worker"):
        pass
    stuck = Job()
    stuck.done.set()

    class Stuck(Job):
        def __call__(self, held: HeldKeys | None) -> bool:
            work.note_stuck()  # as the thread that watches the leader does
            return super().__call__(held)

    job = Stuck()
    work.runner(turn)("add", (), job)
    assert done(work, turn, "add").threads[0].startswith("worker")


def test_work_beyond_a_limit_is_rejected(pool: WorkerPool) -> None:
    work = work_on(pool)
    gate, begun = threading.Event(), threading.Event()

    class Held(Job):
        def __call__(self, held: HeldKeys | None) -> bool:
            begun.set()
            gate.wait(WAIT)
            return super().__call__(held)

    held = Held()
    work.run_in_worker("slow", (("client", "a"),), held)
    assert begun.wait(WAIT)
    with pytest.raises(OverloadedError) as caught:
        work.run_in_worker("slow", (("client", "a"),), Job())
    assert caught.value.context["key"] == "client"
    gate.set()
    assert held.done.wait(WAIT)


def test_work_whose_turn_comes_after_its_deadline_is_rejected_at_once() -> None:
    class Late(Job):
        deadline = monotonic() + WAIT

    pool = WorkerPool(1, 8, name="worker")
    times = ServiceTimes(pool)
    times.note((("function", "add"),), 10 * WAIT)
    work = UpgradedWork(Leader(), pool, times, max_wait=30.0)  # type: ignore[arg-type]
    gate, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(WAIT)

    try:
        pool.submit(hold)
        assert begun.wait(WAIT)
        with pytest.raises(OverloadedError, match="free only after the deadline") as caught:
            work.run_in_worker("add", (), Late())
        assert caught.value.retry_after == 60.0
        patient = Job()
        work.run_in_worker("add", (), patient)
        gate.set()
        assert patient.done.wait(WAIT)
    finally:
        gate.set()
        pool.shutdown(cancel_futures=True)


def test_work_that_arrives_after_the_end_of_the_pool_is_rejected(pool: WorkerPool) -> None:
    work, job = work_on(pool), Job()
    pool.shutdown()
    with pytest.raises(OverloadedError, match="the server is stopping"):
        work.run_in_worker("add", (), job)
    with pytest.raises(OverloadedError, match="the server is stopping"):
        work.runner(Leadership(threading.Lock()))("add", (), job)
    assert not job.threads


def test_reading_goes_on_after_the_end_of_the_pool_and_its_work_is_rejected(pool: WorkerPool) -> None:
    class Handler:
        def received(self, run: Run) -> None:
            with pytest.raises(OverloadedError, match="the server is stopping"):
                run("add", (), Job())
            read.append(True)

    read: list[bool] = []
    pool.shutdown()
    work_on(pool).go_on_reading(SimpleNamespace(channel=SimpleNamespace(handler=Handler())))  # type: ignore[arg-type]
    assert read == [True]
