from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.javascript import EngineError, Limits
from portal.javascript.pool.process import ChildProcess, ChildSettings
from tests.support.javascript import CHILD, PATIENT, QUICK, RecordingHost, no_host, open_files, program

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    files = open_files()
    found = ChildProcess(CHILD)
    yield found
    found.kill()
    found.close()
    assert not found.alive
    assert open_files() <= files


def test_calls_in_fresh_global_objects(child: ChildProcess) -> None:
    keep = program("p => { globalThis.n = (globalThis.n || 0) + p.a; return globalThis.n }")
    assert [child.call(keep, '{"a": 1}', PATIENT, no_host) for _ in range(3)] == ["1", "1", "1"]
    assert child.uses == 3


@ON_LINUX
def test_the_process_is_bare(child: ChildProcess) -> None:
    assert Path(f"/proc/{child.pid}/environ").read_bytes() == b""
    names = [os.readlink(f"/proc/{child.pid}/fd/{one}") for one in os.listdir(f"/proc/{child.pid}/fd")]
    names = [name for name in names if "libffi" not in name]  # newer versions of libffi open their own file
    assert sorted(name.partition(":")[0] for name in names) == ["/dev/null"] * 3 + ["socket"]
    assert {"rlimits", "no_new_privs"} <= set(child.active)
    assert child.able == []
    assert 0 < child.memory() < 100 * 2**20


def test_a_native_loop_is_ended_with_the_process(child: ChildProcess) -> None:
    with pytest.raises(EngineError) as caught:
        child.call(program("() => new Array(1e9).join('x')"), "{}", QUICK, no_host)
    assert (caught.value.stage, caught.value.broken) == ("timeout", True)


def test_limits_of_the_engine_leave_the_process_usable(child: ChildProcess) -> None:
    with pytest.raises(EngineError) as caught:
        child.call(program("function f() { return f() + 1 }"), "{}", PATIENT, no_host)
    assert (caught.value.stage, caught.value.broken) == ("stack", False)
    assert child.call(program("() => 1"), "{}", PATIENT, no_host) == "1"


def test_a_crash_is_the_error_of_one_call(child: ChildProcess) -> None:
    os.kill(child.pid, signal.SIGSEGV)
    with pytest.raises(EngineError) as caught:
        child.call(program("() => 1"), "{}", PATIENT, no_host)
    assert (caught.value.stage, caught.value.broken) == ("execute", True)
    assert "SIGSEGV" in caught.value.message


def test_a_child_that_the_system_ended(child: ChildProcess) -> None:
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(EngineError) as caught:
        child.call(program("() => 1"), "{}", PATIENT, no_host)
    assert caught.value.stage == "memory"


def test_the_log_of_a_call(child: ChildProcess) -> None:
    host = RecordingHost()
    assert child.call(program("() => { console.info('a'); return 2 }"), "{}", PATIENT, host) == "2"
    assert host.requests == [("log", '["info","a"]')]


def test_a_result_longer_than_the_limit(child: ChildProcess) -> None:
    with pytest.raises(EngineError) as caught:
        child.call(program("() => 'x'.repeat(5000)"), "{}", Limits(time=10.0, output=1000), no_host)
    assert caught.value.stage == "memory"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ChildSettings("portal.javascript.engines.quickjs:Missing"), "has no attribute"),
        (ChildSettings("no.such.module:Engine"), "No module named"),
        (ChildSettings(CHILD.engine, start_timeout=0.001), "failed to start"),
    ],
)
def test_a_child_that_does_not_start(settings: ChildSettings, words: str) -> None:
    files = open_files()
    with pytest.raises(EngineError, match=words) as caught:
        ChildProcess(settings)
    assert caught.value.stage == "host"
    assert open_files() <= files


@pytest.mark.parametrize("name", ["_begin", "_send", "_receive"])
def test_an_exception_at_the_start_leaves_no_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ChildProcess, name, failing)
    files = open_files()
    with pytest.raises(MemoryError):
        ChildProcess(CHILD)
    assert open_files() <= files


def test_no_program_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EngineError, match="cannot be started"):
        ChildProcess(CHILD)


def test_a_child_that_forks_survives_its_calls() -> None:
    settings = ChildSettings("portal.javascript.engines.js2py.engine:Js2PyEngine", forks=True, grace=5.0)
    child = ChildProcess(settings)
    try:
        assert {"rlimits", "no_new_privs"} <= set(child.active)
        assert child.able == []
        spoil = program("function f() { Array.prototype.x = Object.prototype.y = 1; return 1 }")
        assert child.call(spoil, "{}", PATIENT, no_host) == "1"
        probe = program("function f() { return [[].x, {}.y] }")
        assert child.call(probe, "{}", PATIENT, no_host) == "[null, null]"
        for source, stage in (
            ("function f() { return /(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab') }", "timeout"),
            ("function f() { var a = []; for (;;) a.push(new Array(1000).join('x') + a.length) }", "memory timeout"),
            ("function f() { return f() + 1 }", "stack"),
        ):
            limits = Limits(time=1.0 if "timeout" in stage else 30.0, memory=8 * 2**20)
            with pytest.raises(EngineError) as caught:
                child.call(program(source), "{}", limits, no_host)
            assert caught.value.stage in stage.split()
            assert not caught.value.broken or caught.value.stage == "memory"
        assert child.call(probe, "{}", PATIENT, no_host) == "[null, null]"
    finally:
        child.kill()
        child.close()
