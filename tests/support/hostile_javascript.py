"""Hostile programs. Each is `function f(p)`, an expression, or code that runs when it is loaded.

A program names how it may end: the stages of the error, or "ok" where it only tries to reach something that is not
there. Those that loop in native code can be stopped only by ending a process; trusted code does not claim to stop them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["PROGRAMS", "Hostile", "as_es5"]


class Hostile(NamedTuple):
    name: str
    source: str
    ends: frozenset[str]
    native: bool = False


def as_es5(source: str) -> str:
    """Return a program as ECMAScript 5.1, as far as its arrow at the start and its declarations go."""
    source = re.sub(r"\b(?:const|let)\b", "var", source)
    if source.startswith("() => {"):
        return f"function f() {source[6:]}"
    return f"function f() {{ return {source[6:]} }}" if source.startswith("() => ") else source


def _row(name: str, source: str, ends: str, native: bool = False) -> Hostile:
    return Hostile(name, source, frozenset(ends.split()), native)


PROGRAMS = [
    # loops
    _row("for", "() => { for (;;) {} }", "timeout"),
    _row("while", "() => { while (true) {} }", "timeout"),
    _row("do", "() => { let i = 0; do { i++ } while (i >= 0) }", "timeout"),
    _row("at load", "for (;;) {}\nfunction f() {}", "timeout"),
    _row("catch", "() => { for (;;) { try { for (;;) {} } catch (e) {} } }", "timeout"),
    _row("finally continue", "() => { for (;;) { try { for (;;) {} } finally { continue } } }", "timeout"),
    _row("finally return", "function f() { try { for (;;) {} } finally { return f() } }", "timeout stack"),
    _row("finally throw",
         "() => { for (;;) { try { try { for (;;) {} } finally { throw 1 } } catch (e) {} } }", "timeout"),
    _row("finally break", "() => { for (;;) { a: try { for (;;) {} } finally { break a } } }", "timeout"),
    _row("generator", "() => { function* g() { for (;;) yield 1 }; for (const x of g()); }", "timeout"),
    _row("iterator", "() => [...{[Symbol.iterator]: () => ({next: () => ({value: 1})})}]", "timeout memory"),
    _row("getter of the result", "() => ({get a() { for (;;) {} }})", "timeout"),
    _row("toJSON of the result", "() => ({toJSON() { for (;;) {} }})", "timeout"),
    _row("toString", "() => `${{toString() { for (;;) {} }}}`", "timeout"),
    _row("valueOf", "() => +{valueOf() { for (;;) {} }}", "timeout"),
    _row("proxy", "() => new Proxy({}, {ownKeys() { for (;;) {} }})", "timeout"),
    _row("setter", "() => { const o = {set a(v) { for (;;) {} }}; o.a = 1 }", "timeout"),
    _row("message of an error", "() => { throw {get message() { for (;;) {} }, toJSON() { for (;;) {} }} }", "timeout"),
    _row("name of an error",
         "() => { const e = new Error(); Object.defineProperty(e, 'name', {get() { for (;;) {} "
         "}}); throw e }", "timeout"),
    _row("clock", "() => { const end = Date.now() + 1e9; while (Date.now() < end); }", "timeout"),
    _row("sort", "() => Array.from({length: 1e6}, (_, i) => -i).sort((a, b) => { for (;;) {} })", "timeout memory"),
    _row("replace", "() => 'aaaa'.replace(/a/g, () => { for (;;) {} })", "timeout"),
    _row("bind", "() => { let g = () => 1; for (;;) g = g.bind(null) }", "timeout memory"),
    _row("labels", "() => { a: for (;;) { b: for (;;) { continue a } } }", "timeout"),
    # promises
    _row("await", "async () => { for (;;) await null }", "timeout"),
    _row("then", "() => new Promise(r => { (function l() { Promise.resolve().then(l) })() })", "timeout"),
    _row("microtasks", "() => new Promise(() => { (function l() { queueMicrotask(l) })() })", "timeout execute"),
    _row("job", "() => Promise.resolve().then(() => { for (;;) {} })", "timeout"),
    _row("thenable", "() => ({get then() { for (;;) {} }})", "timeout"),
    _row("thenables", "() => { const t = {then(r) { r(t) }}; return t }", "timeout"),
    _row("flood of promises", "async () => { const a = []; for (;;) a.push(new Promise(() => {})) }", "timeout memory"),
    _row("never settles", "() => new Promise(() => {})", "execute"),
    _row("async generator",
         "async () => { async function* g() { for (;;) yield 1 }; for await (const x of g()); }", "timeout"),
    # regular expressions
    _row("nested quantifiers", "() => /(a+)+$/.test('a'.repeat(40) + 'b')", "timeout"),
    _row("alternatives", "() => /^(a|aa)+$/.test('a'.repeat(60) + 'b')", "timeout"),
    _row("backreference", "() => /(.*)*\\1x/.test('a'.repeat(40))", "timeout ok"),
    _row("lookbehind", "() => /(?<=(a+)+)b/.test('a'.repeat(3e4))", "timeout ok"),
    _row("many groups",
         "() => new RegExp('(?:a?){5000}a{5000}').test('a'.repeat(5000))", "timeout execute stack memory"),
    _row("huge pattern", "() => new RegExp('(' .repeat(1e5) + ')'.repeat(1e5))", "execute stack memory timeout"),
    # memory
    _row("array", "() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }", "memory timeout"),
    _row("doubling", "() => { let s = 'x'; for (;;) s += s }", "memory execute timeout"),
    _row("repeat", "() => 'x'.repeat(2 ** 29).length", "memory execute"),
    _row("padding", "() => 'x'.padStart(2 ** 29, 'ab').length", "memory execute timeout", True),
    _row("spread", "() => { let a = [1]; for (;;) a = [...a, ...a] }", "memory timeout"),
    _row("concat", "() => { let a = [1]; for (;;) a = a.concat(a) }", "memory timeout"),
    _row("fill", "() => new Array(2 ** 32 - 2).fill(0)", "memory timeout", True),
    _row("sparse", "() => { const a = []; a[2 ** 32 - 2] = 1; return a.length }", "ok memory"),
    _row("typed array", "() => new Uint8Array(2 ** 30).length", "memory execute"),
    _row("typed arrays",
         "() => { const a = []; for (;;) a.push(new Float64Array(1e5).fill(1)) }", "memory execute timeout"),
    _row("buffer",
         "() => { const b = new ArrayBuffer(8, {maxByteLength: 2 ** 30}); b.resize(2 ** 30); "
         "return b.byteLength }", "memory execute ok"),
    _row("map", "() => { const m = new Map(); for (let i = 0;; i++) m.set(i, 'x'.repeat(100) + i) }", "memory timeout"),
    _row("set", "() => { const s = new Set(); for (let i = 0;; i++) s.add('x'.repeat(100) + i) }", "memory timeout"),
    _row("properties", "() => { const o = {}; for (let i = 0;; i++) o['k' + i] = i }", "memory timeout"),
    _row("closures", "() => { let f = null; for (;;) { const g = f; f = () => g } }", "memory timeout"),
    _row("symbols", "() => { const a = []; for (;;) a.push(Symbol('x'.repeat(1000) + a.length)) }", "memory timeout"),
    _row("power", "() => 2n ** (10n ** 9n)", "memory execute timeout", True),
    _row("products", "() => { let n = 3n; for (;;) n *= n }", "memory execute timeout", True),
    _row("factorial", "() => { let n = 1n; for (let i = 1n;; i++) n *= i }", "memory execute timeout"),
    _row("split", "() => 'x'.repeat(1e6).split('').map(c => c.repeat(1000)).length", "memory timeout"),
    _row("finalizers",
         "() => { const r = new FinalizationRegistry(() => {}); for (;;) r.register({}, 1) }", "memory timeout"),
    _row("arguments", "() => Math.max.apply(null, new Array(1e7).fill(1))", "memory stack execute timeout"),
    # native loops
    _row("join", "() => new Array(1e9).join('x')", "memory execute timeout", True),
    _row("from", "() => Array.from({length: 2 ** 32})", "memory execute timeout", True),
    _row("indexOf", "() => Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)", "timeout", True),
    _row("includes", "() => Array.prototype.includes.call({length: 2 ** 53 - 1}, 1)", "timeout", True),
    _row("reverse", "() => Array.prototype.reverse.call({length: 2 ** 53 - 1})", "timeout", True),
    _row("number", "() => BigInt('9'.repeat(3e6)) % 7n", "timeout memory execute ok", True),
    # the stack
    _row("recursion", "function f() { return f() + 1 }", "stack"),
    _row("mutual recursion", "() => { const a = () => b() + 1, b = () => a() + 1; return a() }", "stack"),
    _row("recursive toString", "() => { const o = {toString() { return `${o}` }}; return `${o}` }", "stack"),
    _row("recursive proxy", "() => { const p = new Proxy({}, {get: (t, k) => p[k]}); return p.x }", "stack"),
    _row("recursive toJSON", "() => { const o = {toJSON() { return JSON.stringify(o) }}; return o }", "stack convert"),
    _row("recursive constructor", "() => { class A { constructor() { new A() } } new A() }", "stack"),
    _row("recursive replace", "() => { const g = s => s.replace(/./g, g); return g('ab') }", "stack timeout"),
    _row("recursive sort", "() => { const g = () => [2, 1].sort(g); return g() }", "stack timeout"),
    _row("nested source", "() => eval('['.repeat(1e5))", "stack execute memory timeout"),
    _row("nested JSON", "() => JSON.parse('['.repeat(1e5))", "stack execute memory timeout"),
    _row("nested result",
         "() => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a "
         "}", "stack convert execute memory timeout"),
    _row("long source", "() => eval('1' + '+1'.repeat(1e6))", "stack execute memory timeout ok"),
    # results and logs
    _row("long result", "() => 'x'.repeat(3e6)", "memory"),
    _row("cycle", "() => { const a = []; a.push(a); return a }", "convert"),
    _row("shared result",
         "() => { let a = ['x']; for (let i = 0; i < 40; i++) a = [a, a]; return a }", "memory timeout"),
    _row("log", "() => { for (;;) console.log('x'.repeat(100)) }", "timeout"),
    _row("long line", "() => { console.log('x'.repeat(4e6)); return 1 }", "ok memory"),
    _row("long error", "() => { throw new Error('x'.repeat(2e6)) }", "execute memory"),
    _row("thrown proxy", "() => { throw new Proxy({}, {get() { throw 1 }, getPrototypeOf() { throw 1 }}) }", "execute"),
    _row("thrown null", "() => { throw null }", "execute"),
    # reaching for what is not there
    _row("process", "() => process.exit(1)", "execute"),
    _row("constructor", "() => this.constructor.constructor('return process')()", "execute"),
    _row("function constructor", "() => (function () {}).constructor('for (;;) {}')()", "timeout"),
    _row("require", "() => require('fs')", "execute"),
    _row("import", "() => import('fs')", "execute"),
    _row("import of a file", "() => import('/etc/passwd')", "execute"),
    _row("std", "() => std.exit(1)", "execute"),
    _row("WebAssembly",
         "() => typeof WebAssembly === 'undefined' ? 1 : new WebAssembly.Memory({initial: "
         "65536})", "ok execute memory"),
    _row("shared memory", "() => new SharedArrayBuffer(2 ** 30)", "execute memory"),
    _row("Atomics", "() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", "execute timeout"),
    _row("stack of an error",
         "() => { Error.prepareStackTrace = () => { for (;;) {} }; throw new Error('x') }", "execute timeout"),
    _row("builtins", "() => { JSON.stringify = JSON.parse = () => { for (;;) {} }; return 1 }", "ok"),
    _row("frozen", "() => { Object.freeze(Object.prototype); Object.freeze(globalThis); return 1 }", "ok"),
    _row("prelude", "() => { __portal_invoke__('x') }", "execute"),
    # kinds that reports on other sandboxes name
    _row("replacer", "() => JSON.stringify({a: 1}, () => { for (;;) {} })", "timeout"),
    _row("toPrimitive", "() => `${{[Symbol.toPrimitive]() { for (;;) {} }}}`", "timeout"),
    _row("hasInstance", "() => ({}) instanceof {[Symbol.hasInstance]() { for (;;) {} }}", "timeout"),
    _row("species",
         "() => { class A extends Array { static get [Symbol.species]() { for (;;) {} } } "
         "return new A(1, 2).map(x => x) }", "timeout"),
    _row("toStringTag", "() => ({get [Symbol.toStringTag]() { for (;;) {} }}).toString()", "timeout"),
    _row("iterator return",
         "() => { const [a] = {[Symbol.iterator]: () => ({next: () => ({done: false}), return() { for (;;) {} }})} }",
         "timeout"),
    _row("generator return",
         "() => { function* g() { try { yield 1 } finally { for (;;) {} } } const i = g(); i.next(); i.return() }",
         "timeout"),
    _row("proxied keys",
         "() => new Proxy({}, {ownKeys: () => new Array(1e7).fill(0).map((_, i) => 'k' + i), "
         "getOwnPropertyDescriptor: () => ({value: 1, enumerable: true, configurable: true})})",
         "memory timeout", True),
    _row("doubled padding",
         "() => { let s = 'x'; for (let i = 0; i < 60; i++) s = s.padEnd(s.length * 2, s); return s.length }",
         "memory timeout execute", True),
    _row("JSON bomb", "() => JSON.parse('[' + '{\"a\":[1,2,3]},'.repeat(3e6) + '0]').length",
         "memory timeout execute", True),
    _row("races of promises",
         "async () => { for (;;) await Promise.race(new Array(1e4).fill(new Promise(() => {})).concat([0])) }",
         "timeout memory"),
    _row("after the return", "() => { (async () => { await null; for (;;) {} })(); return 1 }", "ok timeout"),
    _row("jobs after the return", "() => { const f = () => Promise.resolve().then(f); f(); return 1 }", "ok timeout"),
    _row("buffer slices", "() => { const a = []; for (;;) a.push(new ArrayBuffer(1 << 20).slice(0)) }",
         "memory timeout execute", True),
    _row("buffers that grow",
         "() => { const a = []; for (;;) { const b = new ArrayBuffer(0, {maxByteLength: 1 << 26}); b.resize(1 << 26); "
         "a.push(b) } }", "memory timeout execute", True),
    _row("comparisons", "() => { const s = 'x'.repeat(1 << 16); let n = 0; for (;;) n += s.localeCompare(s + n) }",
         "timeout memory execute", True),
    _row("toJSON of all objects",
         "() => { Object.prototype.toJSON = function () { return {a: this} }; return {b: 1} }",
         "stack convert timeout ok"),
    _row("then of all objects", "() => { Object.prototype.then = () => { for (;;) {} }; return {b: 1} }", "timeout ok"),
    _row("raw JSON", "() => JSON.rawJSON ? {a: JSON.rawJSON('1e999')} : 1", "convert ok"),
    _row("frames of an error",
         "() => { Error.prepareStackTrace = (e, s) => s[0].getThis(); return typeof new Error().stack }", "ok execute"),
    _row("constructor of Object", "() => Object.constructor.constructor('return this')().process.exit()", "execute"),
    _row("own descriptors", "() => Object.getOwnPropertyDescriptors(globalThis).process.value.exit()", "execute"),
    # scripts that spoil the description of their own error
    _row("no description", "() => { JSON.stringify = () => '{}'; throw 1 }", "execute"),
    _row("no JSON", "() => { JSON.stringify = () => 'x'; throw new Error('y') }", "execute"),
    _row("forged stage",
         "() => { JSON.stringify = () => '{\"stage\": \"own\", \"name\": 5, \"message\": [1]}'; throw new Error('y') }",
         "execute"),
    _row("forged types", "() => { JSON.stringify = () => '{\"stage\": [], \"name\": null}'; throw new Error('y') }",
         "execute"),
    _row("a number as description", "() => { JSON.stringify = () => 5; throw new Error('y') }", "execute"),
    _row("an object as result", "async () => { JSON.stringify = () => ({}); return 1 }", "execute convert ok"),
    _row("an empty result", "async () => { JSON.stringify = () => ''; return 1 }", "execute convert ok"),
    _row("forged requests", "async () => { JSON.stringify = () => '~'; return 1 }", "execute convert ok"),
    _row("toJSON of errors", "() => { Object.prototype.toJSON = () => 'x'; throw new Error('y') }", "execute"),
]  # fmt: skip
