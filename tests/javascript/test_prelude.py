"""What the prelude does; the engine is QuickJS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from _quickjs import Context

from portal.javascript import EngineError, Program
from portal.javascript.engines.quickjs import QuickJSEngine
from portal.javascript.prelude import is_needed, prelude_source
from tests.support.javascript import PATIENT, RecordingHost, program


def run(source: str, params: Any = None, host: RecordingHost | None = None, **options: str) -> Any:
    engine = QuickJSEngine()
    loaded = engine.compile(program(source, **options), PATIENT)
    try:
        return json.loads(engine.call(loaded, json.dumps(params or {}), PATIENT, host or RecordingHost()))
    finally:
        engine.release(loaded)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("undefined", None),
        ("null", None),
        ("-0", 0),
        ("[, undefined, 1]", [None, None, 1]),
        ("({a: undefined, b: null, c() {}, [Symbol()]: 1})", {"b": None}),
        ("2n ** 64n", 2**64),
        ("[{n: -5n}]", [{"n": -5}]),
        ("2 ** 53 + 2", 2**53 + 2),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Map([['a', new Set([1, 2])], [3, null]])", {"a": [1, 2], "3": None}),
        ("new Map([['__proto__', 1]])", {"__proto__": 1}),
        ("new Uint8Array([0, 255, 7])", "AP8H"),
        ("new Uint8Array(0)", ""),
        ("new Uint8Array([1])", "AQ=="),
        ("new Uint8Array([1, 2, 3, 4, 5]).buffer", "AQIDBAU="),
        ("new Int16Array([-1, 2])", [-1, 2]),
        ("new BigInt64Array([1n])", [1]),
        ("'\\u0000\\ud800x'", "\x00\ud800x"),
        ("({get a() { return 1 }})", {"a": 1}),
        ("({toJSON() { return [1] }})", [1]),
        ("new String('x')", "x"),
        ("'null'", "null"),
        ("/x/", {}),
        ("new Error('x')", {}),
    ],
)
def test_what_json_does_not_have(code: str, expected: Any) -> None:
    assert run(f"() => ({code})") == expected
    assert run(f"async () => ({code})") == expected


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("NaN", "NaN is not"),
        ("[1, {a: Infinity}]", 'Infinity at "a"'),
        ("[-Infinity]", "-Infinity"),
        ("() => 1", "a function is not"),
        ("Symbol()", "a symbol is not"),
        ("new Map([[{}, 1]])", "keys of a Map"),
        ("(() => { const a = {}; a.a = a; return a })()", "circular"),
        ("({get a() { throw new TypeError('own') }})", "own"),
        ("({toJSON() { return NaN }})", "NaN"),
    ],
)
def test_what_cannot_be_converted(code: str, words: str) -> None:
    for source in (f"() => ({code})", f"async () => ({code})"):
        with pytest.raises(EngineError, match=words.replace("(", r"\(")) as caught:
            run(source)
        assert caught.value.stage == "convert"


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("throw new RangeError('far')", "RangeError", "far"),
        ("throw 'text'", "Error", "text"),
        ("throw {code: 5}", "Error", '{"code":5}'),
        ("throw null", "Error", "null"),
        ("throw undefined", "Error", "undefined"),
        ("throw Symbol('s')", "Error", "Symbol(s)"),
        ("throw Object.defineProperty(new Error('x'), 'name', {get() { throw 1 }})", "", "x"),
        ("throw new Proxy(new Error('x'), {get() { throw 1 }})", "", ""),
        ("throw new (class Own extends Error { get message() { return 'mine' } })", "Error", "mine"),
    ],
)
def test_what_is_thrown(code: str, name: str, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(f"() => {{ {code} }}")
    assert (caught.value.stage, caught.value.name, caught.value.message) == ("execute", name, message)


def test_a_script_that_spoils_the_builtins_spoils_its_own_result_only() -> None:
    spoil = "JSON.stringify = JSON.parse = Promise.prototype.then = () => 'x'; Map.prototype.get = null;"
    assert run(f"(p) => {{ {spoil} return p }}", {"a": 1}) == {"a": 1}
    assert run(f"async (p) => {{ {spoil} return p }}", {"a": 1}) == {"a": 1}


def test_console_goes_to_the_host_up_to_the_limit() -> None:
    host = RecordingHost()
    source = "(p) => { console.log('a', {b: 1}, 2n); console.error(new TypeError('t')); console.warn('x'.repeat(99)) }"
    assert run(source, host=host, options='{"log": 40}') is None
    lines = [json.loads(text) for kind, text in host.requests if kind == "log"]
    assert lines == [["log", 'a {"b":1} 2'], ["error", "TypeError: t"], ["warn", "x" * 15]]


def test_denied_globals_are_gone() -> None:
    names = "typeof Atomics + typeof SharedArrayBuffer + typeof Map"
    assert run(f"() => {names}", options='{"log": 1, "deny": ["Atomics", "SharedArrayBuffer"]}') == (
        "undefinedundefinedfunction"
    )


def test_nothing_of_the_prelude_is_left_in_the_global_object() -> None:
    names = set(run("() => Object.getOwnPropertyNames(globalThis)"))
    bare = set(json.loads(Context().eval("JSON.stringify(Object.getOwnPropertyNames(globalThis))")))
    assert names - bare == {"console", "require", "__exports__", "__module__"}
    plain = set(run("() => Object.getOwnPropertyNames(this)"))
    assert plain - bare == set()


@pytest.mark.parametrize(
    ("source", "needed"),
    [("p => p.a + 1", False), ("p => Array.isArray(p)", False), ("() => console.log(1)", True), ("() => 10n", True),
     ("() => new Uint16Array(1)", True), ("() => eval(p.code)", True), ("p => p.mapping", False)],
)  # fmt: skip
def test_the_second_part_is_evaluated_at_once_only_where_it_is_used(source: str, needed: bool) -> None:
    assert is_needed(program(source)) is needed


def test_one_expression_makes_the_same_function() -> None:
    made = Context().eval(prelude_source(Program("f", "x", arguments=("a",), options='{"log": 1}')))
    assert made("ready", "f") == "there is no function f"


@pytest.mark.parametrize("length", [10, 10_000, 1_000_000])
def test_long_results_and_errors_of_a_script_that_logs(length: int) -> None:
    assert run(f"() => {{ console.log('x'); return 'y'.repeat({length}) }}") == "y" * length
    for log in ("", "console.log('x');"):
        with pytest.raises(EngineError) as caught:
            run(f"() => {{ {log} throw new Error('y'.repeat({length})) }}")
        assert (caught.value.stage, caught.value.message) == ("execute", "y" * min(length, 2000))
