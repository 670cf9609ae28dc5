"""The engine quickjs-wasm: QuickJS-ng as WebAssembly, through the packages wasmtime and quickjs-rs.

The code runs in this process, and WebAssembly keeps it from the memory of the process. Each call begins with a copy of
the state in which the program was loaded. A bound on the memory of the instance holds for everything in it, and the
epoch ends native loops as well. The instructions are counted as fuel: the same call from the same state costs the same.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Any, ClassVar

from ....errors import ConfigError
from ...engine import Capabilities, Engine, EngineError, Host, Stage
from ...limits import Limits
from ...prelude import prelude_source
from ...program import Program
from ..driver import Realm, call_realm, explain_memory, load_realm, place_of, settle_realm
from .guest import MAX_NATIVE_STACK, guest_version, load_guest, module_path
from .images import Handles, ImageCache, Loaded
from .instance import MAX_FUEL, Instance, binding_of

__all__ = ["QuickJSWasmEngine"]

_MIB = 1024 * 1024
_SLACK = 256 * 1024
_OK, _ERROR, _BAD_INPUT = 0, 1, 2
_OPS = ("call", "check", "poll", "outbox", "resolve", "begin", "reseed", "module", "ready")
_SURROGATES = re.compile("[\ud800-\udfff]")
_PRELUDE_LIMITS = Limits(time=30.0, memory=64 * _MIB)


class QuickJSWasmEngine(Engine):
    """Runs programs in QuickJS-ng inside WebAssembly; see `Engine`.

    Args:
        module: path of the compiled guest, for a child process that has no cache; None finds or makes it.

    Raises: ConfigError if the guest is not the one that was tested.
    """

    name = "quickjs-wasm"
    install = '"portal-functions[wasm]"'
    _images: ClassVar[ImageCache] = ImageCache()

    def __init__(self, module: str | None = None) -> None:
        _require_stack()
        self._guest = load_guest(module)
        self._watchdog = binding_of(self._guest).watchdog
        self._spare: Instance | None = None
        self._closed = False
        self._watchdog.open()

    @staticmethod
    def is_available() -> bool:
        """Return whether the packages wasmtime and quickjs-rs are installed."""
        return guest_version() != ""

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what QuickJS-ng can do in WebAssembly."""
        return Capabilities(
            version=guest_version(),
            edition=2023,
            isolation=frozenset(("wasm", "process")),
            trusted=True,
            limits=frozenset(("time", "memory", "stack", "output", "log", "fuel")),
            promises=True,
            address_space=None,
            data=512 * _MIB,
        )

    @staticmethod
    def child_options() -> dict[str, Any]:
        """Return the path of the compiled guest, which a child does not look for itself."""
        return {"module": module_path()}

    def compile(self, program: Program, limits: Limits) -> Any:
        """Return an instance in the state in which the program was loaded."""
        key = (program.digest, limits.memory, limits.fuel)
        loaded = self._images.get(key)
        if loaded is None:
            loaded = self._load(program, limits)
            self._images.put(key, loaded)
        realm = WasmRealm(self._instance(loaded), loaded.handles, program)
        realm.require_memory(limits)
        realm.send("reseed", os.urandom(4).hex(), limits.time)
        return realm

    def _load(self, program: Program, limits: Limits) -> Loaded:
        base = self._base(program)
        instance = self._instance(base)
        try:
            realm = WasmRealm(instance, base.handles, program)
            realm.require_memory(limits)
            instance.refuel(MAX_FUEL if limits.fuel is None else limits.fuel)
            before = instance.fuel()
            load_realm(realm, program, limits)
            fuel = before - instance.fuel()
            return Loaded(instance.image(), base.handles, fuel)
        finally:
            self._keep(instance)

    def _base(self, program: Program) -> Loaded:
        """Return the state in which the prelude is loaded with the options of a program."""
        key = (program.options, program.arguments)
        found = self._images.get(key)
        if found is None:
            instance = Instance(self._guest)
            try:
                instance.limit_memory(_PRELUDE_LIMITS.memory)
                handles = _start(instance, prelude_source(program, whole=True))
                found = Loaded(instance.image(), handles, MAX_FUEL - instance.fuel())
            finally:
                instance.close()
            self._images.put(key, found)
        return found

    def _instance(self, loaded: Loaded) -> Instance:
        """Return an instance in a state, made anew only if there is no spare one, or if it has grown."""
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.restore(loaded.image):
                return spare
            spare.close()
        made = Instance(self._guest)
        if not made.restore(loaded.image):
            made.close()
            raise EngineError("memory", "the memory limit has been reached")
        return made

    def _keep(self, instance: Instance) -> None:
        """Use an instance again, unless it has failed. Its state is replaced before the next program."""
        if instance.failed or self._closed or self._spare is not None:
            instance.close()
        else:
            self._spare = instance

    def call(self, handle: Any, text: str, limits: Limits, host: Host) -> str:
        """Call the function in its instance, and note the fuel that it took."""
        realm: WasmRealm = handle
        bound = MAX_FUEL if limits.fuel is None else limits.fuel
        realm.instance.refuel(bound)
        try:
            return call_realm(realm, text, limits, host)
        finally:
            self.fuel = bound - realm.instance.fuel()

    def settle(self, handle: Any, limits: Limits) -> bool:
        """Run the promise jobs that a call has left behind."""
        handle.instance.refuel(MAX_FUEL if limits.fuel is None else limits.fuel)
        return settle_realm(handle, limits)

    def release(self, handle: Any) -> None:
        """Take the instance back."""
        self._keep(handle.instance)

    def close(self) -> None:
        """Free the spare instance."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        if not self._closed:
            self._closed = True
            self._watchdog.close()


def _require_stack() -> None:
    """Raise ConfigError if threads have less stack than WebAssembly may use: the process would crash."""
    size = threading.stack_size()
    if size and size < 2 * MAX_NATIVE_STACK:
        raise ConfigError.invalid("threading.stack_size", size, f"0 or at least {2 * MAX_NATIVE_STACK:,} bytes")


def _start(instance: Instance, source: str) -> Handles:
    """Evaluate the prelude in a new instance."""
    place = instance.allocate(bytes(12))
    handles = Handles(place, place + 4, instance.call("new_undefined"), 0, {})
    data = source.encode()
    text = instance.allocate(data)
    status = instance.run(_PRELUDE_LIMITS.time, "eval_code", text, len(data), handles.result)
    if status != _OK:
        raise EngineError("host", "the prelude cannot be evaluated in WebAssembly", broken=True)
    instance.call("qjs_free", text, len(data))
    # memory that small calls use without growing; an instance that has grown cannot take over a state again
    instance.call("qjs_free", instance.call("qjs_alloc", _SLACK), _SLACK)
    ops = {op: instance.string(op.encode(), 1.0) for op in _OPS}
    return handles._replace(send=instance.read_number(handles.result), ops=ops)


class WasmRealm(Realm):
    """A global object with the prelude, in an instance of its own."""

    def __init__(self, instance: Instance, handles: Handles, program: Program) -> None:
        self.instance = instance
        self.added_lines = program.added_lines
        self._handles = handles
        self._source = program.source
        if '"setup"' in program.options:
            self.seed = (json.loads(program.options).get("seed"),)

    def require_memory(self, limits: Limits) -> None:
        """Bound the heap of QuickJS, and the whole memory, as typed arrays are not in the heap."""
        self.instance.limit_memory(limits.memory + 2 * _MIB)
        self.instance.call("set_memory_limit", limits.memory)

    def evaluate(self, source: str, seconds: float) -> None:
        """Evaluate a script."""
        instance = self.instance
        try:
            data = source.encode()
        except UnicodeEncodeError:
            raise EngineError("syntax", "the source must be valid Unicode text", name="SyntaxError") from None
        place = instance.allocate(data)
        status = instance.run(seconds, "eval_code", place, len(data), self._handles.result)
        if status != _OK:
            raise self._error(status, "compile")
        instance.call("free_value", instance.read_number(self._handles.result))
        instance.call("qjs_free", place, len(data))

    def send(self, op: str, text: str, seconds: float) -> str:
        """Call the function of the prelude."""
        instance, handles = self.instance, self._handles
        argument = instance.string(_encode(text), seconds)
        instance.write_numbers(handles.arguments, handles.ops[op], argument)
        status = instance.run(
            seconds, "call_function", handles.send, handles.undefined, handles.arguments, 2, handles.result
        )
        if status != _OK:
            raise self._error(status, "execute")
        result = instance.read_number(handles.result)
        reply = instance.text(result)
        instance.call("free_value", result)
        instance.call("free_value", argument)
        if reply is None:
            raise EngineError("execute", "the script has broken its global object")
        return reply

    def run_job(self, seconds: float) -> bool:
        """Run all promise jobs, as the guest has no function for one."""
        return self.instance.run(seconds, "execute_pending_jobs") > 0

    def explain(self, error: EngineError) -> EngineError:
        """Return the error of a call. With no memory left for an error object or its text, QuickJS throws less."""
        return explain_memory(error, self._source)

    def _error(self, status: int, stage: Stage) -> EngineError:
        """Return the error for an exception that no JavaScript code could catch, or that the source threw."""
        instance = self.instance
        if status == _BAD_INPUT:
            return EngineError("syntax", "the source must be valid Unicode text", name="SyntaxError")
        if status != _ERROR or instance.call("last_exception", self._handles.result):
            return EngineError("memory", "the memory limit has been reached")
        thrown = instance.read_number(self._handles.result)
        name, message, rows = (self._property(thrown, one) for one in ("name", "message", "stack"))
        if name is None:
            name, message = "Error", instance.text(thrown) or message or ""
        stack, line, column = place_of(rows or "", self.added_lines)
        if name == "SyntaxError" and stage == "compile" and (rows or "").strip().startswith("at eval_script"):
            stage = "syntax"
        error = EngineError(stage, (message or "")[:2000], name=name[:100], line=line, column=column, stack=stack)
        if name == "InternalError" and message == "stack overflow":
            return EngineError("stack", message, name="RangeError", line=line, column=column, stack=stack)
        return explain_memory(error, self._source)

    def _property(self, handle: int, name: str) -> str | None:
        instance, data = self.instance, name.encode()
        place = instance.allocate(data)
        # an object that was thrown may have a getter
        status = instance.run(1.0, "get_prop", handle, place, len(data), self._handles.result)
        return None if status != _OK else instance.text(instance.read_number(self._handles.result))


def _encode(text: str) -> bytes:
    """Return JSON text as UTF-8. A lone surrogate, which UTF-8 does not have, is written as an escape."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
