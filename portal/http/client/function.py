"""RemoteFunction: a function at an http or https address, by the contract that its server told."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, Protocol

from ...address import Address
from ...context import CallContext
from ...errors import PortalError, ValidationError
from ...function import CallTransport, ResolvedFunction
from ...schema import FunctionSchema, Parameters, Schema

__all__ = ["Describing", "RemoteFunction", "check_input"]

_TRUSTED = 5.0  # seconds for which a refusal by a known contract is not doubted: wrong input must not double the load


class Describing(CallTransport, Protocol):
    """A transport that can fetch schemas."""

    timeout: float | None

    def describe(self, address: Address) -> FunctionSchema:
        """The contract at an address; raises portal errors only."""


class RemoteFunction(ResolvedFunction):
    """A function at an http or https address, resolved.

    A server may be deployed anew with another contract. So what the known one refuses is held against the server's
    once more before it is refused, where that was asked for longer than 5 seconds ago; an address that ends in the
    contract's fingerprint leads to no other.

    Raises: what `transport.describe` raises.

    Threads: any; the contract is replaced as a whole.
    """

    transport: Describing

    def __init__(self, transport: Describing, address: Address) -> None:
        self._codec: tuple[FunctionSchema, Parameters, Schema] | None = None
        super().__init__(transport, schema=transport.describe(address), address=address, timeout=transport.timeout)
        self.asked_at = monotonic()

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """How native parameters become JSON data, by the contract of now."""
        return self._codec_of(self.schema)[1]

    @property
    def output(self) -> Schema:  # type: ignore[override]
        """How a result becomes a native value, by the contract of now."""
        return self._codec_of(self.schema)[2]

    def _codec_of(self, schema: FunctionSchema) -> tuple[FunctionSchema, Parameters, Schema]:
        codec = self._codec
        if codec is None or codec[0] is not schema:  # two threads may both make it: they make the same
            taken = Parameters.from_schema(Schema.of(Schema.of(schema.input).to_hint()))
            codec = self._codec = (schema, taken, Schema.of(Schema.of(schema.output).to_hint()))
        return codec

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        known = self.schema
        try:
            return super()._params(args, kwargs)
        except ValidationError:
            if not self.is_renewed(known, CallContext.for_call(self.timeout)):
                raise
        return super()._params(args, kwargs)

    def is_renewed(self, refusing: FunctionSchema, context: CallContext) -> bool:
        """Whether the contract is another than the one that has just refused; its server is asked if that is due."""
        if self.schema is not refusing:
            return True  # another thread has asked
        assert self.address is not None
        fixed = self.address.segments[-1:] == (refusing.fingerprint,)
        if fixed or monotonic() - self.asked_at < _TRUSTED:
            return False
        try:
            with context.active():
                found = self.transport.describe(self.address)
        except PortalError:
            return False  # what is wrong with the parameters says more
        finally:
            self.asked_at = monotonic()
        if found == refusing:
            return False
        self.schema = found
        return True


def check_input(function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> None:
    """Raise ValidationError, with every fault, for JSON parameters that do not fit a function's contract.

    Where the contract says that its server coerces what it is given, only the server can tell.
    """
    known = function.schema
    try:
        _validate(known, params)
    except ValidationError:
        if not isinstance(function, RemoteFunction) or not function.is_renewed(known, context):
            raise
        _validate(function.schema, params)


def _validate(schema: FunctionSchema, params: Mapping[str, Any]) -> None:
    if not schema.input.get("x-coerces"):
        schema.validate_input(params)
