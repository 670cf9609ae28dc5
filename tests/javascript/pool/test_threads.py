from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import OverloadedError
from portal.javascript import EngineError, PoolSettings
from portal.javascript.engines.quickjs import QuickJSEngine
from portal.javascript.pool.threads import ThreadRunner
from tests.support.javascript import PATIENT, QUICK, program


def no_host(kind: str, text: str) -> str:
    return "null"


@pytest.fixture
def runner() -> Iterator[ThreadRunner]:
    found = ThreadRunner(QuickJSEngine, PoolSettings(max_size=2, max_waiting=1))
    yield found
    found.close()
    found.close()
    assert found.stats()["engines"] == 0


COUNT = program("var n = 0; function f() { return ++n }")


def test_a_context_stays_warm(runner: ThreadRunner) -> None:
    assert [runner.run(COUNT, "{}", PATIENT, no_host, None) for _ in range(3)] == ["1", "2", "3"]
    assert runner.run(program("() => typeof n"), "{}", PATIENT, no_host, None) == '"undefined"'


def test_an_exception_keeps_the_context_and_a_breach_does_not(runner: ThreadRunner) -> None:
    fails = program("var n = 0; function f(p) { n++; if (p.loop) for (;;) {} if (p.bad) throw 'x'; return n }")
    runner.run(fails, "{}", PATIENT, no_host, None)
    with pytest.raises(EngineError):
        runner.run(fails, '{"bad": 1}', PATIENT, no_host, None)
    assert runner.run(fails, "{}", PATIENT, no_host, None) == "3"
    with pytest.raises(EngineError) as caught:
        runner.run(fails, '{"loop": 1}', QUICK, no_host, None)
    assert caught.value.stage == "timeout"
    assert runner.run(fails, "{}", PATIENT, no_host, None) == "1"


def test_endless_jobs_of_a_call_end_with_its_context(runner: ThreadRunner) -> None:
    leaves = program("var n = 0; function f() { (function l() { Promise.resolve().then(l) })(); return ++n }")
    assert runner.run(leaves, "{}", QUICK, no_host, None) == "1"
    assert runner.run(leaves, "{}", QUICK, no_host, None) == "1"


def test_as_many_contexts_as_the_pool_may_have(runner: ThreadRunner) -> None:
    entered, leave = threading.Barrier(3), threading.Event()

    def blocks(kind: str, text: str) -> str:
        entered.wait(30)
        leave.wait(30)
        return "null"

    logs = program("() => { console.log('x'); return 1 }")
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(runner.run, logs, "{}", PATIENT, blocks, None) for _ in range(2)]
        entered.wait(30)
        assert runner.stats()["engines"] == 2
        with pytest.raises(OverloadedError, match="all 2 JavaScript contexts are busy"):
            runner.run(COUNT, "{}", PATIENT, no_host, 0.01)
        leave.set()
        assert [one.result(30) for one in running] == ["1", "1"]
    assert runner.run(COUNT, "{}", PATIENT, no_host, None) == "1"


def test_only_loading(runner: ThreadRunner) -> None:
    assert runner.run(COUNT, "", PATIENT, no_host, None) == ""
    with pytest.raises(EngineError) as caught:
        runner.run(program("function f( {"), "", PATIENT, no_host, None)
    assert caught.value.stage == "syntax"


def test_after_a_fork_the_engines_are_new(runner: ThreadRunner) -> None:
    runner.run(COUNT, "{}", PATIENT, no_host, None)
    runner.after_fork()
    assert runner.stats()["engines"] == 0
    assert runner.run(COUNT, "{}", PATIENT, no_host, None) == "1"


def test_a_closed_runner_rejects_calls() -> None:
    runner = ThreadRunner(QuickJSEngine, PoolSettings())
    runner.close()
    with pytest.raises(EngineError, match="closed"):
        runner.run(COUNT, "{}", PATIENT, no_host, None)
