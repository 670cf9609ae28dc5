"""Record real calls to a file, and replay them without the functions that answered.

    with recording("orders.json", consumer): ...           # every call of a Consumer
    with recording("orders.json", http_portal) as kept: ... # a portal in the place of the real one: Consumer([kept])
    Consumer([Replay("orders.json")]).call_at(...)          # the same answers and errors, no server

The file is JSON: `{"version": 1, "functions": {address: schema}, "calls": [...]}`, calls by address and parameters.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeAlias, overload

from ..address import Address
from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call, CallNext, Middleware
from ..consumer.pending import PendingFunction
from ..context import CallContext
from ..errors import PortalError, RegistryError, SerializationError
from ..function import Function, ResolvedFunction
from ..portal import Portal
from ..schema import FunctionSchema, is_json
from ..service import Service
from .history import snapshot

__all__ = ["Recorder", "RecordingPortal", "Replay", "TakesMiddleware", "recording"]

FilePath: TypeAlias = str | os.PathLike[str]
Clock: TypeAlias = Callable[[], float]
_VERSION = 1
_COMPARED = 2_000  # how many calls, and how many characters of each, are looked through for the nearest one


class TakesMiddleware(Protocol):
    """What can be recorded by a middleware, as a Consumer."""

    def use(self, middleware: Middleware, /) -> Any:
        """Add a middleware."""


class Recorder:
    """A middleware, for a Consumer or for any portal, that keeps every call it sees.

    A call whose parameters are no JSON data is left out: it is refused wherever it goes.

    Args:
        path: of the file.
        clock: seconds, for durations.

    Threads: any. `save` may be called more than once; as a context manager it saves at the end and keeps no more.
    """

    def __init__(self, path: FilePath, *, clock: Clock = perf_counter) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()  # guards what was seen
        self._saving = threading.Lock()  # one writer of the file at a time
        self._open = True
        self._functions: dict[str, Any] = {}
        self._calls: list[dict[str, Any]] = []

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        begun = self._clock()
        params = snapshot(call.params)
        try:
            result = call_next(call)
        except PortalError as error:
            self._keep(call, params, {"error": _plain(error)}, begun)
            raise
        if call.streaming:
            return self._stream(call, params, result, begun)
        self._keep(call, params, {"result": snapshot(result)}, begun)
        return result

    def _stream(self, call: Call, params: Any, source: Iterator[Any], begun: float) -> Iterator[Any]:
        items: list[Any] = []
        outcome: dict[str, Any] = {"items": items, "partial": True}
        try:
            for item in source:
                items.append(snapshot(item))
                yield item
            del outcome["partial"]
        except PortalError as error:
            del outcome["partial"]
            outcome["error"] = _plain(error)
            raise
        finally:
            self._keep(call, params, outcome, begun)

    def _keep(self, call: Call, params: Any, outcome: Mapping[str, Any], begun: float) -> None:
        address = str(call.address or call.function.address or f"local://{call.function.name}")
        row = {"address": address, "params": params, **outcome, "duration": round(self._clock() - begun, 6)}
        if not isinstance(params, dict) or not is_json(params):
            return
        with self._lock:
            if self._open:
                # of a call that failed before the contract was known there is only a stand-in
                if address not in self._functions or not isinstance(call.function, PendingFunction):
                    self._functions[address] = call.function.schema.to_dict()
                self._calls.append(row)

    def save(self) -> None:
        """Write what was seen so far; the file is replaced whole or not at all.

        Raises: SerializationError for a result that is no JSON data (its function's output is not validated).
        """
        with self._lock:
            calls = sorted(self._calls, key=lambda row: (row["address"], _key(row["params"])))  # equal ones keep turns
            data = {"version": _VERSION, "functions": dict(self._functions), "calls": calls}
        try:
            text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SerializationError(f"what was recorded for {self._path.name} is no JSON data: {error}") from error
        with self._saving:
            _replace(self._path, text + "\n")

    def close(self) -> None:
        """Save, and record no more; later calls pass through. Does nothing if it is closed already."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            self.save()

    def __enter__(self) -> Recorder:
        with self._lock:
            self._open = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class RecordingPortal(Portal):
    """Stands in the place of a portal, passes every call on to it, and records it.

    It answers at the same addresses and publishes there. `close` writes the file and leaves the real portal open.
    Threads: any.

    Args:
        portal: the real one.
        path: of the file.
        clock: seconds, for durations.
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
        """Publish at the real portal."""
        return self._real.apply(function)

    def apply_service(self, service: Any) -> Address:
        """Publish at the real portal."""
        return self._real.apply_service(service)

    def remove(self, address: Address | str) -> None:
        """Withdraw from the real portal."""
        self._real.remove(address)

    def functions(self) -> dict[Address, FunctionSchema]:
        """What the real portal publishes."""
        return self._real.functions()

    def services(self) -> dict[Address, Service]:
        """What the real portal publishes."""
        return self._real.services()

    def resolve_service(self, address: Address | str) -> Service:
        """The real portal's Service, its calls recorded."""
        found = self._real.resolve_service(address)
        members = [self._recorded(member, Address.of(address)) for member in found.functions.values()]
        return Service(found.name, members, version=found.version, description=found.description)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """The real portal's Function, its calls recorded."""
        return self._recorded(self._real.resolve_function(address), Address.of(address))

    def _recorded(self, real: Function, address: Address) -> ResolvedFunction:
        at = real.address or address
        return ResolvedFunction(
            _Tap(self._recorder, real),
            schema=real.schema,
            address=at,
            parameters=real.parameters,
            output=real.output,
            timeout=getattr(real, "timeout", None),
        )

    def health(self) -> dict[str, Any]:
        """The real portal's."""
        return self._real.health()

    def stats(self) -> dict[str, Any]:
        """The real portal's."""
        return self._real.stats()

    def close(self) -> None:
        """Write the file; the real portal stays open. May be called twice."""
        if not self._closed:
            super().close()
            self._recorder.close()


class _Tap:
    """Carries a recorded function's calls to the real one."""

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
    """Record for the length of a `with` block, and write the file at its end, also after an error.

    Args:
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


class Replay(Portal):
    """Answers the calls of a recording, at the addresses they were made at.

    Equal calls are answered in the order they were recorded, the last one again and again. A call that was not recorded
    is a RegistryError that shows the nearest one that was. Threads: any.

    Args:
        path: of the file.
        middleware: around every call, the first outermost.

    Raises: SerializationError for a file that is no recording.
    """

    def __init__(self, path: FilePath, *, middleware: Iterable[Middleware | str] = ()) -> None:
        self._functions, rows = _read(Path(path))
        self._tape = _Tape(rows)
        self._dispatcher = Dispatcher(middleware)
        self.schemes = tuple({Address.parse(address).scheme: None for address in self._functions})  # type: ignore[misc]
        super().__init__()

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local("test", path)

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Refused: a recording is what it is. Raises RegistryError (invalid)."""
        raise RegistryError("a recording takes no functions; publish them at a TestingPortal", kind="invalid")

    def functions(self) -> dict[Address, FunctionSchema]:
        """What was called when it was recorded."""
        return {Address.parse(address): schema for address, schema in self._functions.items()}

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """The recorded function at an address; RegistryError (not_found) that shows the nearest one."""
        target = Address.of(address)
        schema = self._functions.get(str(target))
        if schema is None:
            near = get_close_matches(str(target), self._functions, n=1, cutoff=0.0)
            words = f"nothing was recorded at {target}; nearest: {', '.join(near) or 'nothing'}"
            raise RegistryError(words, name=str(target), address=target)
        return ResolvedFunction(self, schema=schema, address=target)

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """The recorded result, or the recorded error as its class."""
        return self._dispatch(function, params, context, False)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """The recorded items, then the recorded error if there was one."""
        items: Iterator[Any] = self._dispatch(function, params, context, True)
        return items

    def _dispatch(
        self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext, stream: bool
    ) -> Any:
        assert function.address is not None
        taped = ResolvedFunction(self._tape, schema=function.schema, address=function.address)
        return self._dispatcher.dispatch(Call(taped, params, context, function.address, stream))

    def stop(self, grace: float = 5.0) -> None:
        """Give the workers back."""
        super().stop(grace)
        self._dispatcher.close(grace)


class _Tape:
    """The rows of a recording, taken one after another."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            self._rows.setdefault((row["address"], _key(row["params"])), []).append(row)
        self._lock = threading.Lock()  # guards the rows

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        row = self._take(function, params)
        if "error" in row:
            raise PortalError.from_dict(row["error"])
        return row.get("result")

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        row = self._take(function, params)
        if "items" not in row and "error" in row:
            raise PortalError.from_dict(row["error"])
        return _items(function, row)

    def _take(self, function: ResolvedFunction, params: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(params) if isinstance(params, Mapping) else params
        if not isinstance(given, dict) or not is_json(given):
            function.schema.validate_input(given)
        address, key = str(function.address), _key(given)
        with self._lock:
            rows = self._rows.get((address, key))
            if rows:
                return copy.deepcopy(rows.pop(0) if len(rows) > 1 else rows[0])
            known = [other[:_COMPARED] for at, other in self._rows if at == address][:_COMPARED]
        near = get_close_matches(key[:_COMPARED], known, n=1, cutoff=0.0)
        words = f"{function.name} was not recorded with {key}; nearest recorded: {', '.join(near) or 'nothing'}"
        raise RegistryError(words, name=function.name, address=address)


def _items(function: Function, row: Mapping[str, Any]) -> Iterator[Any]:
    yield from row.get("items", ())
    if "error" in row:
        raise PortalError.from_dict(row["error"])
    if row.get("partial"):
        words = f"the stream {function.name} was recorded up to item {len(row['items'])} only"
        raise RegistryError(words, name=function.name)


def _plain(error: PortalError) -> dict[str, Any]:
    """The error without the id of the call, which is another one at every replay."""
    data = error.to_dict()
    kept = {name: value for name, value in data.pop("context", {}).items() if name != "request_id"}
    return {**data, "context": kept} if kept else data


def _key(params: Any) -> str:
    return json.dumps(params, sort_keys=True, ensure_ascii=False, default=repr)


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        # a lone surrogate in an error's text is written as the escape that JSON has for it
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, FunctionSchema], list[dict[str, Any]]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{path.name} is no recording: {error}") from None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise SerializationError(f"{path.name} is no recording of version {_VERSION}")
    functions, calls = data.get("functions"), data.get("calls")
    if not isinstance(functions, dict) or not isinstance(calls, list):
        raise SerializationError(f'{path.name} is no recording: "functions" or "calls" is missing')
    for number, row in enumerate(calls):
        if not _is_row(row, functions):
            raise SerializationError(f"{path.name} is no recording: call {number} is incomplete")
    return {address: FunctionSchema.from_dict(schema) for address, schema in functions.items()}, calls


def _is_row(row: Any, functions: Mapping[str, Any]) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("params"), dict) or row.get("address") not in functions:
        return False
    if not isinstance(row.get("error", {}), dict) or not isinstance(row.get("items", []), list):
        return False
    return not row.keys().isdisjoint({"result", "error", "items"})
