"""The prelude: JavaScript that every engine of ECMAScript 2020 and later evaluates before the user's source.

It returns one function `(op, text) -> text`, by which Python drives the script:

    call, parameters            call the user's function; return a reply
    check                       return "" if each null of the last result is null; an error if one is NaN or infinity
    poll                        return the reply of a call that waits for promises
    outbox                      return the requests to the host since the last time, as JSON: [[id, kind, text], ...]
    reseed, 8 hex digits        seed Math.random, for a state that was copied; nothing if the options have a seed
    begin, hex digits           begin a call with random digits; only where the options have "setup"
    resolve, [id, ok, text]     settle the promise of a request
    module, name                register the module that was assigned to `__module__`
    ready, name                 "" if there is a function, otherwise the reason
    late, source                evaluate the second part, and return the reply that waits for it

A reply is JSON text, in which a BigInt ends in "e0"; or "!" and an error as JSON; or "?" while promises are pending. A
reply begins with "~" if there is something in the outbox. The reply "+" asks for the second part.

A fresh global object for each call has to be cheap, and parsing is what costs. So the core calls a function that
returns JSON data, and does nothing else. The second part does the rest. It is evaluated when it is first needed. The
prelude runs in the user's global object, so a script can spoil its own results. It cannot reach anything else.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .program import Program

__all__ = ["HIDDEN", "MARKS", "core_source", "is_needed", "late_source", "prelude_source"]

#: Names of functions in a stack; from there on the frames are the prelude's.
MARKS = ("__portal_invoke__", "__portal_encode__")
#: The name of a function of the prelude that user code calls.
HIDDEN = "__portal_require__"

_CORE = r"""(function (core, parse, evaluate) {
"use strict";
let entry;
globalThis.__default__ = undefined;
DELETE
return function __portal_invoke__(op, value) {
  if (op === "call") {
    op = "execute";
    core.logged = 0;
    try {
      value = parse(value);
      core.value = value = entry(ARGUMENTS);
      if (typeof value === "object" && value !== null && typeof value.then === "function") op = "wait";
      else {
        op = "convert";
        const found = core.encode(value);
        if (found !== undefined) return found;
        if (value === undefined) return "null";
        op = "nothing";
      }
    } catch (error) {
      value = error;
    }
  } else if (op === "ready") {
    entry = globalThis.__default__;
    delete globalThis.__default__;
    return typeof entry === "function" ? "" : "there is no function " + value;
  } else if (op === "late") return evaluate(value)(core);
  if (core.more) return core.more(op, value);
  core.op = op;
  core.body = value;
  return "+";
};
})({ encode: JSON.stringify }, JSON.parse, eval)"""

_LATE = r"""(function (core, options, eager) {
"use strict";
const G = globalThis, { defineProperty } = Object;
const { rawJSON, parse, stringify } = JSON, { apply } = Reflect;
const { from } = Array, { isFinite } = Number, { isView } = ArrayBuffer, P = Promise, { then } = P.prototype;
const text = String, Fail = Error, Range = RangeError, Internal = G.InternalError, { join, push } = Array.prototype;
const Bytes = Uint8Array, Buffer = ArrayBuffer, Maps = Map, Sets = Set;
let serial = 0, pending = null, module;
let exact = false, result = "?", outbox = [];
const waiting = new Maps(), modules = new Maps(), loaded = new Maps();
function hidden(target, name, value) {
  defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
}

// the sum of long strings is a rope, which the package quickjs-ng does not know
const glue = (first, second) => apply(join, [first, second], [""]);

// what JSON does not have
class ConvertError extends Fail {}
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
function base64(bytes) {
  const out = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const n = (bytes[i] << 16) | ((bytes[i + 1] || 0) << 8) | (bytes[i + 2] || 0), left = bytes.length - i;
    out.push(alphabet[n >> 18] + alphabet[(n >> 12) & 63] + (left > 1 ? alphabet[(n >> 6) & 63] : "=") +
      (left > 2 ? alphabet[n & 63] : "="));
  }
  return out.join("");
}
// in a result, "e0" tells an exact integer from a number, which has its shortest text: 2 ** 63 is 9223372036854776000
const integer = (value) => rawJSON(text(value) + (exact ? "e0" : ""));
function toJSON(value) {
  if (typeof value === "bigint") return integer(value);
  if (value instanceof Bytes) return base64(value);
  if (value instanceof Buffer) return base64(new Bytes(value));
  if (isView(value) || value instanceof Sets) return from(value);
  if (!(value instanceof Maps)) return integer(value);
  const found = {};
  for (const [key, item] of value) {
    if (typeof key !== "string" && typeof key !== "number") throw new ConvertError("the keys of a Map must be strings");
    defineProperty(found, key, { value: item, writable: true, configurable: true, enumerable: true });
  }
  return found;
}
function finite(key, value) {
  if (typeof value === "number" && !isFinite(value))
    throw new ConvertError(text(value) + (key === "" ? "" : " at " + stringify(key)) + " is not a JSON value");
  return value;
}
function nothing(value) {
  return new ConvertError("a " + typeof value + " is not a JSON value");
}
function __portal_encode__(value) {
  core.value = value;
  exact = true;
  let found;
  try { found = stringify(value); } finally { exact = false; }
  if (found !== undefined) return found;
  if (value === undefined) return "null";
  throw nothing(value);
}
function check() {
  const value = core.value;
  core.value = undefined;
  try { stringify(value, finite); } catch (error) { return describe(error, "convert"); }
  return "";
}

// errors
class HostError extends Fail {
  constructor(data) {
    super(data.message);
    this.name = data.name;
  }
}
function safely(read) {
  try { return text(read()); } catch (_) { return ""; }
}
function describe(error, stage) {
  let name = "Error", message = "", stack = "";
  if (error instanceof Fail) {
    name = safely(() => error.name);
    message = safely(() => error.message);
    stack = safely(() => error.stack);
    if (error instanceof ConvertError) [stage, stack] = ["convert", ""];
    else if (error instanceof HostError) stage = "host";
    else if (error instanceof Range && message === "Maximum call stack size exceeded") stage = "stack";
    else if (Internal && error instanceof Internal && message === "out of memory") stage = "memory";
    else if (Internal && error instanceof Internal && message === "stack overflow") stage = "stack";
  } else {
    message = typeof error === "object" && error !== null
      ? safely(() => stringify(error)) || "[object]" : safely(() => error);
  }
  return glue("!", stringify({ __proto__: null, stage, name, message, stack }));
}

// promises and the host
function done(value) {
  try { return __portal_encode__(value); } catch (error) { return describe(error, "convert"); }
}
function wait(value) {
  const mine = pending = {};
  result = "?";
  apply(then, value instanceof P ? value : P.resolve(value), [
    (found) => { if (pending === mine) result = done(found); },
    (error) => { if (pending === mine) result = describe(error, "execute"); },
  ]);
}
function request(kind, body) {
  const id = ++serial;
  apply(push, outbox, [[id, kind, body]]);
  return new P((resolve, reject) => { waiting.set(id, [resolve, reject]); });
}
function settle(id, ok, body) {
  const both = waiting.get(id);
  waiting.delete(id);
  if (both) ok ? both[0](parse(body)) : both[1](new HostError(parse(body)));
}
function show(value) {
  if (typeof value === "string") return value;
  if (value instanceof Fail) return safely(() => value.name) + ": " + safely(() => value.message);
  let found;
  try { found = stringify(value); } catch (_) {}
  return found === undefined ? safely(() => value) : found;
}
const console = {};
for (const level of ["debug", "log", "info", "warn", "error"])
  console[level] = function (...values) {
    if (core.logged >= options.log) return;
    let line = "";
    for (let i = 0; i < values.length; i++) line += (i ? " " : "") + show(values[i]);
    line = line.slice(0, options.log - core.logged);
    core.logged += line.length + 1;
    apply(push, outbox, [[0, "log", stringify([level, line])]]);
  };

// modules
function __portal_require__(name) {
  name = text(name);
  if (loaded.has(name)) return loaded.get(name).exports;
  const body = modules.get(name);
  if (body === undefined) throw new Fail("there is no module " + stringify(name) + " for this function");
  const found = { exports: {} };
  loaded.set(name, found);
  body(__portal_require__, found, found.exports);
  return found.exports;
}
__portal_require__.default = (name) => {
  const found = __portal_require__(name);
  return found !== null && typeof found === "object" && "default" in found ? found.default : found;
};

// what the host grants
function mulberry(a) {
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math_imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math_imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const Math_imul = Math.imul;
let entropy = "";
function begin(random) {
  entropy = random;
  if (options.seed !== undefined) Math.random = mulberry(options.seed);
}
function extend() {
  const ask = (kind) => (...values) =>
    request(kind, stringify(values.map((value) => (value === undefined ? null : value))));
  if (options.call) {
    const send = ask("call");
    hidden(G, "portal", { call: (address, params) => send(address, params === undefined ? {} : params) });
  }
  if (options.scratch) hidden(G, "scratch", { get: ask("get"), set: ask("set"), delete: ask("delete") });
  if (options.uuid)
    hidden(G, "crypto", {
      randomUUID() {
        if (entropy.length < 32) throw new Fail("crypto.randomUUID may be used 64 times in a call");
        const hex = entropy.slice(0, 12) + "4" + entropy.slice(13, 16) + "89ab"[parseInt(entropy[16], 16) & 3] +
          entropy.slice(17, 32);
        entropy = entropy.slice(32);
        return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
      },
    });
  if (options.now !== undefined) {
    const D = Date, now = options.now;
    const fixed = new Proxy(D, {
      apply: () => new D(now).toString(),
      construct: (target, values, made) => Reflect.construct(target, values.length ? values : [now], made),
      get: (target, name) => (name === "now" ? () => now : Reflect.get(target, name)),
    });
    hidden(D.prototype, "constructor", fixed);
    hidden(G, "Date", fixed);
    delete G.performance;
  }
}
function setup() {
  for (const kind of [BigInt, Maps, Sets, Buffer, Object.getPrototypeOf(Bytes)])
    hidden(kind.prototype, "toJSON", function () { return toJSON(this); });
  hidden(G, "console", console);
  hidden(G, "require", __portal_require__);
  hidden(G, "__exports__", {});
  defineProperty(G, "__module__", { configurable: true, set(value) { module = value; } });
  extend();
}
function mark(reply) {
  if (typeof reply !== "string") return "!";
  return outbox.length ? glue("~", reply) : reply;
}
core.encode = (value) => mark(__portal_encode__(value));
core.more = (op, body) => {
  if (op === "execute" || op === "convert") return mark(describe(body, op));
  if (op === "nothing") return mark(describe(nothing(body), "convert"));
  if (op === "wait") try { wait(body); } catch (error) { result = describe(error, "execute"); }
  if (op === "wait" || op === "poll") return mark(result);
  if (op === "check") return check();
  if (op === "resolve") settle(...parse(body));
  if (op === "module") modules.set(body, module);
  if (op === "begin") begin(body);
  if (op === "reseed" && options.seed === undefined) Math.random = mulberry(parseInt(body, 16));
  if (op !== "outbox") return "";
  const found = stringify(outbox);
  outbox = [];
  return typeof found === "string" ? found : "";
};
if (!eager) return core.more(core.op, core.body);
setup();
return "";
})"""

#: What code may use that only the second part of the prelude provides. Code that finds it in another way, such as
#: `this["conso" + "le"]`, does without.
_NEEDED = re.compile(
    r"\b(?:console|require|portal|crypto|Map|Set|BigInt|(?:Big)?(?:Uint|Int|Float)\w*Array|ArrayBuffer|DataView"
    r"|eval|Function|constructor|globalThis|import|groupBy|__exports__)\b|\dn\b"
)


def is_needed(program: Program) -> bool:
    """Return whether a program needs the second part of the prelude at once."""
    options = program.options
    return '"setup"' in options or bool(program.modules) or _NEEDED.search(program.source) is not None


@lru_cache(maxsize=64)
def core_source(options: str, arguments: tuple[str, ...] | None) -> str:
    """Return the source of the core as one expression; its value is the function of the prelude.

    Args:
        options: JSON text of the options of a program.
        arguments: the parameters that the function gets one by one; None passes one object.
    """
    denied = "".join(f"delete globalThis[{json.dumps(name)}];" for name in json.loads(options).get("deny", ()))
    values = "value" if arguments is None else ", ".join(f"value[{json.dumps(name)}]" for name in arguments)
    return _CORE.replace("DELETE", denied).replace("ARGUMENTS", values)


@lru_cache(maxsize=64)
def late_source(options: str, *, eager: bool = False) -> str:
    """Return the text of the operation "late".

    Args:
        options: JSON text of the options of a program.
        eager: whether it comes before the user's source, which then finds `console` and the like.
    """
    return f"(core => {_LATE}(core, {options}, {'true' if eager else 'false'}))"


def prelude_source(program: Program, *, whole: bool = False) -> str:
    """Return the source of the prelude as one expression; its value is the function of the prelude.

    Args:
        program: for which it is.
        whole: whether the second part is evaluated at once, needed or not.
    """
    core = core_source(program.options, program.arguments)
    if not whole and not is_needed(program):
        return core
    late = json.dumps(late_source(program.options, eager=True))
    return f'((send, source) => (send("late", source), send))({core}, {late})'
