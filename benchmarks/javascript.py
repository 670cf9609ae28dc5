"""Measure JavaScript functions against the bare engine in one run: `make bench-js`.

Each row is the best of many short rounds, which alternate, so that other processes disturb only some of them. Calls
that stay in one thread are measured in processor time, on one processor.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter, sleep, thread_time
from typing import Any

from portal import CallContext, JavaScriptError, JavaScriptPortal, JSFunction, ResolvedFunction
from portal.javascript import Limits, PoolSettings, Sandbox
from portal.javascript.engines.registry import available_engines, find_engine
from portal.javascript.pool.messages import pack, read_message

__all__ = ["main"]

DISCOUNT = """
function discount(p) {
  const rates = { bronze: 0.05, silver: 0.1, gold: 0.15, platinum: 0.2 };
  let rate = rates[p.tier] || 0;
  if (p.amount > 1000) rate += 0.05;
  let total = p.amount * (1 - rate);
  if (p.code === "SAVE20") total -= p.amount * 0.2;
  return { total: Math.round(total * 100) / 100, rate };
}
"""
SCHEMA = {
    "input": {
        "type": "object",
        "properties": {"tier": {"type": "string"}, "amount": {"type": "number"}, "code": {"type": "string"}},
        "required": ["tier", "amount"],
        "additionalProperties": False,
    },
    "output": {
        "type": "object",
        "properties": {"total": {"type": "number"}, "rate": {"type": "number"}},
        "required": ["total", "rate"],
    },
}
PARAMS = {"tier": "gold", "amount": 1500}
HEAVY = "function heavy(p) { let t = 0; for (let i = 0; i < p.n; i++) t = (t * 31 + i) % 1000003; return t }"
#: A child without anything of Portal but its messages: a new context for each call.
BARE_CHILD = """
import socket, sys
sys.path[:] = {path!r}
from _quickjs import Context
from portal.javascript.pool.messages import pack, read_message
connection = socket.socket(fileno=0)
while True:
    _, text = read_message(connection.recv)
    context = Context()
    context.eval({source!r})
    call = context.eval("(text) => JSON.stringify(discount(JSON.parse(text)))")
    connection.sendall(pack(["ok"], call(text)))
"""


def main() -> None:
    """Print the table."""
    rows: list[tuple[str, str]] = []
    with JavaScriptPortal(sandbox=Sandbox("trusted", limits=Limits(time=10.0))) as portal:
        trusted = publish(portal, JSFunction(DISCOUNT, "discount", schema=SCHEMA, trusted=True))
        untrusted = publish(portal, JSFunction(DISCOUNT, "isolated", schema=SCHEMA))
        bare, child = bare_engine(), BareChild()
        try:
            with one_processor():
                warm = rounds({"bare": bare, "trusted": lambda: call(trusted)}, 100, 200, thread_time)
            best = fastest({"child": child, "untrusted": lambda: call(untrusted)}, 20, 40)
        finally:
            child.close()
        ratio = min(warm["bare"]) / min(warm["trusted"])
        middle = median(one / other for one, other in zip(warm["bare"], warm["trusted"], strict=True))
        rows.append(("bare engine, warm, with JSON", f"{1 / min(warm['bare']):,.0f}/s"))
        rows.append(("trusted, warm, with validation", f"{1 / min(warm['trusted']):,.0f}/s"))
        rows.append(("  of the bare engine (at least 0.67)", f"{ratio:.2f}"))
        rows.append(("  the same, median of the rounds", f"{middle:.2f}"))
        rows.append(("bare child, a new context for each call", f"{best['child'] * 1e6:,.0f} us"))
        rows.append(("untrusted, in a child", f"{best['untrusted'] * 1e6:,.0f} us"))
        rows.append(("  times the bare child (at most 1.5)", f"{best['untrusted'] / best['child']:.2f}"))
        one, four = threads(portal, 1), threads(portal, 4)
        rows.append(("4 threads of heavy code, times one thread (at least 1.6)", f"{four / one:.2f}"))
    rows.append(("first call, trusted (at most 5 ms)", f"{cold(True) * 1e3:.1f} ms"))
    rows.append(("first call, untrusted (at most 60 ms)", f"{cold(False) * 1e3:.1f} ms"))
    rows.append(("a killed child is replaced (at most 100 ms)", f"{replacement() * 1e3:.1f} ms"))
    if find_engine("quickjs-wasm").is_available():
        rows += wasm()
    others = [
        one for one in available_engines() if not one.startswith("quickjs") and find_engine(one).capabilities().trusted
    ]
    rows += ((f"{engine}, trusted, warm", f"{other_engine(engine):,.0f}/s") for engine in others)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value:>14}" for name, value in rows))


def publish(portal: JavaScriptPortal, function: JSFunction) -> ResolvedFunction:
    return portal.resolve_function(portal.apply(function))


def call(function: ResolvedFunction) -> Any:
    return call_with(function, PARAMS)


def call_with(function: ResolvedFunction, params: dict[str, Any]) -> Any:
    return function.invoke(params, CallContext())


def bare_engine() -> Callable[[], Any]:
    from _quickjs import Context

    context = Context()
    context.eval(DISCOUNT)
    function = context.eval("(text) => JSON.stringify(discount(JSON.parse(text)))")
    return lambda: json.loads(function(json.dumps(PARAMS)))


class BareChild:
    """A child process that makes a new context for each call."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        code = BARE_CHILD.format(path=sys.path, source=DISCOUNT)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())

    def __call__(self) -> Any:
        self._socket.sendall(pack(["call"], json.dumps(PARAMS)))
        return json.loads(read_message(self._socket.recv)[1])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep this thread on one processor, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def rounds(
    calls: dict[str, Callable[[], Any]], number: int, times: int, clock: Callable[[], float] = perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of one call in each round.

    Args:
        calls: what to call, by name. They take turns, and every other round goes the other way round.
        number: how many calls make a round.
        times: how many rounds there are.
        clock: measures a round.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls.items())
    for function in calls.values():
        function()
    for _ in range(times):
        order.reverse()
        for name, function in order:
            started = clock()
            for _ in range(number):
                function()
            found[name].append((clock() - started) / number)
    return found


