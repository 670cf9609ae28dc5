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

    A `version` argument is a version ("2") or a range (">=1,<2"). The newest match of a range is used. None means the
    newest version.

    Threads: any.
    """

    def __init__(self) -> None:
        self._catalogue = Catalogue()
        self._dispatcher = Dispatcher()

    def register(self, function: Function | Callable[..., Any]) -> Function:
        """Add a Function, or a plain callable with type hints. It can be used as a decorator.

        Returns: the Function.
        Raises: RegistryError (conflict) if another function has this name and version, (invalid) for a name that is not
            a path segment. ConfigError for a callable that cannot be described.
        """
        member = Function.of(function)
        self._catalogue.add(member)
        return member

    def get(self, name: str, version: str | None = None) -> Function:
        """Return a function.

        Raises: RegistryError (not_found) if there is none.
        """
        return self._catalogue.get(tuple(name.split("/")), version).function

    def exists(self, name: str, version: str | None = None) -> bool:
        """Return whether a function with this name and version is registered."""
        return self._catalogue.find(tuple(name.split("/")), version) is not None

    def list(self) -> list[FunctionSchema]:
        """Return the schemas of all functions in the order of registration."""
        return [entry.function.schema for entry in self._catalogue.entries()]

    def count(self) -> int:
        """Return the number of functions; each version counts."""
        return len(self._catalogue)

    def unregister(self, name: str, version: str | None = None) -> Function:
        """Remove a function and return it.

        Raises: RegistryError (not_found) if there is none.
        """
        return self._catalogue.remove(tuple(name.split("/")), version).function

    def clear(self) -> int:
        """Remove every function. Return the number of functions removed."""
        return self._catalogue.clear()

    def validate(self, name: str, params: Mapping[str, Any], version: str | None = None) -> None:
        """Check parameters without calling the function.

        Raises: ValidationError with every fault; RegistryError (not_found) if there is no such function.
        """
        self.get(name, version).schema.validate_input(params)

    def call(
        self, name: str, params: Mapping[str, Any], *, version: str | None = None, timeout: float | None = None
    ) -> Any:
        """Call a function by name with JSON data.

        Args:
            name: the function.
            params: the parameters by name.
            version: see the class.
            timeout: seconds until the deadline; None uses only the function's own timeout.

        Returns: JSON data.
        Raises: portal errors only.
        """
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
        """Call a function by name, and load the result into a type.

        Args:
            returns: the type; see `call` for the other arguments.

        Returns: an instance of `returns`.
        Raises: ValidationError if the result does not fit the type; the errors of `call`.
        """
        value: T = Schema.of(returns).load(self.call(name, params, version=version, timeout=timeout))
        return value

    def close(self) -> None:
        """End the threads that calls with a timeout used. The functions stay registered."""
        self._dispatcher.close()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.exists(name)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Function]:
        return iter([entry.function for entry in self._catalogue.entries()])
