"""The known ways from JavaScript to Python are closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal.javascript import EngineError, Limits
from portal.javascript.engines.js2py.engine import Js2PyEngine
from portal.javascript.engines.js2py.hardening import load
from tests.support.javascript import PATIENT, no_host, program


def run(source: str, limits: Limits = PATIENT) -> Any:
    engine = Js2PyEngine()
    return json.loads(engine.call(engine.compile(program(source), limits), "{}", limits, no_host))


# CVE-2024-28397 as it was published, without the command at its end
CVE_2024_28397 = """
function f() {
  var hacked, bymarve, n11;
  hacked = Object.getOwnPropertyNames({});
  bymarve = hacked.__getattribute__;
  n11 = bymarve("__getattribute__");
  return n11("__class__").__base__.__subclasses__().length;
}
"""


@pytest.mark.parametrize(
    "source",
    [
        CVE_2024_28397,
        "function f() { return Object.getOwnPropertyNames({}).__getattribute__('__class__').toString() }",
        "function f() { return new ArrayBuffer(8).__class__.__base__ }",
        "function f() { return new Uint8Array(8).__class__ }",
        "function f() { return Math.sqrt(-1).real.__class__.__base__ }",
        "function f() { return Boolean.prototype.toString.call({}).__class__.x }",
        "function f() { return Boolean.prototype.valueOf.call(f).__globals__.x }",
        "function f() { return f.func_globals.x + f.__globals__.x }",
        "function f() { return f.constructor('return 1')() }",
        "function f() { return eval('1') }",
        "function f() { return Function('return 1')() }",
        "function f() { return console.__class__.__base__ }",
        "pyimport os\nfunction f() { return os.getpid() }",
        "function f() { return JSON.parse('{}').__class__.__base__ }",
        "function f() { return [].__class__.__base__ + ''.__class__.__base__ }",
        "function f() { return arguments.callee.code.__code__ }",
    ],
)
def test_an_escape_fails(source: str) -> None:
    with pytest.raises(EngineError) as caught:
        run(source)
    assert caught.value.stage in ("execute", "syntax", "analysis", "compile")


def test_what_was_replaced_still_works() -> None:
    assert run("function f() { return Object.getOwnPropertyNames({a: 1, b: 2}) }") == ["a", "b"]
    assert run("function f() { return Object.getOwnPropertyNames({}) instanceof Array }") is True
    assert run("function f() { return [Math.sqrt(9), String(Math.sqrt(-1))] }") == [3, "NaN"]
    assert run("function f() { return [true.toString(), new Boolean(false).toString(), true.valueOf()] }") == [
        "true",
        "false",
        True,
    ]
    assert run("function f() { return /a(b)/.exec('ab')[1] }") == "b"


def test_no_builtin_hands_out_a_python_object() -> None:
    """Call every built-in function with odd arguments; what comes back is a value of JavaScript."""
    source = """
function f() {
  var seen = [], queue = [Object, Array, String, Number, Boolean, RegExp, Date, Math, JSON, Error, parseInt, escape];
  var odd = [undefined, -1, 'x', {}], bad = [];
  while (queue.length && seen.length < 250) {
    var at = queue.pop();
    if (at === null || (typeof at !== 'object' && typeof at !== 'function') || seen.indexOf(at) >= 0) continue;
    seen.push(at);
    var names = Object.getOwnPropertyNames(at);
    for (var i = 0; i < names.length; i++) {
      var member;
      try { member = at[names[i]] } catch (e) { continue }
      queue.push(member);
      if (typeof member !== 'function') continue;
      for (var j = 0; j < odd.length; j++) {
        try {
          var result = member.call(odd[j], odd[(j + 1) % odd.length]);
          if (Object.prototype.toString.call(result).indexOf('PyObjectWrapper') >= 0) bad.push(names[i]);
        } catch (e) {}
      }
    }
  }
  return {seen: seen.length, bad: bad};
}
"""
    found = run(source, Limits(time=100.0))
    assert found["bad"] == []
    assert found["seen"] > 100


def test_plain_calls_get_the_global_object_of_their_own_program() -> None:
    engine = Js2PyEngine()
    source = "var mine = %d; function f() { return (function () { return this.mine })() }"
    first, second = (engine.compile(program(source % number), PATIENT) for number in (1, 2))
    assert [engine.call(one, "{}", PATIENT, no_host) for one in (first, second, first)] == ["1", "2", "1"]


def test_it_is_loaded_once() -> None:
    assert load() is load()
