from __future__ import annotations

import pytest

from portal import ConfigError
from portal.javascript import EngineError, Limits, Sandbox
from portal.javascript.engines.v8 import V8Engine
from tests.support.javascript import PATIENT, no_host, program

ENGINE = V8Engine()


def run(source: str, text: str = "{}") -> str:
    loaded = ENGINE.compile(program(source), PATIENT)
    try:
        return ENGINE.call(loaded, text, PATIENT, no_host)
    finally:
        ENGINE.release(loaded)


def test_calls() -> None:
    assert run("p => p.a + '\\u2028é'", '{"a": "\\u2028"}') == '"\u2028\u2028é"'
    assert run("async p => { await null; return p.a }", '{"a": 1}') == "1"


def test_what_is_removed() -> None:
    names = "typeof WebAssembly + typeof SharedArrayBuffer + typeof Atomics"
    assert run(f"() => {names}") == '"undefinedundefinedundefined"'


@pytest.mark.parametrize(
    ("source", "stage", "name", "line"),
    [
        ("function f() {\n  null.x }", "execute", "TypeError", 2),
        ("p => {\n throw new RangeError('far') }", "execute", "RangeError", 2),
        ("let a = 1;\nlet a = 2; function f() {}", "syntax", "SyntaxError", 2),
        ("null.x; function f() {}", "compile", "TypeError", 1),
        ("export default () => {\n  x.y }", "execute", "ReferenceError", 2),
        ("function f() { return f() + 1 }", "stack", "RangeError", 1),
        ("() => NaN", "convert", "Error", None),
    ],
)
def test_errors(source: str, stage: str, name: str, line: int | None) -> None:
    with pytest.raises(EngineError) as caught:
        run(source)
    assert (caught.value.stage, caught.value.name, caught.value.line) == (stage, name, line)
    assert "portal" not in caught.value.stack


def test_it_runs_in_child_processes_only() -> None:
    assert Sandbox().place("v8", False).isolation == "process"
    with pytest.raises(ConfigError, match="does not run in threads"):
        Sandbox("trusted").place("v8", True)


def test_a_script_that_breaks_its_own_gate() -> None:
    with pytest.raises(EngineError):
        run("() => { Promise = null; JSON = null; throw { get message() { return 1 } } }")
    assert run("() => { globalThis.__portal__ = null; return 1 }") == "1"


def test_a_long_result_is_rejected() -> None:
    loaded = ENGINE.compile(program("() => 'x'.repeat(100)"), PATIENT)
    with pytest.raises(EngineError, match="at most 10 characters"):
        ENGINE.call(loaded, "{}", Limits(time=10.0, output=10), no_host)
    ENGINE.release(loaded)
