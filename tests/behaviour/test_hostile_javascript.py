"""Every hostile program at every engine and trust level where it is claimed to be stopped, without analysis.

A cell says which stage of JavaScriptError a call may end with. After the programs of a place, the portal serves as
before, uses no processor time, and has given back memory, descriptors and processes.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from time import monotonic, process_time

import psutil
import pytest

from portal import Consumer, JavaScriptError, JavaScriptPortal, JSFunction
from portal.javascript import Limits, PoolSettings, Sandbox
from portal.javascript.engines.registry import find_engine
from portal.javascript.sandbox import Isolation
from tests.support.hostile_javascript import PROGRAMS, Hostile, as_es5
from tests.support.javascript import MIB, open_files
from tests.support.thread_list import new_threads

LIMITS = Limits(time=0.15, memory=16 * MIB, stack=256 * 1024, output=MIB, log=10_000)
#: By id: engine, whether the code is trusted, and the isolation that the sandbox asks for.
PLACES: dict[str, tuple[str, bool, Isolation | None]] = {
    "quickjs-untrusted": ("quickjs", False, None),
    "quickjs-trusted": ("quickjs", True, None),
    "quickjs-wasm-untrusted": ("quickjs-wasm", False, "wasm"),
    "quickjs-wasm-hostile": ("quickjs-wasm", False, "wasm-process"),
    "js2py-untrusted": ("js2py", False, None),
    "js2py-trusted": ("js2py", True, None),
    "v8-untrusted": ("v8", False, None),
}
#: How a program may end at an engine beside what the program says: the engine has no such syntax or function.
ALSO = {"js2py": frozenset(("syntax", "execute"))}
#: Programs that do nothing at an engine without promises, or without fractions of a second.
HARMLESS = {"js2py": frozenset(("thenables", "clock"))}
#: Programs that trusted code does not claim to stop: what ends with the process only, in native code of the engine.
#: js2py has no limit of memory, and Python's regular expressions do not stop.
UNCLAIMED: dict[str, Callable[[Hostile], bool]] = {
    "js2py-trusted": lambda program: "memory" in program.ends or _UNCLAIMED_BY_JS2PY.search(program.source) is not None,
}
#: Regular expressions, and changes of built-in objects, which all programs of the process share.
_UNCLAIMED_BY_JS2PY = re.compile(r"/|RegExp|\b(JSON|Object|Error)\.[\w.]+ = |freeze")
#: Seconds for engines that need more for their start, or for a long result.
SLOW = {"js2py": 0.4, "v8": 0.2, "quickjs-wasm": 0.6}
#: Of the programs of such an engine, which starts slowly, one in so many is run without PORTAL_LONG.
SAMPLED = {"v8": 5}
#: Seconds beyond the limit: a busy machine, and native code between two looks at the clock.
SLACK = 20.0
#: Seconds for a program that came to its end by time, as on a busy machine, where another end was expected.
PATIENCE = 30.0


class Attacked:
    """A portal at which the programs of one place run, and what it used before the first."""

    def __init__(self, engine: str, trusted: bool, isolation: Isolation | None) -> None:
        if not find_engine(engine).is_available():
            pytest.skip(f"{engine} is not installed")
        self.files, self.threads = open_files(), threading.enumerate()
        self.older = set(psutil.Process().children(recursive=True))  # of other tests
        self.name = f"{engine}-{'trusted' if trusted else 'untrusted'}"
        self.engine, self.trusted, self.isolation = engine, trusted, isolation
        self.limits = replace(LIMITS, time=SLOW.get(engine, LIMITS.time))
        self.portal = self.new_portal(self.limits)
        self.consumer = Consumer([self.portal])
        self.numbers = count(1)
        self.good = self.portal.apply(JSFunction("function good(p) { return p.a + 1 }", "good", trusted=trusted))
        self.serves()
        self.memory = psutil.Process().memory_info().rss

    def new_portal(self, limits: Limits) -> JavaScriptPortal:
        pool = PoolSettings(min_size=1, max_size=2)
        sandbox = Sandbox("trusted", limits=limits, pool=pool, isolation=self.isolation)
        return JavaScriptPortal(engine=self.engine, sandbox=sandbox)

    def serves(self) -> None:
        for number in range(20):
            wait_until(lambda number=number: self._served(number))  # type: ignore[misc]

    def _served(self, number: int) -> bool:
        """Return whether a call had enough time; a busy machine may use it up."""
        try:
            assert self.consumer.call_at(self.good, {"a": number}) == number + 1
        except JavaScriptError as error:
            if error.stage != "timeout":
                raise
            return False
        return True

    def attack(self, program: Hostile) -> tuple[str, float]:
        """Run a program; return how it ended and the seconds that it took."""
        return self._attack(program, self.portal, self.consumer)

    def attack_patiently(self, program: Hostile) -> str:
        """Run a program with much time, at a portal of its own; return how it ended."""
        with self.new_portal(replace(self.limits, time=PATIENCE)) as portal, Consumer([portal]) as consumer:
            return self._attack(program, portal, consumer)[0]

    def _attack(self, program: Hostile, portal: JavaScriptPortal, consumer: Consumer) -> tuple[str, float]:
        source = as_es5(program.source) if self.engine == "js2py" else program.source
        function = JSFunction(source, f"f{next(self.numbers)}", trusted=self.trusted)
        address = portal.apply(function)
        started, ended, text = monotonic(), "ok", ""
        try:
            consumer.call_at(address, {})
        except JavaScriptError as error:
            ended, text = error.stage, f"{error.message}{error.js_stack}"
        finally:
            portal.remove(address)
        assert "portal" not in text.replace("__portal_invoke__", "")
        assert len(text) < 10_000
        return ended, monotonic() - started

    def settle(self) -> list[psutil.Process]:
        """Wait until no child is being replaced; return the children."""
        (stats,) = self.portal.stats()["engines"].values()
        if not self.trusted:
            wait_until(lambda: self.replaced())
        assert stats["waiting"] == 0
        found = set(psutil.Process().children(recursive=True)) - self.older
        return [one for one in found if is_alive(one)]

    def replaced(self) -> bool:
        (stats,) = self.portal.stats()["engines"].values()
        return bool(stats["idle"] == stats.get("children", stats.get("engines")) >= 1)

    def close(self) -> None:
        self.portal.close()
        self.consumer.close()


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end, pause = monotonic() + seconds, threading.Event()
    while not holds():
        assert monotonic() < end
        pause.wait(0.01)


@pytest.fixture(scope="module", params=PLACES.values(), ids=list(PLACES))
def attacked(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    made = Attacked(*request.param)
    yield made
    made.close()
    assert open_files() <= made.files
    assert new_threads(made.threads) == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_hostile_program_is_stopped(attacked: Attacked, program: Hostile) -> None:
    unclaimed = UNCLAIMED.get(attacked.name, lambda program: program.native)
    if attacked.trusted and (program.native or unclaimed(program)):
        pytest.skip("trusted code does not claim to stop loops in native code")
    if not os.environ.get("PORTAL_LONG") and PROGRAMS.index(program) % SAMPLED.get(attacked.engine, 1):
        pytest.skip("set PORTAL_LONG=1 to run all programs at this engine")
    expected = program.ends | ALSO.get(attacked.engine, frozenset())
    ended, seconds = attacked.attack(program)
    if ended == "timeout" and "timeout" not in expected:
        ended = attacked.attack_patiently(program)
    if program.name not in HARMLESS.get(attacked.engine, ()):
        assert ended in expected
    assert seconds < attacked.limits.time + SLACK


def test_afterwards_everything_is_as_before(attacked: Attacked) -> None:
    attacked.attack(PROGRAMS[0])

    def used(children: list[psutil.Process]) -> float:
        return process_time() + sum(sum(one.cpu_times()[:2]) for one in children)

    def rests() -> bool:
        children = attacked.settle()
        try:
            before = used(children)
            threading.Event().wait(0.2)
            return used(children) - before < 0.05
        except psutil.NoSuchProcess:  # it was just being replaced
            return False

    wait_until(rests)  # other threads of the tests may just be ending
    children = attacked.settle()
    assert len(children) <= 2
    attacked.serves()
    assert psutil.Process().memory_info().rss - attacked.memory < 64 * MIB
    if not attacked.trusted and attacked.isolation != "wasm":
        attacked.portal.stop()
        assert [one for one in psutil.Process().children(recursive=True) if one in children] == []
        assert all(not os.path.exists(f"/proc/{one.pid}/stat") or not one.is_running() for one in children)


def test_there_are_enough_programs() -> None:
    assert len(PROGRAMS) == len({program.name for program in PROGRAMS}) >= 60


LEFT_BEHIND = [
    "globalThis.x = 1",
    "var y = globalThis.y2 = 1",
    "Object.prototype.x = 1",
    "Array.prototype.x = 1",
    "String.prototype.x = function () {}",
    "Function.prototype.x = 1",
    "Object.defineProperty(Object.prototype, 'x', {get() { return 1 }})",
    "JSON.parse = JSON.stringify = null",
    "Math.x = 1",
    "Date.now = () => 0",
    "Promise.prototype.then = null",
    "Symbol.for('x').description; globalThis[Symbol.for('x')] = 1",
    "Error.prepareStackTrace = () => 'x'",
    "Map.prototype.get = null",
    "RegExp.prototype.exec = null; /(x)/.test('x')",
    "try { setX = 1 } catch (_) {}",  # strict code throws
    "Reflect.x = Proxy.x = 1",
    "queueMicrotask(() => { globalThis.x = 1 })",
    "(async () => { await null; Object.prototype.x = 1 })()",
    "new FinalizationRegistry(() => { globalThis.x = 1 }).register({}, 1)",
    "Object.freeze(Object.prototype); Object.freeze(globalThis)",
    "console.log = null; delete globalThis.console",
]
PROBE = """
() => [
  Object.getOwnPropertyNames(globalThis), Object.getOwnPropertyNames(Object.prototype),
  Object.getOwnPropertyNames(Array.prototype), Object.getOwnPropertyNames(String.prototype),
  Object.getOwnPropertyNames(Function.prototype), Object.getOwnPropertyNames(Math), Object.keys(Reflect),
  Object.getOwnPropertySymbols(globalThis).length, typeof JSON.parse, typeof Map.prototype.get, typeof console.log,
  typeof Promise.prototype.then, typeof RegExp.prototype.exec, Date.now() > 0, Object.isFrozen(Object.prototype),
  typeof Error.prepareStackTrace,
]
"""


@pytest.mark.parametrize(("engine", "isolation"), [("quickjs", "process"), ("quickjs-wasm", "wasm")])
def test_nothing_is_left_for_the_next_call_in_the_same_child_or_instance(engine: str, isolation: Isolation) -> None:
    if not find_engine(engine).is_available():
        pytest.skip(f"{engine} is not installed")
    limits, pool = Limits(time=60.0), PoolSettings(min_size=1, max_size=1)
    sandbox = Sandbox(limits=limits, pool=pool, isolation=isolation)
    with JavaScriptPortal(engine=engine, sandbox=sandbox) as portal, Consumer([portal]) as consumer:
        probe = portal.apply(JSFunction(PROBE, "probe"))
        clean = consumer.call_at(probe, {})
        (before,) = portal.stats()["engines"].values()
        for number, code in enumerate(LEFT_BEHIND):
            address = portal.apply(JSFunction(f"() => {{ {code}; return 1 }}", f"leaves{number}"))
            assert consumer.call_at(address, {}) == 1
            assert consumer.call_at(probe, {}) == clean, code
        (stats,) = portal.stats()["engines"].values()
        assert stats.get("started", stats.get("engines")) == before.get("started", before.get("engines"))
    assert len(LEFT_BEHIND) >= 20
