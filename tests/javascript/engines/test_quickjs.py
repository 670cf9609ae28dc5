"""Limits and errors of QuickJS within one process."""

from __future__ import annotations

import threading

import pytest

from portal.javascript import EngineError, Limits
from portal.javascript.engines.quickjs import QuickJSEngine
from tests.support.javascript import MIB, PATIENT, QUICK, no_host, program


def run(source: str, limits: Limits = PATIENT, text: str = "{}") -> str:
    engine = QuickJSEngine()
    try:
        loaded = engine.compile(program(source), limits)
        return engine.call(loaded, text, limits, no_host)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("source", "stage"),
    [
        ("() => { for (;;) {} }", "timeout"),
        ("for (;;) {}; function f() {}", "timeout"),
        ("() => { try { for (;;) {} } catch (e) {} finally { for (;;) {} } }", "timeout"),
        ("() => /(a+)+$/.test('a'.repeat(40) + 'b')", "timeout"),
        ("async () => { for (;;) await null }", "timeout"),
        ("() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }", "memory"),
        ("() => new Uint8Array(64 * 1024 * 1024).length", "memory"),
        ("function f() { return f() + 1 }", "stack"),
    ],
)
def test_limits(source: str, stage: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(source, QUICK if stage == "timeout" else PATIENT)
    assert caught.value.stage == stage


@pytest.mark.parametrize(
    ("source", "stage", "line", "column"),
    [
        ("function f({", "syntax", 2, 1),
        ("function f() {\n  let x = ;\n}", "syntax", 2, 11),
        ("(p) => {\n  return p.a.b.c }", "execute", 2, 10),
        ("let x = null;\nx.y;\nfunction f() {}", "compile", 2, 1),
        ("import a from 'm';\nexport default () => {\n a.b }", "execute", None, None),
        ("var f = 1", "compile", None, None),
    ],
)
def test_places_are_those_of_the_source(source: str, stage: str, line: int | None, column: int | None) -> None:
    with pytest.raises(EngineError) as caught:
        run(source)
    assert caught.value.stage == stage or line is None
    assert (caught.value.line, caught.value.column) == (line, column) or line is None
    assert "portal" not in caught.value.stack


def test_a_promise_that_never_settles() -> None:
    with pytest.raises(EngineError, match="never settle") as caught:
        run("() => new Promise(() => {})")
    assert caught.value.stage == "execute"


def test_promise_jobs_have_a_bound() -> None:
    with pytest.raises(EngineError, match="at most 50 promise jobs"):
        run("async () => { for (let i = 0; i < 100; i++) await null }", Limits(time=10.0, jobs=50))
    assert run("async () => { for (let i = 0; i < 10; i++) await null; return 1 }") == "1"


def test_a_long_result_is_rejected() -> None:
    with pytest.raises(EngineError, match="at most 100 characters"):
        run("() => 'x'.repeat(100)", Limits(time=10.0, output=100))


def test_a_value_of_ten_megabytes() -> None:
    limits = Limits(time=20.0, memory=128 * MIB)
    text = '{"a":"' + "x" * (10 * MIB) + '"}'
    assert run("p => p", limits, text) == text


def test_jobs_that_a_call_leaves_behind() -> None:
    engine = QuickJSEngine()
    ends = engine.compile(program("() => { Promise.resolve().then(() => 1); return 1 }"), PATIENT)
    assert engine.call(ends, "{}", PATIENT, no_host) == "1"
    assert engine.settle(ends, PATIENT)
    endless = engine.compile(program("() => { (function l() { Promise.resolve().then(l) })(); return 1 }"), PATIENT)
    assert engine.call(endless, "{}", PATIENT, no_host) == "1"
    assert not engine.settle(endless, Limits(time=10.0, jobs=100))


def test_threads_use_it_one_after_the_other() -> None:
    engine = QuickJSEngine()
    loaded = engine.compile(program("function f(p) { return p.n ? 1 + f({n: p.n - 1}) : 0 }"), PATIENT)
    found: list[str] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: found.append(engine.call(loaded, '{"n": 30}', PATIENT, no_host)))
        thread.start()
        thread.join()
    assert found == ["30"] * 3
    assert all("quickjs" not in one.name for one in threading.enumerate())


def test_a_spare_context_is_used_for_the_same_options_only() -> None:
    engine = QuickJSEngine()
    first, other = program("p => 1"), program("p => 2", options='{"log": 5}')
    engine.prepare(first, PATIENT)
    assert engine.call(engine.compile(other, PATIENT), "{}", PATIENT, no_host) == "2"
    engine.prepare(first, PATIENT)
    assert engine.call(engine.compile(first, PATIENT), "{}", PATIENT, no_host) == "1"
    engine.close()
    engine.close()


def test_code_without_promises_is_not_asked_for_jobs() -> None:
    engine = QuickJSEngine()
    plain = engine.compile(program("p => p.a * 2"), PATIENT)
    assert not plain.makes_jobs
    assert engine.settle(plain, PATIENT)
    for source in ("async () => 1", "() => { queueMicrotask(() => 1) }", "() => { new Function('1')() }"):
        assert engine.compile(program(source), PATIENT).makes_jobs