def fastest(calls: dict[str, Callable[[], Any]], number: int, times: int) -> dict[str, float]:
    """Return the seconds of one call in the best round."""
    return {name: min(found) for name, found in rounds(calls, number, times).items()}


def threads(portal: JavaScriptPortal, number: int) -> float:
    """Return the calls of heavy code in a second."""
    function = publish(portal, JSFunction(HEAVY, f"heavy{number}", trusted=True))
    best = 0.0
    with ThreadPoolExecutor(number) as pool:
        for _ in range(3):
            started = perf_counter()
            list(pool.map(lambda _: function.invoke({"n": 300_000}, CallContext()), range(8)))
            best = max(best, 8 / (perf_counter() - started))
    return best


def cold(trusted: bool) -> float:
    """Return the seconds of the first call of a function, where its engine has been proved before."""
    best = float("inf")
    sandbox = Sandbox("trusted", limits=Limits(time=10.0), pool=PoolSettings(min_size=0))
    for _ in range(3):
        with JavaScriptPortal(sandbox=sandbox) as portal:
            function = publish(portal, JSFunction(DISCOUNT, "discount", schema=SCHEMA, trusted=trusted))
            if trusted:
                call(publish(portal, JSFunction("() => 1", "other", trusted=True)))
            portal.stop()
            started = perf_counter()
            call(function)
            best = min(best, perf_counter() - started)
    return best


def replacement() -> float:
    """Return the seconds from the end of a call whose child was killed until another child is ready."""
    best = float("inf")
    with JavaScriptPortal(sandbox=Sandbox(limits=Limits(time=0.1))) as portal:
        stuck = publish(portal, JSFunction("() => new Array(1e9).join('x')", "stuck"))
        for _ in range(3):
            with suppress(JavaScriptError):
                call_with(stuck, {})
            started = perf_counter()
            while not next(iter(portal.stats()["engines"].values()))["idle"]:
                sleep(0.001)
            best = min(best, perf_counter() - started)
    return best


def wasm() -> list[tuple[str, str]]:
    """Return the rows of WebAssembly: a copy of the loaded state for each call, and warm calls."""
    sandbox = Sandbox("trusted", limits=Limits(time=10.0), isolation="wasm")
    with JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox) as portal:
        warm = publish(portal, JSFunction(DISCOUNT, "discount", schema=SCHEMA, trusted=True))
        fresh = publish(portal, JSFunction(DISCOUNT, "isolated", schema=SCHEMA))
        best = fastest({"warm": lambda: call(warm), "fresh": lambda: call(fresh)}, 50, 40)
    return [
        ("WebAssembly, a new state for each call (at most 3 ms)", f"{best['fresh'] * 1e3:.2f} ms"),
        ("WebAssembly, warm (at least 10,000/s)", f"{1 / best['warm']:,.0f}/s"),
    ]


def other_engine(engine: str) -> float:
    source = DISCOUNT.replace("const ", "var ").replace("let ", "var ").replace(", rate }", ", rate: rate }")
    with JavaScriptPortal(engine=engine, sandbox=Sandbox("trusted", limits=Limits(time=30.0))) as portal:
        function = publish(portal, JSFunction(source, "discount", schema=SCHEMA, trusted=True))
        return 1 / fastest({"it": lambda: call(function)}, 20, 15)["it"]


if __name__ == "__main__":
    main()
