"""ResolvedFunction: a function at an address."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Generic, Protocol

from ..address import Address
from ..context import CallContext
from ..schema import FunctionSchema, Parameters, Schema, to_builtins
from ..schema.codecs.files import FileTable, files_of_call, with_base64
from .callable import Function, P, R_co
from .metadata import OfInstance, annotations_of, signature_of
from .returns import gives_json

__all__ = ["CallRunner", "CallTransport", "ResolvedFunction"]


class CallTransport(Protocol):
    """Sends the calls of a resolved function to its address."""

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call: JSON data in, JSON data out. Raises portal errors only."""

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call; return an iterator of JSON data."""


#: Makes one call: function, JSON parameters, context, whether it is a stream.
CallRunner = Callable[["ResolvedFunction", Mapping[str, Any], CallContext, bool], Any]


class ResolvedFunction(Function[P, R_co], Generic[P, R_co]):
    """A Function that runs at an address.

    Args:
        transport: sends the calls.
        schema: the schema.
        address: the address of the function.
        parameters, output: convert native values to JSON data and back; made from `schema` when None.
        timeout: seconds for a call, or for a whole stream; a shorter inherited deadline still applies. None sets no
            limit.

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
        self._run: CallRunner | None = None
        self._given_parameters = parameters
        self._given_output = output
        self.__name__ = self.__qualname__ = schema.name
        self.__doc__ = schema.description

    def through(
        self, run: CallRunner | None, reference: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    ) -> ResolvedFunction[P, R_co]:
        """Return this function with calls that pass through other code, such as the middleware of a Consumer.

        Args:
            run: makes one call by `invoke` or `iterate` of the function; None makes it as before.
            reference: what `__reduce__` returns, so that another process finds the function again; None if it cannot.
        """
        found = object.__new__(type(self))
        found.__dict__ |= self.__dict__ | {"_reference": reference, "_run": run}
        return found

    def __reduce__(self) -> Any:
        reference = self.__dict__.get("_reference")
        if reference is None:
            message = f"{self!r} cannot be pickled; resolve its address in the other process"
            raise pickle.PicklingError(message)
        return reference

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return itself: a function at an address has no `self`."""
        return self

    @OfInstance
    def __signature__(self) -> inspect.Signature:
        """The signature by the current schema."""
        return signature_of(self.schema, self.parameters, self.output)

    @OfInstance
    def __annotations__(self) -> dict[str, Any]:
        """The hints by the current schema."""
        return annotations_of(self.schema, self.parameters, self.output)

    @functools.cached_property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """The parameters. If none were given, they are made from the JSON Schema, with native types for its formats."""
        return self._given_parameters or Parameters.from_schema(Schema.of(Schema.of(self.schema.input).to_hint()))

    @functools.cached_property
    def output(self) -> Schema:  # type: ignore[override]
        """The output schema. If none was given, it is made from the JSON Schema, with native types for its formats."""
        return self._given_output or Schema.of(Schema.of(self.schema.output).to_hint())

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function at its address with native values.

        Raises: portal errors only; FunctionError if the function raised another exception.
        """
        if self.streaming:
            items: Any = self.stream(*args, **kwargs)
            return items  # type: ignore[no-any-return]
        transfer = self.schema.transfer
        if transfer is not None and (transfer.files or transfer.result):
            return self.call_with_files(lambda: self._params(args, kwargs))  # type: ignore[no-any-return]
        params, context, run = self._params(args, kwargs), CallContext.for_call(self.timeout), self._run
        sent = self.invoke(params, context) if run is None else run(self, params, context, False)
        result: Any = self._native(sent)
        return result  # type: ignore[no-any-return]

    def call_with_files(self, encode: Callable[[], Mapping[str, Any]]) -> Any:
        """Call the function with files as themselves, if its transport carries them; otherwise they are base64.

        Args:
            encode: returns the parameters as JSON data. The codecs of files that it uses know what to make of them.
        """
        table, run = FileTable(), self._run
        with files_of_call(table) if getattr(self.transport, "carries_files", False) else nullcontext():
            params = encode()
            context = CallContext.for_call(self.timeout)
            table.context = CallContext() if gives_json(self._native) else context  # base64 for JSON data
            sent = self.invoke(params, context) if run is None else run(self, params, context, False)
            return self._native(sent)

    def stream(self, /, *args: Any, **kwargs: Any) -> Iterator[R_co]:
        """Return an iterator of the native items of a stream."""
        params, context, run = self._params(args, kwargs), CallContext.for_call(self.timeout), self._run
        items = self.iterate(params, context) if run is None else run(self, params, context, True)
        return (self._native(item) for item in items)

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = self.parameters.bind(args, kwargs)
        # A schema that arrived as JSON has no classes: a dataclass is sent as an object.
        return self.parameters.dump(given if self._given_parameters is not None else to_builtins(given))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call: JSON data in, JSON data out."""
        if self.schema.transfer is not None and not getattr(self.transport, "carries_files", False):
            params = with_base64(params)  # of a call that was received with files
        return self.transport.invoke(self, params, context)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call; return an iterator of JSON data."""
        return self.transport.iterate(self, params, context)
