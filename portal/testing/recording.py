"""Record real calls to a file, for `Replay`.

with recording("orders.json", consumer): ...           # every call of a Consumer
with recording("orders.json", http_portal) as portal: ...  # use it in place of the real one: Consumer([portal])
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any, Protocol, TypeAlias, overload

from .._internal.closing import close_and_log
from ..address import Address
from ..calls.middleware import Call, CallNext, Middleware
from ..consumer.pending import PendingFunction
from ..context import CallContext
from ..errors import PortalError
from ..function import Function, ResolvedFunction
from ..portal import Portal
from ..schema import FunctionSchema, is_json
from ..service import Service
from .history import snapshot
from .recording_file import FilePath, error_as_json, recording_path, write_recording

__all__ = ["Recorder", "RecordingPortal", "TakesMiddleware", "recording"]

Clock: TypeAlias = Callable[[], float]


class TakesMiddleware(Protocol):
    """An object whose calls a middleware can record, such as a Consumer."""

    def use(self, middleware: Middleware, /) -> Any:
        """Add a middleware."""


class Recorder:
    """A middleware, for a Consumer or for any portal, that records every call it sees.

    It leaves out a call whose parameters are not JSON data, since every portal rejects it. As a context manager it
    saves at the end of the block and stops recording.

    Args:
        path: the file to write.
        clock: seconds, for durations.

    Threads: any.
    """

    def __init__(self, path: FilePath, *, clock: Clock = perf_counter) -> None:
        self._path = recording_path(path)
        self._clock = clock
        self._lock = threading.Lock()  # guards the functions and calls
        self._write_lock = threading.Lock()  # one thread at a time writes the file
        self._is_recording = True
        self._functions: dict[str, Any] = {}
        self._calls: list[dict[str, Any]] = []

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        started = self._clock()
        params = snapshot(call.params)
        try:
            result = call_next(call)
        except PortalError as error:
            self._keep(call, params, {"error": error_as_json(error)}, started)
            raise
        if call.streaming:
            return self._stream(call, params, result, started)
        self._keep(call, params, {"result": snapshot(result)}, started)
        return result

    def _stream(self, call: Call, params: Any, source: Iterator[Any], started: float) -> Iterator[Any]:
        items: list[Any] = []
        outcome: dict[str, Any] = {"items": items, "partial": True}
        try:
            for item in source:
                items.append(snapshot(item))
                yield item
            del outcome["partial"]
        except PortalError as error:
            del outcome["partial"]
            outcome["error"] = error_as_json(error)
            raise
        finally:
            self._keep(call, params, outcome, started)
            close_and_log(source, f"the stream of {call.function.name}")

    def _keep(self, call: Call, params: Any, outcome: Mapping[str, Any], started: float) -> None:
        address = str(call.address or call.function.address or f"local://{call.function.name}")
        recorded = {"address": address, "params": params, **outcome, "duration": round(self._clock() - started, 6)}
        if not isinstance(params, dict) or not is_json(params):
            return
        with self._lock:
            if self._is_recording:
                # A call that failed before its schema was fetched has only a placeholder for it.
                if address not in self._functions or not isinstance(call.function, PendingFunction):
                    self._functions[address] = call.function.schema.to_dict()
                self._calls.append(recorded)

    def save(self) -> None:
        """Write the calls recorded so far; the file is replaced as a whole or not at all. May be called again.

        Raises: SerializationError for a result that is not JSON data (its function's output is not validated).
        """
        with self._write_lock:
            with self._lock:
                functions, calls = dict(self._functions), list(self._calls)
            write_recording(self._path, functions, calls)

    def close(self) -> None:
        """Save and stop recording; later calls pass through. A second call does nothing."""
        with self._lock:
            was_recording, self._is_recording = self._is_recording, False
        if was_recording:
            self.save()

    def __enter__(self) -> Recorder:
        with self._lock:
            self._is_recording = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class RecordingPortal(Portal):
    """A portal that passes every call on to another portal and records it.

    It has the addresses of the other portal and publishes there. `close` writes the file and leaves the other open.

    Args:
        portal: the portal to record.
        path: the file to write.
        clock: seconds, for durations.

    Threads: any.
    """

    def __init__(self, portal: Portal, path: FilePath, *, clock: Clock = perf_counter) -> None:
        self._real = portal
        self._recorder = Recorder(path, clock=clock)
        self.schemes = portal.schemes  # type: ignore[misc]
        self.in_process = portal.in_process
        super().__init__()

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return self._real._address_of(path)

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish at the recorded portal."""
        return self._real.apply(function)

    def apply_service(self, service: Any) -> Address:
        """Publish at the recorded portal."""
        return self._real.apply_service(service)

    def remove(self, address: Address | str) -> None:
        """Remove from the recorded portal."""
        self._real.remove(address)

    def functions(self) -> dict[Address, FunctionSchema]:
        """Return the schemas that the recorded portal publishes, by address."""
        return self._real.functions()

    def services(self) -> dict[Address, Service]:
        """Return the services that the recorded portal publishes, by address."""
        return self._real.services()

    def resolve_service(self, address: Address | str) -> Service:
        """Resolve at the recorded portal; calls of the members are recorded."""
        found = self._real.resolve_service(address)
        members = [self._recorded(member, Address.of(address)) for member in found.functions.values()]
        return Service(found.name, members, version=found.version, description=found.description)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Resolve at the recorded portal; calls of the function are recorded."""
        return self._recorded(self._real.resolve_function(address), Address.of(address))

    def _recorded(self, real: Function, address: Address) -> ResolvedFunction:
        at = real.address or address
        return ResolvedFunction(
            _RecordedTarget(self._recorder, real),
            schema=real.schema,
            address=at,
            parameters=real.parameters,
            output=real.output,
            timeout=getattr(real, "timeout", None),
        )

    def health(self) -> dict[str, Any]:
        """Return the health of the recorded portal."""
        return self._real.health()

    def stats(self) -> dict[str, Any]:
        """Return the statistics of the recorded portal."""
        return self._real.stats()

    def close(self) -> None:
        """Write the file and leave the recorded portal open. A second call does nothing."""
        if not self._closed:
            super().close()
            self._recorder.close()


class _RecordedTarget:
    """Passes the calls of a recorded function on to the real one."""

    def __init__(self, recorder: Recorder, real: Function) -> None:
        self._recorder = recorder
        self._real = real

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        call = Call(function, params, context, function.address)
        return self._recorder(call, lambda one: self._real.invoke(one.params, one.context))

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        call = Call(function, params, context, function.address, True)
        items: Iterator[Any] = self._recorder(call, lambda one: self._real.iterate(one.params, one.context))
        return items


@overload
def recording(path: FilePath, target: Portal, *, clock: Clock = ...) -> AbstractContextManager[RecordingPortal]: ...
@overload
def recording(path: FilePath, target: TakesMiddleware, *, clock: Clock = ...) -> AbstractContextManager[Recorder]: ...
@contextmanager
def recording(path: FilePath, target: Any, *, clock: Clock = perf_counter) -> Iterator[Any]:
    """Record during a `with` block and write the file at its end, also after an error.

    Args:
        path: the file to write.
        target: a Consumer, whose calls are recorded; or a portal: the block gets a RecordingPortal to use in its place.
        clock: seconds, for durations.
    """
    if isinstance(target, Portal):
        with RecordingPortal(target, path, clock=clock) as portal:
            yield portal
        return
    recorder = Recorder(path, clock=clock)
    target.use(recorder)
    with recorder:
        yield recorder
