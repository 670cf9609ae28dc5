from __future__ import annotations

import json
from typing import Any

import pytest

from portal.javascript import EngineError, Limits
from portal.javascript.engines.js2py.engine import Js2PyEngine
from tests.support.javascript import PATIENT, QUICK, RecordingHost, no_host, program


def run(source: str, params: Any = None, limits: Limits = PATIENT, properties: tuple[str, ...] = ()) -> Any:
    engine = Js2PyEngine()
    loaded = engine.compile(program(source, properties=properties), limits)
    try:
        return json.loads(engine.call(loaded, json.dumps(params or {}), limits, no_host))
    finally:
        engine.release(loaded)
        engine.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 + 2", 3),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("-0", 0),
        ("1e21", 1e21),
        ("undefined", None),
        ("[1, , undefined, function () {}]", [1, None, None, None]),
        ("{a: undefined, b: null, c: function () {}}", {"b": None}),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("{toJSON: function () { return [1] }}", [1]),
        ("new String('x')", "x"),
        ("'\\u0000\\ud83d\\ude00'", "\x00😀"),
        ("[3, 1, 2].sort().map(String).join('-')", "1-2-3"),
    ],
)
def test_results(code: str, expected: Any) -> None:
    assert run(f"function f() {{ return {code} }}") == expected


def test_parameters() -> None:
    source = "function f(p) { return [typeof p.n, p.n, p.s, p.a.length, p.o.x, p.t, p.z] }"
    params = {"n": 2**53, "s": "é\x00", "a": [1], "o": {"x": 1.5}, "t": True, "z": None}
    assert run(source, params) == ["number", 2**53, "é\x00", 1, 1.5, True, None]
    assert run("function f(b, a) { return [a, typeof b] }", {"a": 1}, properties=("a", "b")) == [1, "undefined"]


@pytest.mark.parametrize(
    ("source", "stage"),
    [
        ("function f() { for (;;) {} }", "timeout"),
        ("for (;;) {}", "timeout"),
        ("function f() { for (;;) { try { for (;;) {} } catch (e) {} } }", "timeout"),
        ("function f() { for (;;) { try { for (;;) {} } finally { continue } } }", "timeout"),
        ("function f() { while (true) { try { f() } finally { f } } }", "stack timeout"),
        ("function f() { for (;;) { try { try { for (;;) {} } finally { throw 1 } } catch (e) {} } }", "timeout"),
        ("function f() { for (;;) { a: try { for (;;) {} } finally { break a } } }", "timeout"),
        ("function f() { do {} while (true) }", "timeout"),
        ("function f() { return {get a() { for (;;) {} }} }", "timeout"),
        ("function f() { return {toJSON: function () { for (;;) {} }} }", "timeout"),
        ("function f() { return f() + 1 }", "stack"),
        ("function f() { return 0 / 0 }", "convert"),
        ("function f() { return function () {} }", "convert"),
        ("function f() { var a = []; a.push(a); return a }", "convert"),
        ("function f() { throw new TypeError('own') }", "execute"),
        ("function f() { throw {code: 5} }", "execute"),
        ("function f() { throw {toString: function () { throw 1 }} }", "execute"),
        ("function f() { return missing }", "execute"),
        ("var f = 1", "compile"),
        ("throw new Error('at load')", "compile"),
        ("function f( {", "syntax"),
    ],
)
def test_failures(source: str, stage: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(source, limits=QUICK)
    assert caught.value.stage in stage.split()
    assert "portal" not in f"{caught.value.message}{caught.value.stack}"


def test_an_error_has_the_name_and_message_of_the_script() -> None:
    with pytest.raises(EngineError) as caught:
        run("function f() { throw new RangeError('far') }")
    assert (caught.value.name, caught.value.message) == ("RangeError", "far")


def test_the_console_goes_to_the_host_after_the_call() -> None:
    engine, host = Js2PyEngine(), RecordingHost()
    loaded = engine.compile(program("function f() { console.log('a', {b: 1}); console.warn(2); throw 1 }"), PATIENT)
    with pytest.raises(EngineError):
        engine.call(loaded, "{}", PATIENT, host)
    assert [json.loads(text) for _, text in host.requests] == [["log", 'a {"b": 1}'], ["log", "2"]]


def test_modules_need_another_engine() -> None:

    with pytest.raises(EngineError, match="quickjs"):
        Js2PyEngine().compile(program("function f() {}")._replace(modules=(("m", "x"),)), PATIENT)


def test_a_long_result_is_rejected() -> None:
    with pytest.raises(EngineError, match="at most 10 characters"):
        run("function f() { return '0123456789' }", limits=Limits(time=10.0, output=10))
