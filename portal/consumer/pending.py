"""PendingFunction: a remote function whose schema has not been fetched yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..address import Address
from ..context import CallContext
from ..errors import RegistryError
from ..function import Function, ResolvedFunction
from ..schema import FunctionSchema

__all__ = ["PendingFunction"]

_ID = re.compile(r"[0-9]+|[0-9a-f]{8}|[0-9a-f]{16}")  # as `UniqueIds` makes them: a number, a fingerprint, random


class PendingFunction(ResolvedFunction):
    """Stand for a remote function until a call of it is sent, and fetch the schema then.

    So the middleware around a call is also around the request for the schema. Until then the schema is the last one
    that was known. Without one, it has the name from the address and makes no promise: not idempotent, not cacheable,
    any parameters.

    Args:
        address: where the function is published.
        fetch: resolves the function within the deadline of a context.
        schema: the last known schema.

    Threads: any.
    """

    def __init__(
        self, address: Address, fetch: Callable[[CallContext], Function], schema: FunctionSchema | None = None
    ) -> None:
        super().__init__(_FetchingTransport(fetch), schema=schema or _minimal_schema(address), address=address)
        self.fetch = fetch


class _FetchingTransport:
    """Fetch the function for a middleware that calls `call.function` itself."""

    def __init__(self, fetch: Callable[[CallContext], Function]) -> None:
        self._fetch = fetch

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        return self._fetch(context).invoke(params, context)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        return self._fetch(context).iterate(params, context)


def _minimal_schema(address: Address) -> FunctionSchema:
    try:
        return FunctionSchema(_name_of(address))
    except RegistryError:  # no function can have this name; the server will say so
        return FunctionSchema(address.authority)


def _name_of(address: Address) -> str:
    *before, last = address.segments or ("",)
    return before[-1] if before and _ID.fullmatch(last) else last
