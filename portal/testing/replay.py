"""Replay: respond to calls as a recording did, without the functions that were recorded.

Consumer([Replay("orders.json")]).call_at(...)          # the same results and errors, no server
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ..address import Address
from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call, Middleware
from ..context import CallContext
from ..errors import PortalError, RegistryError
from ..function import Function, ResolvedFunction
from ..portal import Portal
from ..schema import FunctionSchema, is_json
from .recording_file import FilePath, params_key, read_recording, recording_path

__all__ = ["Replay"]

_MAX_COMPARED = 2_000  # calls, and characters of each, that are searched for the nearest one


class Replay(Portal):
    """A portal that responds to the calls of a recording, at the addresses they were made at.

    Equal calls get their results in the order they were recorded; the last result repeats. A call that was not recorded
    raises a RegistryError that shows the nearest one that was.

    Args:
        path: the file of the recording.
        middleware: around every call, the first outermost.

    Raises: SerializationError for a file that is not a recording.

    Threads: any.
    """

    def __init__(self, path: FilePath, *, middleware: Iterable[Middleware | str] = ()) -> None:
        self._functions, calls = read_recording(recording_path(path))
        self._tape = _Tape(calls)
        self._dispatcher = Dispatcher(middleware)
        self.schemes = tuple({Address.parse(address).scheme: None for address in self._functions})  # type: ignore[misc]
        super().__init__()

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local("test", path)

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Reject the function: nothing is published at a recording.

        Raises: RegistryError (invalid).
        """
        raise RegistryError("a recording takes no functions; publish them at a TestingPortal", kind="invalid")

    def functions(self) -> dict[Address, FunctionSchema]:
        """Return the schema of every function that was called, by address."""
        return {Address.parse(address): schema for address, schema in self._functions.items()}

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the recorded function at an address.

        Raises: RegistryError (not_found) that shows the nearest address.
        """
        target = Address.of(address)
        schema = self._functions.get(str(target))
        if schema is None:
            near = get_close_matches(str(target), self._functions, n=1, cutoff=0.0)
            message = f"no call of {target} was recorded; nearest recorded address: {', '.join(near) or 'none'}"
            raise RegistryError(message, name=str(target), address=target)
        return ResolvedFunction(self, schema=schema, address=target)

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Return the recorded result, or raise the recorded error as its class."""
        return self._dispatch(function, params, context, False)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Yield the recorded items, then raise the recorded error if there was one."""
        items: Iterator[Any] = self._dispatch(function, params, context, True)
        return items

    def _dispatch(
        self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext, stream: bool
    ) -> Any:
        assert function.address is not None
        taped = ResolvedFunction(self._tape, schema=function.schema, address=function.address)
        return self._dispatcher.dispatch(Call(taped, params, context, function.address, stream))

    def stop(self, grace: float = 5.0) -> None:
        """Stop taking calls and release the workers."""
        super().stop(grace)
        self._dispatcher.close(grace)


class _Tape:
    """The calls of a recording, each taken in its turn.

    Threads: any.
    """

    def __init__(self, calls: Iterable[dict[str, Any]]) -> None:
        self._calls: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for call in calls:
            self._calls.setdefault((call["address"], params_key(call["params"])), []).append(call)
        self._lock = threading.Lock()  # guards the calls

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        call = self._take(function, params)
        if "error" in call:
            raise PortalError.from_dict(call["error"])
        return call.get("result")

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        call = self._take(function, params)
        if "items" not in call and "error" in call:
            raise PortalError.from_dict(call["error"])
        return _items(function, call)

    def _take(self, function: ResolvedFunction, params: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(params) if isinstance(params, Mapping) else params
        if not isinstance(given, dict) or not is_json(given):
            function.schema.validate_input(given)
        address, key = str(function.address), params_key(given)
        with self._lock:
            calls = self._calls.get((address, key))
            if calls:
                return copy.deepcopy(calls.pop(0) if len(calls) > 1 else calls[0])
            known = [other[:_MAX_COMPARED] for at, other in self._calls if at == address][:_MAX_COMPARED]
        near = get_close_matches(key[:_MAX_COMPARED], known, n=1, cutoff=0.0)
        message = f"{function.name} was not recorded with {key}; nearest recorded call: {''.join(near) or 'none'}"
        raise RegistryError(message, name=function.name, address=address)


def _items(function: Function, call: Mapping[str, Any]) -> Iterator[Any]:
    yield from call.get("items", ())
    if "error" in call:
        raise PortalError.from_dict(call["error"])
    if call.get("partial"):
        message = f"the stream {function.name} was recorded up to item {len(call['items'])} only"
        raise RegistryError(message, name=function.name)
