"""Close the ways from JavaScript to Python that js2py leaves open, and keep its contexts apart.

CVE-2024-28397 goes through `Object.getOwnPropertyNames`, which returns a Python view of keys. `ArrayBuffer` and the
square root of a negative number lead to Python objects as well. This is no security boundary: untrusted code on js2py
runs in a child process.
"""

from __future__ import annotations

import math
import threading
from datetime import datetime, timedelta
from typing import Any

from .injector import install

__all__ = ["Runtime", "load"]

#: Globals of js2py that code does not get.
REMOVED = (
    *("eval", "Function", "console", "ArrayBuffer", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array"),
    *("Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array"),
)
_lock = threading.Lock()  # guards loading
_loaded: list[Runtime] = []


class Runtime:
    """The parts of js2py that Portal uses, hardened.

    Attributes:
        base: the module `js2py.base`.
        builtins: the globals of a new context by name.
        translate: source text -> Python source text.

    Threads: any may read it. Its built-in objects are shared by all contexts of the process.
    """

    def __init__(self) -> None:
        install()
        import js2py.base as base
        import js2py.pyjs as pyjs
        import pyjsparser.parser
        from js2py.constructors import jsdate
        from js2py.host import jseval
        from js2py.translators import translating_nodes, translator

        pyjsparser.parser.ENABLE_PYIMPORT = False
        translating_nodes.random = _Numbers()  # its randrange gets a float, which CPython 3.12 rejects
        self.base: Any = base
        self.translate: Any = lambda source: translator.translate_js(source, "")
        _block_python(base)
        _translate_exceptions(base)
        jseval.executor = _blocked(base)
        for name in ("Object", "Math", "Boolean", "Function"):
            _harden(base, name, getattr(pyjs, name))
        for name in ("toISOString", "toJSON"):
            _replace(base, jsdate.DatePrototype, name, _date_method(base, name))
        base.REGEXP_DB = _NoTable()
        current = self._current = threading.local()
        base.PyJs.GlobalObject = property(lambda value: current.this)
        self.builtins = {name: value for name, value in pyjs.JS_BUILTINS.items() if name not in REMOVED}

    def scope(self) -> Any:
        """Return a new global scope."""
        base = self.base
        scope = base.Scope(dict(self.builtins))
        scope.IS_CHILD_SCOPE = False
        this = base.This({})
        this.own, this.prototype = scope.own, scope.prototype
        scope.register("this")
        scope.put("this", this)
        return scope

    def enter(self, scope: Any) -> None:
        """Make a scope the global object of this thread."""
        self._current.this = scope.get("this")


class _Numbers:
    """Stands in for the module random in the translator."""

    def __init__(self) -> None:
        self._next = 0

    def randrange(self, stop: float) -> int:
        self._next += 1
        return self._next


class _NoTable(dict[Any, Any]):
    """A table that keeps nothing, in place of one that grows for ever."""

    def __setitem__(self, key: Any, value: Any) -> None: ...


def _blocked(base: Any) -> Any:
    def blocked(*args: Any, **kwargs: Any) -> Any:
        raise base.MakeError("TypeError", "Python objects are not available")

    return blocked


def _block_python(base: Any) -> None:
    blocked = _blocked(base)
    base.py_wrap = base.HJs = blocked
    for name in ("__init__", "get", "put", "__call__", "callprop", "delete", "to_python", "to_py"):
        setattr(base.PyObjectWrapper, name, blocked)
    base.Scope.pyimport = blocked


def _translate_exceptions(base: Any) -> None:
    """Let JavaScript see what its built-in functions raise in Python as an error of its own."""
    original = base.PyJsFunction.call

    def call(self: Any, this: Any, args: Any = ()) -> Any:
        try:
            return original(self, this, args)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise base.MakeError("TypeError", str(error)[:200]) from None

    base.PyJsFunction.call = call


def _harden(base: Any, name: str, builtin: Any) -> None:
    if name == "Object":
        _replace(base, builtin, "getOwnPropertyNames", _own_property_names(base))
    elif name == "Math":
        _replace(base, builtin, "sqrt", _square_root(base))
        _replace(base, builtin, "round", _rounded(base))
    elif name == "Boolean":
        for method in ("toString", "valueOf"):
            _replace(base, base.BooleanPrototype, method, _boolean_method(base, method))
    else:
        base.FunctionPrototype.own["constructor"]["value"] = base.undefined


def _replace(base: Any, owner: Any, name: str, function: Any) -> None:
    made = base.PyJsFunction(function, base.FunctionPrototype)
    owner.define_own_property(name, {"value": made, "writable": True, "enumerable": False, "configurable": True})


def _own_property_names(base: Any) -> Any:
    def getOwnPropertyNames(obj: Any, this: Any, arguments: Any, var: Any = None) -> Any:
        if not obj.is_object():
            raise base.MakeError("TypeError", "Object.getOwnPropertyDescriptor called on non-object")
        return base.Js([base.Js(str(name)) for name in list(obj.own)])

    return getOwnPropertyNames


def _square_root(base: Any) -> Any:
    def sqrt(x: Any, this: Any, arguments: Any, var: Any = None) -> Any:
        value = x.to_number().value
        return base.Js(math.sqrt(value)) if value >= 0 else base.NaN

    return sqrt


def _rounded(base: Any) -> Any:
    def round(x: Any, this: Any, arguments: Any, var: Any = None) -> Any:
        value = x.to_number().value  # js2py rounds halves to even numbers
        return base.Js(float(math.floor(value + 0.5)) if math.isfinite(value) else value)

    return round


def _boolean_method(base: Any, method: str) -> Any:
    def convert(this: Any, arguments: Any, var: Any = None) -> Any:
        if this.Class != "Boolean":
            raise base.MakeError("TypeError", f"Boolean.prototype.{method} needs a boolean")
        value = bool(this.value.value if hasattr(this.value, "value") else this.value)
        return base.Js(("true" if value else "false") if method == "toString" else value)

    return convert


def _date_method(base: Any, method: str) -> Any:
    def convert(this: Any, arguments: Any, var: Any = None) -> Any:
        if this.Class != "Date":
            raise base.MakeError("TypeError", f"Date.prototype.{method} needs a Date")
        number = float(getattr(this.value, "value", this.value))
        if math.isfinite(number):
            moment = datetime(1970, 1, 1) + timedelta(milliseconds=number)
            return base.Js(moment.isoformat(timespec="milliseconds") + "Z")
        if method == "toJSON":
            return base.null
        raise base.MakeError("RangeError", "the time of the Date is invalid")

    return convert


def load() -> Runtime:
    """Return js2py, imported and hardened once in a process."""
    with _lock:
        if not _loaded:
            _loaded.append(Runtime())
        return _loaded[0]
