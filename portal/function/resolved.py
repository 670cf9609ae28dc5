"""ResolvedFunction: a function that an address was resolved to."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..address import Address
from ..context import CallContext
from ..schema import FunctionSchema, Parameters, Schema, to_builtins
from .callable import Function

__all__ = ["CallTransport", "ResolvedFunction"]


class CallTransport(Protocol):
    """The transport of a resolved function: sends its calls to its address."""

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call; JSON data in, JSON data out. Raises portal errors only."""

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call; return an iterator of JSON data."""


class ResolvedFunction(Function):
    """A Function that an address was resolved to: the same schema, run at the address.

    Args:
        transport: sends the calls.
        schema: the schema.
        address: where the function is published.
        parameters, output: turn native values into JSON data and back; made of `schema` when None.
        timeout: seconds for a call, or for a whole stream; a shorter inherited deadline still holds. None is no limit.

    Threads: any.
    """

    def __init__(
        self,
        transport: CallTransport,
        *,
        schema: FunctionSchema,
        address: Address,
        parameters: Parameters | None = None,
        output: Schema | None = None,
        timeout: float | None = None,
    ) -> None:
        self.transport = transport
        self.timeout = timeout
        self.schema = schema
        self.address = address
        self.validate_output = "error"
        self._known_parameters = parameters
        self._known_output = output
        self.__name__ = schema.name
        self.__doc__ = schema.description

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        """Return itself: a function at an address takes no `self`."""
        return self

    @functools.cached_property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Turns native parameters into JSON data; a schema that arrived as JSON does so by its formats."""
        return self._known_parameters or Parameters.from_schema(Schema.of(Schema.of(self.schema.input).to_hint()))

    @functools.cached_property
    def output(self) -> Schema:  # type: ignore[override]
        """Turns a result into a native value: a date-time into a datetime, an object into a dict."""
        return self._known_output or Schema.of(Schema.of(self.schema.output).to_hint())

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call it at its address, with native values.

        Raises: portal errors only; FunctionError for an exception that the function raised there.
        """
        if self.streaming:
            return self.stream(*args, **kwargs)
        return self._native(self.invoke(self._params(args, kwargs), CallContext.for_call(self.timeout)))

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Return the items of a stream as native values."""
        params = self._params(args, kwargs)
        return (self._native(item) for item in self.iterate(params, CallContext.for_call(self.timeout)))

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = self.parameters.bind(args, kwargs)
        # A schema that came as JSON has no classes: a dataclass is sent as the object of its hint.
        return self.parameters.dump(given if self._known_parameters is not None else to_builtins(given))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call; JSON data in, JSON data out."""
        return self.transport.invoke(self, params, context)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call; return an iterator of JSON data."""
        return self.transport.iterate(self, params, context)
