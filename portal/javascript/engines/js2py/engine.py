"""The engine js2py: ECMAScript 5.1 in pure Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from time import monotonic
from types import CodeType
from typing import Any, NamedTuple

from ...engine import Capabilities, Engine, EngineError, Host
from ...limits import Limits
from ...program import Program
from .hardening import Runtime, load
from .translation import translate

__all__ = ["Js2PyEngine"]

_MAX_DEPTH = 200  # of a result


class _Stopped(BaseException):
    """Ends a script whose time has passed; JavaScript cannot catch it."""


class _Loaded(NamedTuple):
    function: Any
    scope: Any
    clock: _Clock
    log: Callable[[Host, Limits], None]
    arguments: tuple[str, ...] | None


class _Clock:
    """Is looked at in each loop and function of a script."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = math.inf

    def start(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def tick(self) -> None:
        if monotonic() > self._end:
            raise _Stopped


class Js2PyEngine(Engine):
    """Runs programs in js2py; see `Engine`.

    It looks at the time in each loop and function. Code that runs in Python itself, such as a regular expression, ends
    only with its process. Built-in objects are shared by all programs of a process, so that a child process forks for
    each call.
    """

    name = "js2py"
    install = "js2py"

    def __init__(self) -> None:
        self._runtime: Runtime = load()
        self._codes: dict[str, CodeType] = {}

    @staticmethod
    def is_available() -> bool:
        """Return whether the package js2py is installed."""
        return find_spec("js2py") is not None

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what js2py can do."""
        from importlib.metadata import version

        return Capabilities(
            version=version("js2py"),
            edition=5,
            isolation=frozenset(("process",)),
            trusted=True,
            limits=frozenset(("time", "stack", "output", "log")),
            promises=False,
            address_space=None,
            forks=True,
        )

    def compile(self, program: Program, limits: Limits) -> Any:
        """Translate a program and run it in a new scope."""
        if program.modules:
            raise EngineError("compile", "js2py has no modules; quickjs, quickjs-wasm and v8 have them")
        code = translate(self._runtime, program.source)
        base, clock = self._runtime.base, _Clock()
        scope = self._runtime.scope()
        lines: list[str] = []
        console = _console(base, lines)
        scope.put("console", console)
        names = ("Js", "Scope", "PyJsComma", "PyJsStrictEq", "PyJsStrictNeq", "PyJsBshift", "PyJsException")
        namespace: dict[str, Any] = {name: getattr(base, name) for name in names}
        namespace |= {name: getattr(base, name) for name in ("PyExceptionToJs", "JsToPyException", "JsRegExp")}
        namespace |= {"var": scope, "PyJsTick": clock.tick, "__name__": "javascript"}
        namespace["__builtins__"] = {"Exception": Exception, "__build_class__": __build_class__}
        clock.start(limits.time)
        self._runtime.enter(scope)
        self._guarded("compile", lambda: exec(code, namespace))
        function = scope.get("__default__", throw=False)
        if not function.is_callable():
            raise EngineError("compile", f"there is no function {program.name}")

        def flush(host: Host, bounds: Limits) -> None:
            left = bounds.log
            for line in lines:
                if left > 0:
                    host("log", json.dumps(["log", line[:left]]))
                left -= len(line) + 1
            lines.clear()

        return _Loaded(function, scope, clock, flush, program.arguments)

    def call(self, handle: Any, text: str, limits: Limits, host: Host) -> str:
        """Call the function of a program."""
        loaded: _Loaded = handle
        base = self._runtime.base
        params = json.loads(text)
        names = loaded.arguments
        values = [params] if names is None else [params.get(name, _Missing) for name in names]
        given = tuple(base.undefined if value is _Missing else _to_js(base, value) for value in values)
        loaded.clock.start(limits.time)
        self._runtime.enter(loaded.scope)
        try:
            result = self._guarded("execute", lambda: loaded.function.call(base.undefined, given))
            data = self._guarded("convert", lambda: _from_js(result, 0))
        finally:
            loaded.log(host, limits)
        try:
            reply = json.dumps(data, allow_nan=False, ensure_ascii=True)
        except ValueError:
            raise EngineError("convert", "NaN or Infinity is not a JSON value", name="Error") from None
        if len(reply) > limits.output:
            raise EngineError("memory", f"the result must have at most {limits.output:,} characters")
        return reply

    def _guarded(self, stage: Any, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except _Stopped:
            raise EngineError("timeout", "the time limit has passed") from None
        except RecursionError:
            raise EngineError("stack", "Maximum call stack size exceeded", name="RangeError") from None
        except MemoryError:
            raise EngineError("memory", "the memory limit has been reached", broken=True) from None
        except EngineError:
            raise
        except self._runtime.base.PyJsException as error:
            raise _error_in_time(error, stage) from None
        except Exception as error:  # a fault of js2py
            raise EngineError(stage, f"{type(error).__name__}: {error}"[:500], name="InternalError") from None

    def release(self, handle: Any) -> None:
        """Do nothing: the garbage collector frees a scope."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _Missing:
    """Stands for a parameter that was not passed."""


def _console(base: Any, lines: list[str]) -> Any:
    def log(this: Any, arguments: Any, var: Any = None) -> Any:
        words = [arguments.get(str(index)) for index in range(int(arguments.get("length").value))]
        lines.append(" ".join(_show(word) for word in words))

    made = base.Js({})
    for level in ("debug", "log", "info", "warn", "error"):
        made.put(level, base.PyJsFunction(log, base.FunctionPrototype))
    return made


def _show(value: Any) -> str:
    if value.Class in ("Object", "Array"):
        return json.dumps(_from_js(value, 0))
    return str(value.to_string().value)


def _to_js(base: Any, value: Any) -> Any:
    if isinstance(value, dict):
        made = base.PyJsObject(prototype=base.ObjectPrototype)
        for name, item in value.items():
            described = {"value": _to_js(base, item), "writable": True, "enumerable": True, "configurable": True}
            made.define_own_property(name, described)
        return made
    if isinstance(value, list):
        return base.PyJsArray([_to_js(base, item) for item in value], base.ArrayPrototype)
    if value is None:
        return base.null
    return base.Js(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _from_js(value: Any, depth: int) -> Any:
    """Return JSON data for a value, as JSON.stringify does."""
    if depth > _MAX_DEPTH:
        raise EngineError("convert", "the result is nested too deeply or has a cycle", name="TypeError")
    if value.is_undefined() or value.is_null():
        return None
    if value.is_object():
        method = value.get("toJSON")
        if method.is_callable():
            return _from_js(method.call(value, ()), depth + 1)
        if value.is_callable():
            if depth == 0:
                raise EngineError("convert", "a function is not a JSON value", name="Error")
            return None
        if value.Class in ("Number", "String", "Boolean"):
            return _from_js(value.default_value(), depth)
        if value.Class == "Array":
            length = int(value.get("length").value)
            return [_from_js(value.get(str(index)), depth + 1) for index in range(length)]
        items = [(str(name.value), value.get(str(name.value))) for name in value]
        kept = [(name, item) for name, item in items if not item.is_undefined() and not item.is_callable()]
        return {name: _from_js(item, depth + 1) for name, item in kept}
    found = value.value
    if isinstance(found, float):
        if not math.isfinite(found):
            raise EngineError("convert", f"{value.to_string().value} is not a JSON value", name="Error")
        return int(found) if found.is_integer() and abs(found) < 1e21 else found
    return found


def _error_in_time(error: Any, stage: Any) -> EngineError:
    try:
        return _error_of(error, stage)
    except _Stopped:  # a getter of the object that was thrown
        return EngineError("timeout", "the time limit has passed")


def _error_of(error: Any, stage: Any) -> EngineError:
    """Return the error for an exception that the script did not catch."""
    thrown = error.mes
    if thrown is None:
        return EngineError(stage, str(error)[:2000], name="Error")
    try:
        if thrown.is_object() and not thrown.get("message").is_undefined():
            name = str(thrown.get("name").to_string().value)[:100]
            message = str(thrown.get("message").to_string().value)[:2000]
        elif thrown.Class in ("Object", "Array"):
            name, message = "Error", json.dumps(_from_js(thrown, 0))[:2000]
        else:
            name, message = "Error", str(thrown.to_string().value)[:2000]
    except Exception:  # what is thrown may raise when it is read
        return EngineError(stage, "an object that cannot be shown was thrown", name="Error")
    if name == "RangeError" and "recursion" in message:
        return EngineError("stack", "Maximum call stack size exceeded", name=name)
    return EngineError(stage, message, name=name)
