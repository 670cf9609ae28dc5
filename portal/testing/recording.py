"""Record real calls to a file, and replay them without the functions that answered.

    recorder = Recorder("orders.json")
    Consumer(middleware=[recorder]) ...; recorder.save()
    Consumer([Replay("orders.json")]).call_at(...)     # the same answers and errors, no server

The file is JSON: `{"version": 1, "functions": {address: schema}, "calls": [...]}`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from ..address import Address
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import PortalError, RegistryError, SerializationError
from ..function import ResolvedFunction
from ..portal import Portal
from ..schema import FunctionSchema

__all__ = ["Recorder", "Replay"]

_VERSION = 1


class Recorder:
    """A middleware, for a Consumer or for any portal, that keeps every call it sees.

    Threads: any. `save` may be called more than once; as a context manager it saves at the end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()  # guards what was seen
        self._functions: dict[str, Any] = {}
        self._calls: list[dict[str, Any]] = []

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        begun = perf_counter()
        try:
            result = call_next(call)
        except PortalError as error:
            self._keep(call, {"error": error.to_dict()}, begun)
            raise
        if call.streaming:
            return self._stream(call, result, begun)
        self._keep(call, {"result": result}, begun)
        return result

    def _stream(self, call: Call, source: Iterator[Any], begun: float) -> Iterator[Any]:
        items: list[Any] = []
        outcome: dict[str, Any] = {"items": items}
        try:
            for item in source:
                items.append(item)
                yield item
        except PortalError as error:
            outcome["error"] = error.to_dict()
            raise
        finally:
            self._keep(call, outcome, begun)

    def _keep(self, call: Call, outcome: Mapping[str, Any], begun: float) -> None:
        address = str(call.address or call.function.address or f"local://{call.function.name}")
        row = {"address": address, "params": dict(call.params), **outcome, "duration": round(perf_counter() - begun, 6)}
        with self._lock:
            self._functions[address] = call.function.schema.to_dict()
            self._calls.append(row)

    def save(self) -> None:
        """Write what was seen so far; the file is replaced whole or not at all."""
        with self._lock:
            data = {"version": _VERSION, "functions": self._functions, "calls": self._calls}
            text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self._path)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.save()


class Replay(Portal):
    """Answers the calls of a recording, at the addresses it was made at.

    Equal calls are answered in the order they were recorded, the last one again and again. A call that was not recorded
    is a RegistryError that shows the recorded ones of that function. Threads: any.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        data = _read(Path(path))
        self._functions = {address: FunctionSchema.from_dict(schema) for address, schema in data["functions"].items()}
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in data["calls"]:
            self._rows.setdefault((row["address"], _key(row["params"])), []).append(row)
        self._taking = threading.Lock()  # guards the rows
        self.schemes = tuple({Address.parse(address).scheme: None for address in self._functions})  # type: ignore[misc]
        super().__init__()

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local("test", path)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """The recorded function at an address."""
        target = Address.of(address)
        schema = self._functions.get(str(target))
        if schema is None:
            raise RegistryError(f"nothing was recorded at {target}", name=str(target), address=target)
        return ResolvedFunction(self, schema=schema, address=target)

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """The recorded result, or the recorded error as its class."""
        row = self._take(function, params)
        if "error" in row:
            raise PortalError.from_dict(row["error"])
        return row.get("result")

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """The recorded items, then the recorded error if there was one."""
        row = self._take(function, params)
        if "items" not in row and "error" in row:
            raise PortalError.from_dict(row["error"])
        return _items(row)

    def _take(self, function: ResolvedFunction, params: Mapping[str, Any]) -> dict[str, Any]:
        address = str(function.address)
        with self._taking:
            rows = self._rows.get((address, _key(params)))
            if rows:
                return rows.pop(0) if len(rows) > 1 else rows[0]
            known = [key for at, key in self._rows if at == address]
        raise RegistryError(
            f"{function.name} was not recorded with {_key(params)}; recorded: {'; '.join(known[:5]) or 'nothing'}",
            name=function.name,
            address=address,
        )


def _items(row: Mapping[str, Any]) -> Iterator[Any]:
    yield from row.get("items", ())
    if "error" in row:
        raise PortalError.from_dict(row["error"])


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, ensure_ascii=False, default=repr)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SerializationError(f"{path.name} is no recording: {error}") from None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise SerializationError(f"{path.name} is no recording of version {_VERSION}")
    return data
