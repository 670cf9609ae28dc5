from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from time import monotonic

import pytest

from portal import ConfigError, OverloadedError
from portal.javascript import EngineError, PoolSettings
from portal.javascript.pool.children import ChildPool
from portal.javascript.pool.process import ChildProcess, ChildSettings
from tests.support.javascript import CHILD, PATIENT, QUICK, no_host, open_files, program
from tests.support.thread_list import new_threads

ONE = program("() => 1")
STUCK = program("() => new Array(1e9).join('x')")
MakePool = Callable[..., ChildPool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    pools: list[ChildPool] = []
    files, threads = open_files(), threading.enumerate()

    def make(**settings: float) -> ChildPool:
        pools.append(ChildPool(CHILD, PoolSettings(**settings)))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for pool in pools:
        pids = pool.pids()
        pool.close()
        pool.close()
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert open_files() <= files
    assert new_threads(threads) == []


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process or thread does, without a signal for it."""
    end, pause = monotonic() + seconds, threading.Event()
    while not holds():
        assert monotonic() < end
        pause.wait(0.005)


def test_a_child_is_used_again(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0)
    assert [pool.run(ONE, "{}", PATIENT, no_host, None) for _ in range(3)] == ["1"] * 3
    assert pool.stats()["started"] == 1
    assert "rlimits" in pool.measures()


def test_a_killed_child_is_replaced_without_failing_other_calls(make_pool: MakePool) -> None:
    pool = make_pool(min_size=1, max_size=2)
    pool.warm_up()
    (first,) = pool.pids()
    with pytest.raises(EngineError) as caught:
        pool.run(STUCK, "{}", QUICK, no_host, None)
    assert caught.value.stage == "timeout"
    wait_until(lambda: pool.stats()["idle"] == 1)
    assert pool.pids() != [first]
    assert pool.stats()["killed"] == 1
    assert pool.run(ONE, "{}", PATIENT, no_host, None) == "1"


def test_a_killed_child_is_replaced_at_once_and_other_calls_do_not_wait_for_it() -> None:
    starts, replacing, go_on = count(1), threading.Event(), threading.Event()

    def start(settings: ChildSettings) -> ChildProcess:
        if next(starts) == 3:
            replacing.set()
            assert go_on.wait(60)
        return ChildProcess(settings)

    pool = ChildPool(CHILD, PoolSettings(min_size=2, max_size=3), start)
    try:
        pool.warm_up()
        before = pool.pids()
        with pytest.raises(EngineError):
            pool.run(STUCK, "{}", QUICK, no_host, None)
        assert replacing.wait(60)  # nobody else has asked for a child
        assert (pool.stats()["killed"], pool.stats()["children"]) == (1, 1)
        assert [pool.run(ONE, "{}", PATIENT, no_host, None) for _ in range(5)] == ["1"] * 5
        assert not go_on.is_set()
        go_on.set()
        wait_until(lambda: pool.stats()["idle"] == 2)
        assert len(set(pool.pids()) & set(before)) == 1
    finally:
        go_on.set()
        pool.close()


def test_a_child_that_died_while_idle_is_not_used(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0)
    pool.run(ONE, "{}", PATIENT, no_host, None)
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert pool.run(ONE, "{}", PATIENT, no_host, None) == "1"
    assert pool.stats()["crashed"] == 1


def test_no_more_children_than_the_pool_may_have(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0, max_size=1, max_waiting=1)
    entered, leave = threading.Event(), threading.Event()

    def blocks(kind: str, text: str) -> str:
        entered.set()
        leave.wait(30)
        return "null"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.run, program("() => { console.log(1); return 2 }"), "{}", PATIENT, blocks, None)
        assert entered.wait(30)
        with pytest.raises(OverloadedError, match="all 1 JavaScript processes are busy"):
            pool.run(ONE, "{}", PATIENT, no_host, 0.01)
        waits = threads.submit(pool.run, ONE, "{}", PATIENT, no_host, 30.0)
        wait_until(lambda: pool.stats()["waiting"] == 1)
        with pytest.raises(OverloadedError, match="1 calls wait"):
            pool.run(ONE, "{}", PATIENT, no_host, 30.0)
        leave.set()
        assert (first.result(30), waits.result(30)) == ("2", "1")
    assert pool.stats()["started"] == 1


def test_children_are_replaced_after_many_calls_and_end_when_idle(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0, max_uses=2, idle_time=0.05)
    for _ in range(4):
        pool.run(ONE, "{}", PATIENT, no_host, None)
    assert pool.stats()["recycled"] == 2
    pool.run(ONE, "{}", PATIENT, no_host, None)
    wait_until(lambda: pool.stats()["children"] == 0)


def test_a_child_that_grows_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0, max_growth=1)
    grows = program("() => 'x'.repeat(4e6).length")
    for _ in range(64):
        pool.run(grows, "{}", PATIENT, no_host, None)
    assert pool.stats()["recycled"] == 1


def test_closing_ends_running_calls(make_pool: MakePool) -> None:
    pool = make_pool(min_size=0)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(pool.run, STUCK, "{}", PATIENT, no_host, None)
        wait_until(lambda: pool.stats()["children"] == 1 and pool.stats()["idle"] == 0)
        pool.close()
        assert isinstance(running.exception(30), EngineError)
    with pytest.raises(EngineError, match="closed"):
        pool.run(ONE, "{}", PATIENT, no_host, None)


def test_children_that_do_not_start() -> None:
    pool = ChildPool(ChildSettings("no.such.module:Engine"), PoolSettings())
    with pytest.raises(ConfigError, match="No module named"):
        pool.warm_up()
    with pytest.raises(EngineError, match="No module named"):
        pool.run(ONE, "{}", PATIENT, no_host, None)
    assert pool.stats()["children"] == 0
    pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_children_of_its_own(make_pool: MakePool) -> None:
    pool = make_pool(min_size=1)
    pool.warm_up()
    mine = pool.pids()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        text = b"failed"
        with suppress(BaseException):
            first = pool.pids()
            reply = pool.run(ONE, "{}", PATIENT, no_host, None)
            text = f"{first} {reply} {pool.pids() != mine}".encode()
            pool.close()
        os.write(write, text)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert file.read() == "[] 1 True"
    os.waitpid(child, 0)
    assert pool.pids() == mine
    assert pool.run(ONE, "{}", PATIENT, no_host, None) == "1"
