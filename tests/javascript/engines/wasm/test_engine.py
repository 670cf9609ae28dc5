from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from portal import CallTimeout, ConfigError, Consumer, JavaScriptPortal, JSFunction
from portal.javascript import EngineError, Limits, PoolSettings, Sandbox
from portal.javascript.engines.wasm.engine import QuickJSWasmEngine
from portal.javascript.engines.wasm.guest import MAX_NATIVE_STACK, guest_version
from tests.support.javascript import MIB, PATIENT, no_host, program

pytestmark = pytest.mark.skipif(guest_version() == "", reason="wasmtime or quickjs-rs is not installed")


@pytest.fixture
def engine() -> Iterator[QuickJSWasmEngine]:
    made = QuickJSWasmEngine()
    yield made
    made.close()
    made.close()


def run(engine: QuickJSWasmEngine, source: str, text: str = "{}", limits: Limits = PATIENT) -> str:
    loaded = engine.compile(program(source), limits)
    try:
        return engine.call(loaded, text, limits, no_host)
    finally:
        engine.release(loaded)


def test_each_call_begins_in_the_same_state(engine: QuickJSWasmEngine) -> None:
    source = "let n = 0; function f() { globalThis.x = (globalThis.x || 0) + 1; return [++n, x] }"
    assert [run(engine, source) for _ in range(3)] == ["[1,1]"] * 3


def test_the_same_call_takes_the_same_fuel(engine: QuickJSWasmEngine) -> None:
    source = "p => { let t = 0; for (let i = 0; i < p.n; i++) t += i; return t }"
    found = set()
    for _ in range(3):
        run(engine, source, '{"n": 1000}')
        found.add(engine.fuel)
        run(engine, source, '{"n": 2000}')
    other = QuickJSWasmEngine()
    run(other, source, '{"n": 1000}')
    assert found == {other.fuel}
    run(other, source, '{"n": 2000}')
    assert other.fuel is not None
    assert other.fuel > max(found)  # type: ignore[type-var]
    other.close()


def test_fuel_bounds_a_call(engine: QuickJSWasmEngine) -> None:
    limits = Limits(time=20.0, fuel=5_000_000)
    assert run(engine, "() => 1", limits=limits) == "1"
    with pytest.raises(EngineError) as caught:
        run(engine, "() => { for (;;); }", limits=limits)
    assert caught.value.stage == "fuel"
    assert engine.fuel == 5_000_000
    assert run(engine, "() => 1", limits=limits) == "1"


def test_random_numbers_differ_between_calls(engine: QuickJSWasmEngine) -> None:
    assert len({run(engine, "() => Math.random()") for _ in range(5)}) == 5
    seeded = program("() => Math.random()", options='{"setup": true, "seed": 7, "log": 0}')
    found = set()
    for _ in range(3):
        loaded = engine.compile(seeded, PATIENT)
        found.add(engine.call(loaded, "{}", PATIENT, no_host))
        engine.release(loaded)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("source", "stage", "line", "column"),
    [
        ("p => {\n  const x = 1;\n  throw new Error('s') }", "execute", 3, 13),
        ("throw new RangeError('x');\nfunction f() {}", "compile", 1, None),
        ("let a = ;\nfunction f() {}", "syntax", 1, None),
        ("() => { for (;;) {} }", "timeout", None, None),
        ("() => new Uint8Array(64 * 1024 * 1024).length", "memory", None, None),
        ("function f() { return f() + 1 }", "stack", None, None),
        ("throw 5; function f() {}", "compile", None, None),
        ("throw {get name() { throw 1 }, get message() { for (;;); }}; function f() {}", "timeout", None, None),
        ("var x = '\ud800'; function f() {}", "syntax", None, None),
    ],
)
def test_errors(engine: QuickJSWasmEngine, source: str, stage: str, line: int | None, column: int | None) -> None:
    limits = Limits(time=0.3 if stage == "timeout" else 20.0, memory=8 * MIB)
    with pytest.raises(EngineError) as caught:
        run(engine, source, limits=limits)
    assert caught.value.stage == stage
    assert line is None or caught.value.line == line
    assert column is None or caught.value.column == column
    assert "portal" not in caught.value.stack


def test_a_lone_surrogate_in_parameters_and_results(engine: QuickJSWasmEngine) -> None:
    assert run(engine, "p => p.a + '\\ud801'", '{"a": "\ud800"}') == '"\\ud800\\ud801"'


def test_ten_megabytes_each_way(engine: QuickJSWasmEngine) -> None:
    text = '{"a":"' + "x" * (10 * MIB) + '"}'
    assert run(engine, "p => p", text, Limits(time=60.0, memory=128 * MIB)) == text


def test_small_stacks_of_threads_are_rejected() -> None:
    before = threading.stack_size(MAX_NATIVE_STACK)
    try:
        with pytest.raises(ConfigError, match="stack_size"):
            QuickJSWasmEngine()
    finally:
        threading.stack_size(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_process_runs_code_and_stops_loops() -> None:
    sandbox = Sandbox(isolation="wasm", limits=Limits(time=20.0))
    with JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox) as portal, Consumer([portal]) as consumer:
        add = portal.apply(JSFunction("p => p.a + 1", "add"))
        loop = portal.apply(JSFunction("() => { for (;;); }", "loop", timeout=0.1))
        assert consumer.call_at(add, {"a": 1}) == 2
        child = os.fork()
        if child == 0:
            good = False
            try:
                good = consumer.call_at(add, {"a": 2}) == 3
                try:
                    consumer.call_at(loop, {})
                    good = False
                except CallTimeout:
                    pass
            finally:
                os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_run_at_the_same_time_and_are_counted_apart() -> None:
    sandbox = Sandbox(isolation="wasm", limits=Limits(time=60.0), pool=PoolSettings(min_size=0, max_size=4))
    source = "p => { let t = 0; for (let i = 0; i < p.n; i++) t += i; return t }"
    with JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox) as portal, Consumer([portal]) as consumer:
        address = portal.apply(JSFunction(source, "sum"))
        futures = [consumer.submit_at(address, {"n": 20_000}) for _ in range(8)]
        assert [one.result(60.0) for one in futures] == [199990000] * 8
        once = portal.stats()["fuel"]["sum"] / 8
        consumer.call_at(address, {"n": 20_000})
        assert portal.stats()["fuel"]["sum"] == once * 9
    assert not any(one.name == "portal-javascript-epoch" for one in threading.enumerate())


def test_a_locked_down_child_reports_its_fuel_too() -> None:
    with JavaScriptPortal(sandbox=Sandbox("hostile", limits=Limits(time=20.0))) as portal, Consumer() as consumer:
        address = portal.apply(JSFunction("() => 1", "one"))
        assert address.segments[0] == "quickjs-wasm"
        consumer.call_at(address, {})
        first = portal.stats()["fuel"]["one"]
        consumer.call_at(address, {})
        assert portal.stats()["fuel"]["one"] == 2 * first > 0
        (row,) = portal.health()["engines"]
        assert row["isolation"] == "wasm-process"
        assert set(row["stopped"]) == {"loop", "hog", "recursion"}
