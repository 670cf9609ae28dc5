"""Instance: one instance of the guest, in a store of its own, called without the costs of wasmtime's Python objects.

`Func.__call__` of wasmtime takes a millisecond, so the C functions are bound here. A number that the guest returns is
never trusted: each access to its memory is checked against the size of the memory.

Source: include/wasmtime/func.h, store.h and memory.h of wasmtime's C API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import count
from time import monotonic, time_ns
from typing import Any, NamedTuple
from weakref import ref

from ...._internal.at_fork import new_lock
from ...engine import EngineError, Stage
from .guest import Guest
from .watchdog import EpochWatchdog

__all__ = ["MAX_FUEL", "Image", "Instance", "binding_of"]

#: What a call without a limit gets. It is large enough for years.
MAX_FUEL = 2**62
_FUNCTIONS = (
    *("qjs_alloc", "qjs_free", "qjs_last_len", "qjs_last_ptr", "qjs_result_free", "new_string", "new_undefined"),
    *("eval_code", "call_function", "execute_pending_jobs", "get_string", "get_prop", "free_value", "last_exception"),
    "set_memory_limit",
)
_LATE = b"the time limit has passed"
#: Stage and message by wasmtime's trap code. The stack of the guest lies below its data, so that it ends out of bounds.
_TRAPS: dict[int, tuple[Stage, str]] = {
    0: ("stack", "Maximum call stack size exceeded"),
    1: ("stack", "Maximum call stack size exceeded"),
    10: ("timeout", _LATE.decode()),
    11: ("fuel", "the fuel of the call is used up"),
}
_UNREACHABLE = 9
_MILLISECOND = 1_000_000  # nanoseconds
_NEAR = 1024 * 1024  # bytes; a guest that fails so near to its limit of memory has run out of it
_SHORT = 64 * 1024  # bytes that are copied without releasing the GIL

_Callback = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Deadline = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_instances: dict[int, ref[Instance]] = {}  # each change is one step
_keys = count(1)


class Image(NamedTuple):
    """The state of an instance: its memory and its stack pointer. The guest has no other mutable state."""

    memory: bytes
    stack: int


class _Binding:
    """The C functions of wasmtime that calls need, and the callbacks, which must live as long as the process."""

    def __init__(self, guest: Guest) -> None:
        ffi: Any = guest.wasmtime._ffi
        self.ffi = ffi
        self.guest = guest
        name = ffi.dll._name
        held, released = ctypes.PyDLL(name), ctypes.CDLL(name)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        #: Calls a function of the guest without releasing the GIL; for calls that take a microsecond.
        self.call = _bind(held, "wasmtime_func_call_unchecked", pointer, *(pointer, pointer, pointer, size, pointer))
        #: Calls a function of the guest while other threads run.
        self.run = _bind(released, "wasmtime_func_call_unchecked", pointer, *(pointer, pointer, pointer, size, pointer))
        self.data = _bind(held, "wasmtime_memory_data", pointer, pointer, pointer)
        self.size = _bind(held, "wasmtime_memory_data_size", size, pointer, pointer)
        self.grow = _bind(held, "wasmtime_memory_grow", pointer, *(pointer, pointer, ctypes.c_uint64, pointer))
        self.global_get = _bind(held, "wasmtime_global_get", None, pointer, pointer, pointer)
        self.global_set = _bind(held, "wasmtime_global_set", pointer, pointer, pointer, pointer)
        self.set_fuel = _bind(held, "wasmtime_context_set_fuel", pointer, pointer, ctypes.c_uint64)
        self.get_fuel = _bind(held, "wasmtime_context_get_fuel", pointer, pointer, pointer)
        self.trap_code = _bind(held, "wasmtime_trap_code", ctypes.c_bool, pointer, pointer)
        self.trap_delete = _bind(held, "wasm_trap_delete", None, pointer)
        self.error_new = _bind(held, "wasmtime_error_new", pointer, ctypes.c_char_p)
        self.error_delete = _bind(held, "wasmtime_error_delete", None, pointer)
        self.on_deadline = _bind(held, "wasmtime_store_epoch_deadline_callback", None, *([pointer] * 4))
        function_new = _bind(held, "wasmtime_func_new_unchecked", None, *([pointer] * 6))
        self.function_new: Callable[..., Any] = function_new
        i32, i64, kind = guest.wasmtime.ValType.i32, guest.wasmtime.ValType.i64, guest.wasmtime.FuncType
        self.host = {
            "clock_time_get": (kind([i32(), i64(), i32()], [i32()]), _Callback(_clock_time_get)),
            "environ_sizes_get": (kind([i32(), i32()], [i32()]), _Callback(_environ_sizes_get)),
        }
        self.watchdog = EpochWatchdog(guest.engine.increment_epoch)
        self.deadline = _Deadline(self._deadline_passed)

    def _deadline_passed(self, context: Any, key: Any, ticks: int, kind: int) -> int:
        """Handle a new epoch for a running store. A callback must not raise."""
        try:
            if self.watchdog.is_late(key or 0):
                return int(self.error_new(_LATE))
            ctypes.c_uint64.from_address(ticks).value = 1
            ctypes.c_uint8.from_address(kind).value = 0  # go on
            return 0
        except BaseException:
            return int(self.error_new(_LATE))


def _bind(library: Any, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = library[name]
    function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]
    return function


def _found(key: Any) -> Instance:
    """Return an instance that runs. Raises: LookupError, TypeError."""
    found = _instances[key]()
    if found is None:
        raise LookupError(key)
    return found


def _clock_time_get(key: Any, caller: Any, values: int, length: int) -> int:
    """Write the time in whole milliseconds, so that code cannot measure what other code does."""
    try:
        monotone = ctypes.c_int32.from_address(values).value == 1
        now = int(monotonic() * 1e9) if monotone else time_ns()
        place = ctypes.c_uint32.from_address(values + 32).value
        _found(key).write(place, (now - now % _MILLISECOND).to_bytes(8, "little"))
        ctypes.c_int32.from_address(values).value = 0
    except BaseException:  # a callback must not raise
        ctypes.c_int32.from_address(values).value = 8
    return 0


def _environ_sizes_get(key: Any, caller: Any, values: int, length: int) -> int:
    try:
        for place in (values, values + 16):
            _found(key).write(ctypes.c_uint32.from_address(place).value, bytes(4))
        ctypes.c_int32.from_address(values).value = 0
    except BaseException:  # a callback must not raise
        ctypes.c_int32.from_address(values).value = 8
    return 0


_lock = new_lock()  # guards the bindings
_bindings: dict[int, _Binding] = {}


def binding_of(guest: Guest) -> _Binding:
    """Return the bound functions of a guest. A process has one guest."""
    found = _bindings.get(id(guest))
    if found is None:
        with _lock:
            found = _bindings.get(id(guest))
            if found is None:
                found = _bindings[id(guest)] = _Binding(guest)
    return found


class Instance:
    """An instance of the guest. After a trap it must not be used again.

    Args:
        guest: the compiled guest.

    Attributes:
        failed: whether it has trapped.

    Threads: one at a time.
    """

    def __init__(self, guest: Guest) -> None:
        self._bound = bound = binding_of(guest)
        self.failed = False
        self.key = next(_keys)
        self._memory_limit = 0
        self._values = (bound.ffi.wasmtime_val_raw_t * 6)()
        self._values_at = ctypes.addressof(self._values)
        self._slots = [ctypes.c_int32.from_address(self._values_at + 16 * index) for index in range(6)]
        self._trap = ctypes.c_void_p()
        self._trap_at = ctypes.addressof(self._trap)
        self._fuel = ctypes.c_uint64()
        self._store = guest.wasmtime.Store(guest.engine)
        self._context = ctypes.cast(self._store._context(), ctypes.c_void_p).value
        _instances[self.key] = ref(self)
        deadline = ctypes.cast(bound.deadline, ctypes.c_void_p)
        bound.on_deadline(ctypes.cast(self._store.ptr(), ctypes.c_void_p), deadline, self.key, None)
        self._store.set_epoch_deadline(1)
        self.refuel(MAX_FUEL)
        self._instantiate(guest)

    def _instantiate(self, guest: Guest) -> None:
        ffi, store = self._bound.ffi, self._store
        stubs = guest.wasmtime.Instance(store, guest.stubs, []).exports(store)
        imports = (ffi.wasmtime_extern_t * len(guest.imports))()
        for index, name in enumerate(guest.imports):
            imports[index] = self._host_function(name) if name in self._bound.host else stubs[name]._as_extern()
        instance = ffi.wasmtime_instance_t()
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_instance_new(
            self._store._context(),
            guest.module.ptr(),
            imports,
            len(imports),
            ctypes.byref(instance),
            ctypes.byref(trap),
        )
        if error or trap:
            raise EngineError("memory", "WebAssembly cannot be instantiated", broken=True)
        self._externs = {name: self._export(instance, name) for name in (*_FUNCTIONS, "memory", "__stack_pointer")}
        places = {name: ctypes.addressof(one.of) for name, one in self._externs.items()}
        self._functions = {name: places[name] for name in _FUNCTIONS}
        self._memory, self._stack = places["memory"], places["__stack_pointer"]
        self._base: int = self._bound.data(self._context, self._memory)
        self.size: int = self._bound.size(self._context, self._memory)

    def _host_function(self, name: str) -> Any:
        ffi = self._bound.ffi
        kind, callback = self._bound.host[name]
        function = ffi.wasmtime_func_t()
        types = ctypes.cast(kind.ptr(), ctypes.c_void_p)
        code = ctypes.cast(callback, ctypes.c_void_p)
        self._bound.function_new(self._context, types, code, self.key, None, ctypes.addressof(function))
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_FUNC, ffi.wasmtime_extern_union(func=function))

    def _export(self, instance: Any, name: str) -> Any:
        ffi = self._bound.ffi
        found = ffi.wasmtime_extern_t()
        data = name.encode()
        buffer = ctypes.create_string_buffer(data)
        if not ffi.wasmtime_instance_export_get(
            self._store._context(), ctypes.byref(instance), buffer, len(data), ctypes.byref(found)
        ):
            raise EngineError("host", f"the WebAssembly guest has no {name}", broken=True)
        return found

    def close(self) -> None:
        """Free the store. May be called twice."""
        self.failed = True
        _instances.pop(self.key, None)
        self._store.close()

    # limits

    def limit_memory(self, total: int) -> None:
        """Bound the bytes of the whole memory."""
        if total != self._memory_limit:
            self._memory_limit = total
            self._store.set_limits(memory_size=total)

    def refuel(self, fuel: int) -> None:
        """Set the fuel that is left."""
        self._bound.set_fuel(self._context, fuel)

    def fuel(self) -> int:
        """Return the fuel that is left."""
        self._bound.get_fuel(self._context, ctypes.addressof(self._fuel))
        return self._fuel.value

    # functions of the guest

    def call(self, name: str, *values: int) -> int:
        """Call a function that takes a few microseconds."""
        return self._invoke(self._bound.call, name, values)

    def run(self, seconds: float, name: str, *values: int) -> int:
        """Call a function that runs user code, or takes long, while other threads run.

        Raises: EngineError if it traps or takes more than `seconds`.
        """
        watchdog = self._bound.watchdog
        watchdog.enter(self.key, monotonic() + seconds)
        try:
            return self._invoke(self._bound.run, name, values)
        finally:
            watchdog.leave(self.key)

    def _invoke(self, call: Callable[..., Any], name: str, values: tuple[int, ...]) -> int:
        if self.failed:
            raise EngineError("host", "the WebAssembly instance has failed before", broken=True)
        slots = self._slots
        for index, value in enumerate(values):
            slots[index].value = value
        error = call(self._context, self._functions[name], self._values_at, len(values) or 1, self._trap_at)
        if error or self._trap.value:
            raise self._failure(error)
        return int(slots[0].value)

    def _failure(self, error: int | None) -> EngineError:
        """Return the error for a call that did not return, and free what wasmtime says of it."""
        self.failed = True
        if error:
            self._bound.error_delete(error)
            return EngineError("timeout", _LATE.decode())
        trap, self._trap.value = self._trap.value, None
        code = ctypes.c_uint8(255)
        self._bound.trap_code(trap, ctypes.addressof(code))
        self._bound.trap_delete(trap)
        self.size = self._bound.size(self._context, self._memory)
        if code.value == _UNREACHABLE and self._memory_limit - self.size < _NEAR:
            return EngineError("memory", "the memory limit has been reached")
        stage, message = _TRAPS.get(code.value, ("execute", "the WebAssembly guest has failed"))
        return EngineError(stage, message, name="RangeError" if stage == "stack" else "")

    # the memory of the guest

    def _checked(self, place: int, length: int) -> int:
        place &= 0xFFFFFFFF
        if place + length > self.size:
            self.size = self._bound.size(self._context, self._memory)
            if place + length > self.size:
                self.failed = True
                raise EngineError("execute", "the WebAssembly guest has given a wrong address")
        return self._base + place

    def write(self, place: int, data: bytes) -> None:
        """Copy bytes into the memory. Raises: EngineError for an address outside of it."""
        ctypes.memmove(self._checked(place, len(data)), data, len(data))

    def read(self, place: int, length: int) -> bytes:
        """Copy bytes out of the memory. Raises: EngineError for an address outside of it."""
        length &= 0xFFFFFFFF
        return ctypes.string_at(self._checked(place, length), length) if length else b""

    def write_numbers(self, place: int, *values: int) -> None:
        """Write 32-bit numbers one after the other."""
        at = self._checked(place, 4 * len(values))
        for index, value in enumerate(values):
            ctypes.c_int32.from_address(at + 4 * index).value = value

    def read_number(self, place: int) -> int:
        """Read a 32-bit number."""
        return ctypes.c_int32.from_address(self._checked(place, 4)).value

    def allocate(self, data: bytes) -> int:
        """Copy bytes to a new place in the memory, and return it. Raises: EngineError without memory."""
        place = self.call("qjs_alloc", len(data))
        if not place and data:
            raise EngineError("memory", "the memory limit has been reached")
        self.write(place, data)
        return place

    def string(self, data: bytes, seconds: float) -> int:
        """Return the handle of a string of JavaScript from UTF-8. Raises: EngineError without memory."""
        place = self.allocate(data)
        if len(data) < _SHORT:
            handle = self.call("new_string", place, len(data))
        else:
            handle = self.run(seconds, "new_string", place, len(data))
        self.call("qjs_free", place, len(data))
        if not handle:
            raise EngineError("memory", "the memory limit has been reached")
        return handle

    def text(self, handle: int) -> str | None:
        """Return the text of a string of JavaScript; None for another value."""
        if self.call("get_string", handle):
            return None
        length = self.call("qjs_last_len")
        data = self.read(self.call("qjs_last_ptr"), length)
        self.call("qjs_result_free")
        return data.decode("utf-8", "replace")

    # the whole state

    def image(self) -> Image:
        """Return the state."""
        value = self._bound.ffi.wasmtime_val_t()
        self._bound.global_get(self._context, self._stack, ctypes.addressof(value))
        self.size = self._bound.size(self._context, self._memory)
        return Image(ctypes.string_at(self._base, self.size), value.of.i32)

    def restore(self, image: Image) -> bool:
        """Take over a state. Return False if the memory is larger than that of the state, as it cannot shrink."""
        bound = self._bound
        self.size = bound.size(self._context, self._memory)
        missing = len(image.memory) - self.size
        if missing < 0 or self.failed:
            return False
        if missing:
            self.limit_memory(max(self._memory_limit, len(image.memory)))
            before = ctypes.c_uint64()
            error = bound.grow(self._context, self._memory, missing >> 16, ctypes.addressof(before))
            if error:
                bound.error_delete(error)
                return False
            self.size += missing
        ctypes.memmove(self._base, image.memory, len(image.memory))
        value = bound.ffi.wasmtime_val_t()
        value.kind, value.of.i32 = 0, image.stack
        bound.global_set(self._context, self._stack, ctypes.addressof(value))
        return True
