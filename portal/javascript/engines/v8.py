"""The engine v8: Google's V8 through the package mini-racer, for heavy computing.

A new global object takes some milliseconds and a call half of one, but loops run several times as fast as in QuickJS.
V8 maps more than a terabyte of virtual memory, so a child is bounded by RLIMIT_DATA. Its limit of memory does not count
typed arrays; RLIMIT_DATA does. It runs in child processes only: mini-racer may call back into an event
loop that is closed when a call was stopped.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from ..engine import Capabilities, Engine, EngineError, Host, Stage
from ..limits import Limits
from ..prelude import late_source, prelude_source
from ..program import Program
from .driver import Realm, call_realm, load_realm, place_of

__all__ = ["V8Engine"]

_MIB = 1024 * 1024
_GATE = "__portal__"
#: Globals that code does not get: a compiler beside the limits, and memory that threads share.
_REMOVED = ("WebAssembly", "SharedArrayBuffer", "Atomics")


class V8Engine(Engine):
    """Runs programs in V8; see `Engine`."""

    name = "v8"
    install = "mini-racer"

    @staticmethod
    def is_available() -> bool:
        """Return whether the package mini-racer is installed."""
        return find_spec("py_mini_racer") is not None

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what V8 can do."""
        return Capabilities(
            version=_version(),
            edition=2023,
            isolation=frozenset(("process",)),
            trusted=False,
            limits=frozenset(("time", "memory", "stack", "output", "log")),
            promises=True,
            address_space=None,
            data=1024 * _MIB,
            threads=True,
        )

    def compile(self, program: Program, limits: Limits) -> Any:
        """Load a program into a new isolate."""
        realm = _V8Realm(program)
        try:
            realm.require_memory(limits)
            load_realm(realm, program, limits)
        except BaseException:
            realm.close()
            raise
        return realm

    def call(self, handle: Any, text: str, limits: Limits, host: Host) -> str:
        """Call the function in its isolate."""
        return call_realm(handle, text, limits, host)

    def release(self, handle: Any) -> None:
        """Close the isolate."""
        handle.close()

    def close(self) -> None:
        """Do nothing: an isolate is closed with its program."""


class _V8Realm(Realm):
    """An isolate of V8 with the prelude. Promise jobs run by themselves at the end of each evaluation."""

    def __init__(self, program: Program) -> None:
        import py_mini_racer

        self._errors: Any = py_mini_racer
        self.late = late_source(program.options)
        self._racer: Any = py_mini_racer.MiniRacer()
        gate = f"Object.defineProperty(globalThis, {json.dumps(_GATE)}, {{ value: {prelude_source(program)} }})"
        removed = "".join(f"delete globalThis.{name};" for name in _REMOVED)
        self._racer.eval(f"{removed}{gate}; 0", timeout_sec=30.0)

    def close(self) -> None:
        """Close the isolate."""
        self._racer.close()

    def require_memory(self, limits: Limits) -> None:
        """Apply the limit of memory; the stack of V8 is fixed."""
        self._racer.set_hard_memory_limit(limits.memory)

    def evaluate(self, source: str, seconds: float) -> None:
        """Evaluate a script."""
        self._eval(f"{source}\n;0", seconds, "compile")

    def send(self, op: str, text: str, seconds: float) -> str:
        """Call the function of the prelude."""
        reply = self._eval(f"{_GATE}({json.dumps(op)}, {json.dumps(text)})", seconds, "execute")
        if not isinstance(reply, str):
            raise EngineError("execute", "the script has broken its global object", broken=True)
        return reply

    def run_job(self, seconds: float) -> bool:
        """Return False: the jobs have run."""
        return False

    def _eval(self, source: str, seconds: float, stage: Stage) -> Any:
        errors = self._errors
        try:
            return self._racer.eval(source, timeout_sec=seconds)
        except errors.JSTimeoutException:
            raise EngineError("timeout", "the time limit has passed", broken=True) from None
        except errors.JSOOMException:
            raise EngineError("memory", "the memory limit has been reached", broken=True) from None
        except errors.JSParseException as error:
            raise self._error(error, "syntax" if stage == "compile" else stage) from None
        except errors.JSEvalException as error:
            raise self._error(error, stage) from None

    def _error(self, error: Exception, stage: Stage) -> EngineError:
        """Return the error for an exception that the source threw: "<anonymous>:1: TypeError: hi", code, stack."""
        head, _, rest = str(error).partition("\n")
        place, _, words = head.partition(": ")
        name, colon, message = words.partition(": ")
        if not colon or not name.isidentifier():
            name, message = "Error", words
        stack, line, column = place_of(rest[rest.find("\n    at ") + 1 :] if "\n    at " in rest else "", 0)
        if line is None and place.rpartition(":")[2].isdigit():
            line = int(place.rpartition(":")[2])
        if line is not None:
            line = max(1, line - self.added_lines)
        if name == "RangeError" and "call stack" in message:
            stage = "stack"
        return EngineError(stage, message[:2000], name=name[:100], line=line, column=column, stack=stack)


def _version() -> str:
    try:
        return version("mini-racer")
    except PackageNotFoundError:
        return ""
