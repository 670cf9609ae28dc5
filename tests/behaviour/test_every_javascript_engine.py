"""The same code at every JavaScript engine and trust level: equal results, and equal stages of errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Consumer, FunctionError, JavaScriptError, JavaScriptPortal, JSFunction, ValidationError
from portal.javascript import Limits, PoolSettings, Sandbox
from portal.javascript.engines.registry import find_engine
from portal.javascript.sandbox import Isolation

#: By id: engine, trust, and the isolation that the sandbox asks for.
PLACES = {
    "quickjs-untrusted": ("quickjs", False, None),
    "quickjs-trusted": ("quickjs", True, None),
    "quickjs-wasm-untrusted": ("quickjs-wasm", False, "wasm"),
    "quickjs-wasm-hostile": ("quickjs-wasm", False, "wasm-process"),
    "quickjs-wasm-trusted": ("quickjs-wasm", True, None),
    "js2py-untrusted": ("js2py", False, None),
    "js2py-trusted": ("js2py", True, None),
    "v8-untrusted": ("v8", False, None),
}
LIMITS = Limits(time=60.0, memory=128 * 2**20)

ES5: list[tuple[str, str, dict[str, Any], Any]] = [
    ("sum", "return p.a + p.b", {"a": 1, "b": 2}, 3),
    ("fractions", "return p.a + p.b", {"a": 0.1, "b": 0.2}, 0.1 + 0.2),
    ("large numbers", "return p.a", {"a": 1e300}, 1e300),
    ("exact integers", "return p.a", {"a": 2**53}, 2**53),
    ("negative zero", "return -0 * p.a", {"a": 1}, 0),
    ("text", "return p.s + '!'", {"s": "π 漢字 😀"}, "π 漢字 😀!"),
    ("control characters", "return p.s", {"s": "\x00\n\u2028"}, "\x00\n\u2028"),
    ("length of text", "return p.s.length", {"s": "éa"}, 2),
    ("booleans", "return [p.t && true, !p.t]", {"t": True}, [True, False]),
    ("null", "return p.n === null", {"n": None}, True),
    ("a missing parameter", "return typeof p.x", {}, "undefined"),
    ("undefined", "return undefined", {}, None),
    ("nothing", "", {}, None),
    ("undefined members", "return {a: undefined, b: null, c: 1}", {}, {"b": None, "c": 1}),
    ("undefined items", "return [undefined, null, function () {}]", {}, [None, None, None]),
    ("holes", "return [1, , 3]", {}, [1, None, 3]),
    ("nested data", "return p.v", {"v": {"a": [1, {"b": []}], "c": {}}}, {"a": [1, {"b": []}], "c": {}}),
    ("order of members", "return Object.keys(p.v).join()", {"v": {"z": 1, "a": 2}}, "z,a"),
    ("a loop", "var t = 0; for (var i = 0; i < p.n; i++) t += i; return t", {"n": 100}, 4950),
    ("for in", "var k, r = []; for (k in p.v) r.push(k); return r", {"v": {"x": 1, "y": 2}}, ["x", "y"]),
    ("while", "var n = p.n; while (n > 10) n /= 2; return n", {"n": 100}, 6.25),
    ("switch", "switch (p.k) { case 'a': return 1; case 'b': return 2; default: return 3 }", {"k": "b"}, 2),
    ("labels", "a: for (;;) { for (;;) { break a } } return 1", {}, 1),
    ("try", "try { throw new TypeError('x') } catch (e) { return e.name + e.message }", {}, "TypeErrorx"),
    ("finally", "var r = []; try { r.push(1) } finally { r.push(2) } return r", {}, [1, 2]),
    ("closures", "function c() { var n = 0; return function () { return ++n } } var f = c(); f(); return f()", {}, 2),
    ("recursion", "function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2) } return f(p.n)", {"n": 10}, 55),
    ("a member named __proto__", "return [Object.keys(p.v), p.v.x === undefined, p.v]",
     {"v": {"__proto__": {"x": 1}, "a": 2}}, [["__proto__", "a"], True, {"__proto__": {"x": 1}, "a": 2}]),
    ("prototypes", "function A() {} A.prototype.x = 1; return new A().x", {}, 1),
    ("accessors", "return {get a() { return 7 }}.a", {}, 7),
    ("array methods", "return p.v.map(function (x) { return x * 2 }).filter(function (x) { return x > 2 })",
     {"v": [1, 2]}, [4]),
    ("reduce", "return p.v.reduce(function (a, b) { return a + b }, 0)", {"v": [1, 2, 3]}, 6),
    ("sort", "return p.v.sort(function (a, b) { return a - b })", {"v": [3, 1, 2]}, [1, 2, 3]),
    ("strings", "return p.s.split(',').reverse().join('-').toUpperCase()", {"s": "a,b"}, "B-A"),
    ("regular expressions", "return p.s.replace(/(\\d+)/g, '<$1>')", {"s": "a1b22"}, "a<1>b<22>"),
    ("parsing", "return [parseInt('12px', 10), parseFloat('1.5'), Number('')]", {}, [12, 1.5, 0]),
    ("mathematics", "return [Math.max(1, 2), Math.floor(-1.5), Math.round(2.5)]", {}, [2, -2, 3]),
    ("bits", "return [5 & 3, 5 | 3, 5 ^ 3, ~5, 1 << 4, -1 >>> 28]", {}, [1, 7, 6, -6, 16, 15]),
    ("JSON", "return JSON.parse(JSON.stringify({a: [1, 'x']}))", {}, {"a": [1, "x"]}),
    ("toJSON", "return {toJSON: function () { return 'own' }}", {}, "own"),
    ("a date", "return new Date(0)", {}, "1970-01-01T00:00:00.000Z"),
    ("sparse arrays", "var a = []; a[3] = 1; return a", {}, [None, None, None, 1]),
    ("a getter", "return {get a() { return p.n }}", {"n": 4}, {"a": 4}),
    ("NUL", "return p.s.length + 'a\\u0000b'", {"s": "\x00"}, "1a\x00b"),
    ("negative zeros", "return [-0, {a: -0}]", {}, [0, {"a": 0}]),
    ("wrapped values", "return [new Boolean(false), new Number(3), new String('x')]", {}, [False, 3, "x"]),
    ("integers over 2^53", "return [p.v, -p.v, Math.pow(2, 63), 1e20]", {"v": 2**62}, [2**62, -(2**62), 2**63, 10**20]),
    ("numbers without digits", "return [1e21, 1e300]", {}, [1e21, 1e300]),
    ("typeof", "return [typeof 1, typeof '', typeof {}, typeof undefined]", {},
     ["number", "string", "object", "undefined"]),
    ("discount", "var r = {bronze: 5, silver: 10}[p.tier] || 0; return p.amount * (100 - r) / 100",
     {"tier": "bronze", "amount": 100}, 95),
]  # fmt: skip

ES2023: list[tuple[str, str, dict[str, Any], Any]] = [
    ("arrow", "p => p.a + 1", {"a": 1}, 2),
    ("destructuring", "({ a, b = 2, ...rest }) => [a, b, rest]", {"a": 1, "c": 3}, [1, 2, {"c": 3}]),
    ("template", "p => `${p.a}-${p.b}`", {"a": 1, "b": "x"}, "1-x"),
    ("class", "p => { class A { #n = p.n; get n() { return this.#n } } return new A().n }", {"n": 4}, 4),
    ("spread", "p => [...p.v, ...p.v]", {"v": [1]}, [1, 1]),
    ("optional chaining", "p => [p.a?.b, p.x?.y ?? 'none']", {"a": {"b": 1}}, [1, "none"]),
    ("generators", "() => { function* g() { yield 1; yield 2 } return [...g()] }", {}, [1, 2]),
    ("async", "async p => { await null; return p.a }", {"a": 1}, 1),
    ("all promises", "p => Promise.all(p.v.map(async x => x * 2))", {"v": [1, 2]}, [2, 4]),
    ("maps and sets", "() => [new Map([['a', 1]]), new Set([1, 1])]", {}, [{"a": 1}, [1]]),
    ("big integers", "() => 2n ** 64n", {}, 2**64),
    ("a date that is none", "() => [new Date(NaN)]", {}, [None]),
    ("big integers over 2^53", "() => [2n ** 64n + 1n, 7n, JSON.stringify(2n ** 64n)]", {},
     [2**64 + 1, 7, "18446744073709551616"]),
    ("typed arrays", "() => [new Uint8Array([1, 2]), new Int16Array([-1])]", {}, ["AQI=", [-1]]),
    ("new array methods", "p => [p.v.at(-1), p.v.includes(2), p.v.flat(), p.v.toSorted()]", {"v": [2, 1]},
     [1, True, [2, 1], [1, 2]]),
    ("exponents", "p => p.a ** 2", {"a": 3}, 9),
    ("named groups", "p => /(?<y>\\d+)-/.exec(p.s).groups.y", {"s": "2026-11"}, "2026"),
    ("entries", "p => Object.fromEntries(Object.entries(p.v).map(([k, v]) => [k, v + 1]))", {"v": {"a": 1}}, {"a": 2}),
    ("numeric separators", "() => 1_000", {}, 1000),
    ("for of", "p => { let t = 0; for (const x of p.v) t += x; return t }", {"v": [1, 2]}, 3),
    ("a default export", "export default p => p.a", {"a": 5}, 5),
    ("proxies", "() => new Proxy({}, { get: (t, k) => `got ${String(k)}` }).x", {}, "got x"),
]  # fmt: skip

ERRORS: list[tuple[str, str, str]] = [
    ("an exception", "function f() { throw new RangeError('far') }", "execute"),
    ("a thrown object", "function f() { throw {code: 5} }", "execute"),
    ("a missing name", "function f() { return missing }", "execute"),
    ("an error at load", "throw new Error('x'); function f() {}", "compile"),
    ("no function", "var f = 1", "compile"),
    ("broken syntax", "function f( {", "syntax"),
    ("not a number", "function f() { return 0 / 0 }", "convert"),
    ("infinity", "function f() { return [1 / 0] }", "convert"),
    ("a function", "function f() { return f }", "convert"),
    ("a cycle", "function f() { var a = []; a.push(a); return a }", "convert"),
    ("recursion", "function f() { return f() + 1 }", "stack"),
]


class Place:
    def __init__(self, engine: str, trusted: bool, isolation: Isolation | None) -> None:
        if not find_engine(engine).is_available():
            pytest.skip(f"{engine} is not installed")
        self.engine, self.trusted = engine, trusted
        self.modern = find_engine(engine).capabilities().edition > 5
        pool = PoolSettings(min_size=1, max_size=1)
        sandbox = Sandbox("trusted", limits=LIMITS, pool=pool, isolation=isolation)
        self.portal = JavaScriptPortal(engine=engine, sandbox=sandbox)
        self.consumer = Consumer([self.portal])

    def call(self, source: str, params: dict[str, Any]) -> Any:
        address = self.portal.apply(JSFunction(source, "f", trusted=self.trusted))
        assert address.segments[0] == self.engine
        try:
            return self.consumer.call_at(address, params)
        finally:
            self.portal.remove(address)


@pytest.fixture(scope="module", params=PLACES.values(), ids=list(PLACES))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(*request.param)
    yield made
    made.consumer.close()
    made.portal.close()


@pytest.mark.parametrize(("body", "params", "expected"), [row[1:] for row in ES5], ids=[row[0] for row in ES5])
def test_ecmascript_5(place: Place, body: str, params: dict[str, Any], expected: Any) -> None:
    result = place.call(f"function f(p) {{ {body} }}", params)
    assert result == expected
    assert type(result) is type(expected) or isinstance(expected, float)


@pytest.mark.parametrize(("source", "params", "expected"), [row[1:] for row in ES2023], ids=[row[0] for row in ES2023])
def test_ecmascript_2023_or_an_error_with_the_engines_that_run_it(
    place: Place, source: str, params: dict[str, Any], expected: Any
) -> None:
    if place.modern:
        assert place.call(source, params) == expected
        return
    with pytest.raises(JavaScriptError) as caught:
        place.call(source, params)
    assert caught.value.stage in ("syntax", "execute")
    assert caught.value.stage == "execute" or "quickjs" in caught.value.message


@pytest.mark.parametrize(("source", "stage"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_errors(place: Place, source: str, stage: str) -> None:
    with pytest.raises(JavaScriptError) as caught:
        place.call(source, {})
    assert caught.value.stage == stage
    assert "portal" not in f"{caught.value.message} {caught.value.js_stack}"


def test_the_line_of_an_error(place: Place) -> None:
    with pytest.raises(JavaScriptError) as caught:
        place.call("function f(p) {\n  var x = 1;\n  null.y;\n}", {})
    if place.modern:
        assert caught.value.line == 3
        assert "f" in caught.value.js_stack


def test_integers_that_a_number_cannot_hold(place: Place) -> None:
    with pytest.raises(ValidationError):
        place.call("function f(p) { return p.a }", {"a": 2**53 + 1})


def test_a_value_of_ten_mebibytes(place: Place) -> None:
    text = "x" * (10 * 2**20)
    assert place.call("function f(p) { return p.s }", {"s": text}) == text


def test_a_lone_surrogate_is_rejected_on_both_ways(place: Place) -> None:
    with pytest.raises(ValidationError, match="lone surrogate"):
        place.call("function f(p) { return p.s }", {"s": "\ud800"})
    with pytest.raises(FunctionError, match="lone surrogate"):
        place.call("function f(p) { return '\\ud800' }", {})


def test_health_names_the_place(place: Place) -> None:
    place.call("function f() { return 1 }", {})
    (row,) = place.portal.health()["engines"]
    assert row["engine"].startswith(place.engine)
    assert row["trust"] == ("trusted" if place.trusted else "untrusted")
    assert row["stopped"]["loop"] == "timeout"


def test_there_are_enough_tests() -> None:
    assert len(ES5) + len(ES2023) + len(ERRORS) >= 60
