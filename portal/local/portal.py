"""LocalPortal: functions of this process at `local://` addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, ClassVar

from ..address import Address
from ..calls.dispatcher import Dispatcher
from ..calls.middleware import Call, Middleware
from ..catalogue import Entry, UniqueIds
from ..context import CallContext, enter, leave
from ..errors import AddressError, PortalError
from ..function import Function, ResolvedFunction, is_failure
from ..function.failure import function_error
from ..portal import Portal, announce, topology
from ..service import ServiceState
from .fast_path import QuickCall, ordinary_call, quick_call

__all__ = ["LocalPortal"]


class LocalFunction(ResolvedFunction):
    """A function of a LocalPortal, resolved.

    A call that has nothing around it, no deadline, no middleware and no executor, goes straight to the function, under
    a context of its own as every call. Of a resolved function with scalar parameters that is all in one step, see
    `local_call`.

    Attributes:
        seen: the number of changes of portals up to which the function is known to be what the address leads to.
    """

    def __init__(self, portal: LocalPortal, entry: Entry, address: Address) -> None:
        self.seen = topology.version if portal.is_ready_for(entry) else -1  # else the first call starts the service
        found = self._found = entry.function
        super().__init__(portal, schema=found.schema, address=address, parameters=found.parameters, output=found.output)
        self.portal = portal
        self._entry = entry
        self._target = found.target
        dispatcher = portal.dispatcher
        self._begin, self._end = dispatcher.started.add, dispatcher.finished.add
        self._bare = (
            dispatcher.is_passthrough
            and found.schema.timeout is None
            and not found.schema.streaming
            and found.parameters.inject is None
            and type(found) is Function
        )
        self._plain_result = found.output.plain
        self._quick: QuickCall | None = None if self._bare else ordinary_call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `ResolvedFunction.call`."""
        quick = self._quick
        if quick is None:
            quick = self._quick = quick_call(
                self._found, begin=self._begin, end=self._end, note=self._note, native=self._native
            )
        return quick(self, args, kwargs)

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Carry one call; JSON data both ways."""
        given_up = context.parent is not None and context.cancelled
        if given_up or not self._bare or context.deadline is not None or not self._is_current():
            return super().invoke(params, context)
        found = self._found
        native = found.parameters.load(params)
        self._begin()
        token = enter(context)
        try:
            result = self._target(**native)
            return result if self._plain_result(result) else found.encode_result(result)
        except PortalError as error:
            if (sent := self._note(error, context)) is not error:
                raise sent from error
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self._note(function_error(error), context) from error
        finally:
            leave(token)
            self._end()

    def _note(self, error: PortalError, context: CallContext) -> PortalError:
        error.delivery = "executed"
        error = error.sendable()
        self.portal.dispatcher.note_failure(self._found, error, context)
        return error

    def _is_current(self) -> bool:
        if topology.version == self.seen:
            return True
        assert self.address is not None
        version = topology.version
        if self.portal.entry_for_call(self.address).function is not self._found:
            return False
        self.seen = version
        return True


class LocalPortal(Portal):
    """Publishes functions inside this process.

    It need not be started: calls reach it as soon as something is published. A service starts at the first call of one
    of its functions, in the caller's thread, or with `start` or `with`. So `apply_service` runs no code of the service,
    and a module that publishes can be imported without effect.

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
        middleware: Iterable[Middleware | str] = (),
        unique_ids: UniqueIds = "fingerprint",
    ) -> None:
        self.dispatcher = Dispatcher(middleware, executor=executor)
        super().__init__(unique_ids=unique_ids)
        announce(self)

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local(self.schemes[0], path)

    def entry_at(self, address: Address) -> Entry:
        """What is published at an address now. RegistryError when nothing is."""
        if address.scheme not in self.schemes:
            raise AddressError(
                f"{address} is no {self.schemes[0]} address", position=0, reason="wrong scheme", address=address
            )
        return self._catalogue.get(address.segments, address.version, address=address)

    def is_ready_for(self, entry: Entry) -> bool:
        """Whether a call of an entry needs no service to be started first."""
        if self._services_run or not entry.group or self._closed:
            return True
        service = self._services.get(entry.group)
        return service is None or service.state is ServiceState.RUNNING

    def entry_for_call(self, address: Address) -> Entry:
        """Return what is published at an address now, once the service that it belongs to runs.

        Raises: RegistryError (not_found); FunctionError when the service fails to start.
        """
        entry = self.entry_at(address)
        if not self.is_ready_for(entry):
            self._start_on_demand(self._services[entry.group])
        return entry

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """The Function at an address; a call looks it up again, so one that was removed is refused."""
        target = Address.of(address)
        return LocalFunction(self, self.entry_at(target), target)

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
        entry = self.entry_for_call(function.address)
        return self.dispatcher.dispatch(Call(entry.function, params, context, function.address, stream))

    def stop(self, grace: float = 5.0) -> None:
        """Stop the services and give the workers back; a later call starts new ones."""
        super().stop(grace)
        if self._closed:
            self.dispatcher.close(grace)

    def stats(self) -> dict[str, Any]:
        """Functions published, calls begun, failed and running now."""
        return super().stats() | self.dispatcher.stats()
