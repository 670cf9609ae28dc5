"""ProcessPool: a process that is killed, late or cancelled costs one call."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from portal import CallCancelled, CallContext, CallTimeout, ConfigError, OverloadedError, SerializationError
from portal.errors import PortalError, TransportError
from portal.processes import ProcessPool
from portal.processes.jobs import Job
from tests.support.fifos import read_fifo
from tests.support.waiting import eventually

WAIT = 60.0


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    made = ProcessPool(1, queue=0)
    yield made
    made.close()


def job(run: Any, *arguments: Any) -> Job:
    return Job(getattr(run, "__name__", "run"), run, arguments)


def hang(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    threading.Event().wait()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_process_serves_many_calls(pool: ProcessPool) -> None:
    found = {pool.run(job(os.getpid), CallContext()) for _ in range(5)}
    assert found == set(pool.pids())
    assert len(found) == 1
    assert os.getpid() not in found
    assert pool.stats() == {"calls": 5, "processes": 1, "idle": 1, "waiting": 0, "killed": 0, "lost": 0}


def test_a_process_that_ends_by_itself_is_one_error(pool: ProcessPool) -> None:
    with pytest.raises(TransportError, match="ended by itself: exit code 7") as caught:
        pool.run(job(os._exit, 7), CallContext())
    assert caught.value.may_have_executed
    assert not caught.value.retryable
    assert pool.run(job(abs, -2), CallContext()) == 2
    assert pool.stats()["lost"] == 1


def test_a_killed_idle_process_is_no_error(pool: ProcessPool) -> None:
    first = pool.run(job(os.getpid), CallContext())
    assert isinstance(first, int)
    os.kill(first, 9)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert pool.run(job(os.getpid), CallContext()) != first


def test_a_late_call_ends_its_process(pool: ProcessPool, tmp_path: Path) -> None:
    pid = pool.run(job(os.getpid), CallContext())
    with pytest.raises(CallTimeout, match="its process was ended") as caught:
        pool.run(job(hang, str(tmp_path / "pid")), CallContext(deadline=monotonic() + 3.0))
    assert caught.value.may_have_executed
    assert pid not in pool.pids()
    assert pool.run(job(abs, -3), CallContext()) == 3


def test_a_cancelled_call_ends_its_process(pool: ProcessPool, fifo: Path) -> None:
    context = CallContext()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pool.run, job(hang, str(fifo)), context)
        pid = int(read_fifo(fifo))
        context.cancel()
        with pytest.raises(CallCancelled) as caught:
            running.result(WAIT)
    assert caught.value.may_have_executed
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert pool.run(job(abs, -3), CallContext()) == 3


def test_a_call_that_has_ended_is_not_cancelled_any_more(pool: ProcessPool) -> None:
    context = CallContext()
    first = pool.run(job(os.getpid), context)
    context.cancel()
    assert pool.run(job(os.getpid), CallContext()) == first


def test_a_full_pool_rejects_and_a_waiting_call_can_be_cancelled(fifo: Path) -> None:
    pool = ProcessPool(1, queue=1)
    busy, waiting = CallContext(), CallContext()
    with ThreadPoolExecutor(2) as threads:
        try:
            first = threads.submit(pool.run, job(hang, str(fifo)), busy)
            read_fifo(fifo)
            second = threads.submit(pool.run, job(abs, 1), waiting)
            while pool.stats()["waiting"] < 1:
                assert not second.done()
            with pytest.raises(OverloadedError, match="all 1 processes are busy and 1 calls wait") as full:
                pool.run(job(abs, 1), CallContext())
            with pytest.raises(OverloadedError):
                pool.run(job(abs, 1), CallContext(deadline=monotonic() + WAIT))
            waiting.cancel()
            with pytest.raises(CallCancelled) as cancelled:
                second.result(WAIT)
            with pytest.raises(CallTimeout, match="waited for a process") as late:
                pool.run(job(abs, 1), CallContext(deadline=monotonic() + 0.01))
        finally:
            busy.cancel()
            pool.close()
        with pytest.raises(CallCancelled):
            first.result(WAIT)
    assert not any(one.value.may_have_executed for one in (full, cancelled, late))


def test_processes_are_replaced_after_max_calls() -> None:
    pool = ProcessPool(1, max_calls=2)
    found = [pool.run(job(os.getpid), CallContext()) for _ in range(4)]
    pool.close()
    assert found[0] == found[1] != found[2] == found[3]


def test_what_cannot_be_pickled_is_not_sent(pool: ProcessPool) -> None:
    with pytest.raises(SerializationError, match="cannot be sent to another process") as caught:
        pool.run(job(abs, threading.Lock()), CallContext())
    assert caught.value.delivery == "not_sent"
    assert pool.stats()["processes"] == 0


def test_a_process_that_does_not_start_fails_the_calls_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ProcessPool(1)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(TransportError, match="no worker process can be started") as caught:
        pool.run(job(abs, 1), CallContext())
    assert caught.value.delivery == "not_sent"
    monkeypatch.undo()
    assert pool.run(job(abs, -1), CallContext()) == 1
    pool.close()


def test_a_closed_pool_rejects(pool: ProcessPool) -> None:
    pool.run(job(abs, 1), CallContext())
    pool.close()
    with pytest.raises(PortalError, match="closed"):
        pool.run(job(abs, 1), CallContext())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_processes_of_its_own(pool: ProcessPool) -> None:
    first = pool.run(job(os.getpid), CallContext())
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent only
        try:
            own = pool.run(job(os.getpid), CallContext())
            pool.close()
            os.write(write, str(own).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert int(file.read()) != first
    os.waitpid(child, 0)
    assert pool.run(job(os.getpid), CallContext()) == first


@pytest.mark.parametrize("options", [{"workers": 0}, {"queue": -1}, {"max_calls": 0}, {"start_timeout": 0}])
def test_wrong_bounds_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ProcessPool(**options)


def test_a_frozen_process_does_not_keep_a_call_beyond_its_deadline(pool: ProcessPool) -> None:
    """It takes no more of the arguments than fit into the buffers of the system."""
    frozen = pool.run(job(os.getpid), CallContext())
    assert isinstance(frozen, int)
    os.kill(frozen, signal.SIGSTOP)
    with pytest.raises(CallTimeout) as late:
        pool.run(job(len, b"x" * 4_000_000), CallContext(deadline=monotonic() + 2.0))
    assert not late.value.may_have_executed
    again = pool.run(job(os.getpid), CallContext(deadline=monotonic() + WAIT))
    assert isinstance(again, int)
    assert again != frozen
    os.kill(again, signal.SIGSTOP)
    context = CallContext()
    with ThreadPoolExecutor(1) as threads:
        cancelled = threads.submit(pool.run, job(len, b"x" * 4_000_000), context)
        eventually(lambda: pool.stats()["idle"] == 0)
        context.cancel()
        with pytest.raises(CallCancelled):
            cancelled.result(WAIT)


def test_a_context_of_many_calls_keeps_nothing_of_them(pool: ProcessPool) -> None:
    context = CallContext()
    for number in range(3):
        assert pool.run(job(abs, -number), context) == number
    assert not context._callbacks


def test_starts_that_fail_are_not_tried_in_a_tight_loop(monkeypatch: pytest.MonkeyPatch, fifo: Path) -> None:
    pool, busy, starts = ProcessPool(2), CallContext(), count()
    pool.run(job(abs, 1), CallContext())

    class Failing:
        def __init__(self, timeout: float) -> None:
            next(starts)
            raise OSError("no process")

    with ThreadPoolExecutor(1) as threads:
        try:
            first = threads.submit(pool.run, job(hang, str(fifo)), busy)
            read_fifo(fifo)
            monkeypatch.setattr("portal.processes.pool.WorkerProcess", Failing)
            with pytest.raises(CallTimeout, match="waited for a process"):
                pool.run(job(abs, 1), CallContext(deadline=monotonic() + 0.5))
            monkeypatch.undo()
            assert 1 <= next(starts) < 5
            assert pool.run(job(abs, -2), CallContext()) == 2  # the pause is over after a second
        finally:
            busy.cancel()
            pool.close()
        with pytest.raises(CallCancelled):
            first.result(WAIT)
