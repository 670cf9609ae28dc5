"""FunctionRegistry: functions of this process by name and version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call
from ..catalogue import Catalogue
from ..context import CallContext
from ..function import Function
from ..schema import FunctionSchema, Schema

__all__ = ["FunctionRegistry"]

T = TypeVar("T")


class FunctionRegistry:
    """Functions by name and version.

    Where a `version` is taken, it is a version ("2") or a range (">=1,<2"); None means the newest.
    Threads: any.
    """

    def __init__(self) -> None:
        self._catalogue = Catalogue()
        self._dispatcher = Dispatcher()

    def register(self, function: Function | Callable[..., Any]) -> Function:
        """Take a Function, or a plain callable by its hints; works as a decorator.

        Raises: RegistryError (conflict) when the name has this version already, (invalid) for a bad name.
        """
        member = Function.of(function)
        self._catalogue.add(member)
        return member

    def get(self, name: str, version: str | None = None) -> Function:
        """The function; RegistryError (not_found) when there is none."""
        return self._catalogue.get(tuple(name.split("/")), version).function

    def exists(self, name: str, version: str | None = None) -> bool:
        """Whether `get` would find it."""
        return self._catalogue.find(tuple(name.split("/")), version) is not None

    def list(self) -> list[FunctionSchema]:
        """The schemas of all functions, in the order they came."""
        return [entry.function.schema for entry in self._catalogue.entries()]

    def count(self) -> int:
        """How many functions there are, each version counted."""
        return len(self._catalogue)

    def unregister(self, name: str, version: str | None = None) -> Function:
        """Take a function out and give it; RegistryError (not_found) when there is none."""
        return self._catalogue.remove(tuple(name.split("/")), version).function

    def clear(self) -> int:
        """Take every function out; how many they were."""
        return self._catalogue.clear()

    def validate(self, name: str, params: Mapping[str, Any], version: str | None = None) -> None:
        """Check parameters without calling; ValidationError lists every fault."""
        self.get(name, version).schema.validate_input(params)

    def call(
        self, name: str, params: Mapping[str, Any], *, version: str | None = None, timeout: float | None = None
    ) -> Any:
        """Call by name with JSON data; gives JSON data and raises portal errors only."""
        context = CallContext.for_call(timeout)
        return self._dispatcher.dispatch(Call(self.get(name, version), params, context))

    def call_typed(
        self,
        name: str,
        params: Mapping[str, Any],
        returns: type[T],
        *,
        version: str | None = None,
        timeout: float | None = None,
    ) -> T:
        """As `call`, with the result loaded into the type `returns`; ValidationError when it does not fit."""
        value: T = Schema.of(returns).load(self.call(name, params, version=version, timeout=timeout))
        return value

    def close(self) -> None:
        """Give the threads back that calls with a timeout used. The functions stay."""
        self._dispatcher.close()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.exists(name)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Function]:
        return iter([entry.function for entry in self._catalogue.entries()])
