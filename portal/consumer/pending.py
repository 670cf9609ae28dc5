"""PendingFunction: the function at an address whose server was not asked for its contract yet."""

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
    """Stands for a function until a call of it gets as far as sending, and asks for the contract then.

    So whatever is around a call is around asking, too. Its schema is the one that was known last; where none was, it
    has the name that the address tells, and promises nothing: not idempotent, not cacheable, any parameters.

    Args:
        address: where it is.
        ask: gives the Function there, within a context's deadline.
        known: the contract that was known last.

    Threads: any.
    """

    def __init__(
        self, address: Address, ask: Callable[[CallContext], Function], known: FunctionSchema | None = None
    ) -> None:
        super().__init__(_Asking(ask), schema=known or _promising_nothing(address), address=address)
        self.ask = ask


class _Asking:
    """Carries what a middleware calls itself."""

    def __init__(self, ask: Callable[[CallContext], Function]) -> None:
        self._ask = ask

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        return self._ask(context).invoke(params, context)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        return self._ask(context).iterate(params, context)


def _promising_nothing(address: Address) -> FunctionSchema:
    try:
        return FunctionSchema(_name_of(address))
    except RegistryError:  # no function can be there; its server will say so
        return FunctionSchema(address.authority)


def _name_of(address: Address) -> str:
    *before, last = address.segments or ("",)
    return before[-1] if before and _ID.fullmatch(last) else last
