"""LocalPortal: functions of this process at `local://` addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, ClassVar

from .address import Address
from .calls.dispatcher import Dispatcher
from .calls.middleware import Call, Middleware
from .catalogue import Entry, UniqueIds
from .context import CallContext
from .errors import AddressError
from .function import ResolvedFunction
from .portal import Portal

__all__ = ["LocalPortal"]


class LocalPortal(Portal):
    """Publishes functions inside this process.

    A call without a deadline runs in the caller's thread. A call with one runs in a worker, unless an outer call that
    has the same deadline is waited for already, so that the caller gets CallTimeout in time.

    Args:
        executor: where every call runs; None as said above.
        middleware: around every call, the first outermost.
        unique_ids: "fingerprint" or "random" last segments of addresses.

    Threads: any.
    """

    schemes: ClassVar[tuple[str, ...]] = ("local",)
    in_process = True

    def __init__(
        self,
        *,
        executor: Executor | None = None,
        middleware: Iterable[Middleware] = (),
        unique_ids: UniqueIds = "fingerprint",
    ) -> None:
        self._dispatcher = Dispatcher(middleware, executor=executor)
        super().__init__(unique_ids=unique_ids)

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local(self.schemes[0], path)

    def _entry(self, address: Address) -> Entry:
        if address.scheme not in self.schemes:
            raise AddressError(
                f"{address} is no {self.schemes[0]} address", position=0, reason="wrong scheme", address=address
            )
        return self._catalogue.get(address.segments, address.version, address=address)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """The Function at an address; a call looks it up again, so one that was removed is refused."""
        target = Address.of(address)
        found = self._entry(target).function
        return ResolvedFunction(
            self, schema=found.schema, address=target, parameters=found.parameters, output=found.output
        )

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Carry one call of a resolved function."""
        return self._dispatch(function, params, context, False)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Carry one streaming call of a resolved function."""
        items: Iterator[Any] = self._dispatch(function, params, context, True)
        return items

    def _dispatch(
        self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext, stream: bool
    ) -> Any:
        assert function.address is not None
        entry = self._entry(function.address)
        return self._dispatcher.dispatch(Call(entry.function, params, context, function.address, stream))

    def stop(self, grace: float = 5.0) -> None:
        """Stop the services and give the workers back; a later call starts new ones."""
        super().stop(grace)
        if self._closed:
            self._dispatcher.close(grace)

    def stats(self) -> dict[str, Any]:
        """Functions published, calls begun, failed and running now."""
        return super().stats() | self._dispatcher.stats()
