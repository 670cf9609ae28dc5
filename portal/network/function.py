"""RemoteFunction: a function at the address of a server, with the schema that its server sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from .._internal.at_fork import new_lock
from .._internal.json_text import JSONValue
from ..address import Address
from ..context import CallContext
from ..errors import PortalError, RegistryError, SerializationError, ValidationError
from ..function import CallTransport, ResolvedFunction
from ..schema import FunctionSchema, Parameters, Schema

__all__ = ["RemoteFunction", "SchemaTransport", "check_input", "schema_at", "service_error"]

#: Seconds. A younger schema is not fetched again when it rejects an input: wrong input must not double the load.
_MIN_SCHEMA_AGE = 5.0


def schema_at(data: JSONValue, address: Address) -> FunctionSchema:
    """Return the schema that a server sent for an address.

    Raises: RegistryError (not_found) if it is not a schema; one that names `service()` or `subscribe()` if it describes
        a service or a topic.
    """
    if isinstance(data, dict):
        if isinstance(data.get("functions"), list) and "state" in data:
            raise service_error(address)
        if isinstance(data.get("topic"), str):
            hint = "use Consumer.subscribe(address)"
            raise RegistryError(f"there is a topic at {address}, not a function", address=address, hint=hint)
        with suppress(SerializationError, RegistryError, TypeError, KeyError):
            return FunctionSchema.from_dict(data)
    raise RegistryError(f"there is no function at {address}", address=address)


def service_error(address: Address) -> RegistryError:
    """Return the error for the address of a service in place of that of a function."""
    return RegistryError(
        f"there is a service at {address}, not a function",
        address=address,
        hint="use Consumer.service(address), or the address of one of its functions",
    )


class SchemaTransport(CallTransport, Protocol):
    """A transport that can fetch schemas.

    Attributes:
        timeout: seconds for a call without a deadline; None for no limit.
    """

    timeout: float | None

    def describe(self, address: Address) -> FunctionSchema:
        """Return the schema of the function at an address. Raises portal errors only."""


class RemoteFunction(ResolvedFunction):
    """A resolved function at the address of a server.

    A server may be deployed anew with another schema. If the cached schema rejects an input and is older than 5
    seconds, it is fetched again before the input is rejected. An address that ends in the fingerprint of the schema has
    no other schema.

    Raises: what `transport.describe` raises.

    Threads: any; the schema is replaced as a whole.
    """

    def __init__(self, transport: SchemaTransport, address: Address) -> None:
        self._lock = new_lock()  # guards replacing the schema
        self._codec: tuple[FunctionSchema, Parameters, Schema] | None = None
        self._schemas = transport
        super().__init__(transport, schema=transport.describe(address), address=address, timeout=transport.timeout)
        self._fetched_at = monotonic()

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Turns native parameters into JSON data, by the current schema."""
        return self._codec_of(self.schema)[1]

    @property
    def output(self) -> Schema:  # type: ignore[override]
        """Turns a result into a native value, by the current schema."""
        return self._codec_of(self.schema)[2]

    def _codec_of(self, schema: FunctionSchema) -> tuple[FunctionSchema, Parameters, Schema]:
        codec = self._codec
        if codec is None or codec[0] is not schema:  # two threads may both make it, and make the same
            parameters = Parameters.from_schema(Schema.of(Schema.of(schema.input).to_hint()))
            codec = self._codec = (schema, parameters, Schema.of(Schema.of(schema.output).to_hint()))
        return codec

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        schema = self.schema
        try:
            return super()._params(args, kwargs)
        except ValidationError:
            if not self.has_newer_schema(schema, CallContext.for_call(self.timeout)):
                raise
        return super()._params(args, kwargs)

    def has_newer_schema(self, schema: FunctionSchema, context: CallContext) -> bool:
        """Return whether the server has another schema than one that has just rejected an input.

        The schema is fetched again, within the deadline of the context, if it is old enough.
        """
        if self.schema is not schema:
            return True  # another thread has fetched it
        assert self.address is not None
        is_fixed = self.address.segments[-1:] == (schema.fingerprint,)
        if is_fixed or monotonic() - self._fetched_at < _MIN_SCHEMA_AGE:
            return False
        try:
            with context.active():
                found = self._schemas.describe(self.address)
        except PortalError:
            return False  # the ValidationError is more useful
        finally:
            self._fetched_at = monotonic()
        if found == schema:
            return False
        with self._lock:
            if self.schema is schema:  # otherwise another thread has put a schema there that may be newer
                self.schema = found
        return True


def check_input(function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> None:
    """Check JSON parameters against the schema of a function. If the server coerces parameters, only it can check them.

    Raises: ValidationError with every fault.
    """
    schema = function.schema
    if _fits(schema, params):
        return
    if isinstance(function, RemoteFunction) and function.has_newer_schema(schema, context):
        schema = function.schema
        if _fits(schema, params):
            return
    schema.validate_input(params)


def _fits(schema: FunctionSchema, params: Mapping[str, Any]) -> bool:
    return bool(schema.input.get("x-coerces")) or schema.input_schema.accepts(params)
