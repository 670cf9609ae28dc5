"""LocalPortal: publish functions inside this process, at `local://` addresses."""

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
from ..function import CallRunner, Function, ResolvedFunction, is_failure
from ..function.failure import function_error
from ..portal import Portal, announce, topology
from ..service import ServiceState
from .fast_path import FastCall, compile_call, general_call

__all__ = ["LocalPortal"]


class LocalFunction(ResolvedFunction):
    """A resolved function of a LocalPortal.

    A call without a deadline, middleware and executor calls the function directly, in a context of its own. If the
    parameters are scalars, the whole call is compiled, see `fast_path`.

    Args:
        portal: publishes the function.
        entry: of the function in the portal's catalogue.
        address: the address that was resolved.
        version: `topology.version` from before the entry was looked up.

    Attributes:
        seen_version: the version of `topology` at which the address was last known to lead to this function.

    Threads: any.
    """

    def __init__(self, portal: LocalPortal, entry: Entry, address: Address, version: int) -> None:
        # -1 for a service that does not run: the first call then looks the function up, which starts the service.
        self.seen_version = version if portal.is_ready_for(entry) else -1
        found = self._found = entry.function
        super().__init__(portal, schema=found.schema, address=address, parameters=found.parameters, output=found.output)
        self.portal = portal
        self._entry = entry
        self._target = found.target
        dispatcher = portal.dispatcher
        self._begin, self._end = dispatcher.started.add, dispatcher.finished.add
        self._is_direct = (
            dispatcher.is_passthrough
            and found.schema.timeout is None
            and not found.schema.streaming
            and found.parameters.inject is None
            and type(found) is Function
        )
        self._plain_result = found.output.plain
        self._fast: FastCall | None = None if self._is_direct else general_call

    def returning(self, returns: Any = None) -> ResolvedFunction:
        """Return this function with results of another type; see `Function.returning`."""
        found = super().returning(returns)
        assert isinstance(found, LocalFunction)
        return found._compiled_anew()

    def through(self, run: CallRunner | None, reference: Any = None) -> ResolvedFunction:
        """Return this function with calls that pass through other code; see `ResolvedFunction.through`."""
        found = super().through(run, reference)
        assert isinstance(found, LocalFunction)
        if run is not None:
            found._fast = general_call
        return found

    def _compiled_anew(self) -> LocalFunction:
        """Forget the compiled call, which converts results as before."""
        if self._is_direct:
            self._fast = None
        return self

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function with native values; see `ResolvedFunction.call`."""
        fast = self._fast
        if fast is None:
            fast = self._fast = compile_call(
                self._found, begin=self._begin, end=self._end, fail=self._fail, native=self._native
            )
        return fast(self, args, kwargs)

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call with JSON data, and return JSON data."""
        cancelled = context.parent is not None and context.cancelled
        if cancelled or not self._is_direct or context.deadline is not None or not self._is_current():
            return super().invoke(params, context)
        found = self._found
        native = found.parameters.load(params)
        self._begin()
        token = enter(context)
        try:
            result = self._target(**native)
            return result if self._plain_result(result) else found.encode_result(result)
        except PortalError as error:
            if error.sendable() is not error:
                raise self._fail(error, context) from error
            self._fail(error, context)
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self._fail(function_error(error), context) from error
        finally:
            leave(token)
            self._end()

    def _fail(self, error: PortalError, context: CallContext) -> PortalError:
        error.delivery = "executed"
        error = error.sendable()
        self.portal.dispatcher.count_failure(self._found, error, context)
        return error

    def _is_current(self) -> bool:
        if topology.version == self.seen_version:
            return True
        assert self.address is not None
        version = topology.version
        if self.portal.entry_for_call(self.address).function is not self._found:
            return False
        self.seen_version = version
        return True


class LocalPortal(Portal):
    """Publish functions inside this process.

    The portal need not be started: it accepts calls as soon as something is published. A service starts with `start` or
    `with`, or at the first call of one of its functions, in the caller's thread. So `apply_service` runs no code of the
    service, and a module that publishes can be imported without side effects.

    A call without a deadline runs in the caller's thread. A call with a deadline runs in a worker, so that the caller
    gets CallTimeout in time. A nested call with the deadline of the outer call needs no worker of its own.

    Args:
        executor: where every call runs; None for the threads described above.
        middleware: around every call, the first outermost.
        unique_ids: "fingerprint" or "random" for the last segment of addresses.
        name: the portal's own name. It is the namespace of what middleware keeps in a shared store, and portals with
            one name are replicas.

    Raises: ConfigError for a wrong setting.

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
        name: str | None = None,
    ) -> None:
        super().__init__(unique_ids=unique_ids, name=name)
        self.dispatcher = Dispatcher(middleware, executor=executor, name=self.name)
        announce(self)

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.local(self.schemes[0], path)

    def entry_at(self, address: Address) -> Entry:
        """Return what is published at an address now.

        Raises: AddressError for an address of another scheme; RegistryError (not_found) if nothing is published there.
        """
        if address.scheme not in self.schemes:
            schemes = " or ".join(self.schemes)
            message = f"the scheme of {address} must be {schemes}, got {address.scheme}"
            raise AddressError(message, position=0, reason="wrong scheme", address=address)
        return self._catalogue.get(address.segments, address.version, address=address)

    def is_ready_for(self, entry: Entry) -> bool:
        """Return whether an entry can be called without starting its service first."""
        if self._services_run or not entry.group or self._closed:
            return True
        service = self._services.get(entry.group)
        return service is None or service.state is ServiceState.RUNNING

    def entry_for_call(self, address: Address) -> Entry:
        """Return what is published at an address now, after starting its service if it does not run yet.

        Raises: RegistryError (not_found); FunctionError when the service fails to start.
        """
        entry = self.entry_at(address)
        if not self.is_ready_for(entry):
            service = self._services.get(entry.group)
            if service is not None:  # otherwise it was removed just now
                self._start_on_demand(service)
        return entry

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at an address. Each call looks it up again, so that a removed function is rejected.

        Raises: AddressError for an address of another scheme; RegistryError (not_found) if nothing is published there.
        """
        target, version = Address.of(address), topology.version
        return LocalFunction(self, self.entry_at(target), target, version)

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call of a resolved function with JSON data, and return JSON data."""
        return self._dispatch(function, params, context, False)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Make one streaming call of a resolved function, and return an iterator of JSON data."""
        items: Iterator[Any] = self._dispatch(function, params, context, True)
        return items

    def _dispatch(
        self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext, stream: bool
    ) -> Any:
        assert function.address is not None
        entry = self.entry_for_call(function.address)
        return self.dispatcher.dispatch(
            Call(entry.function, params, context, function.address, stream, group=entry.group)
        )

    def stop(self, grace: float = 5.0) -> None:
        """Stop the services. A later call starts a service again. The workers end when the portal is closed."""
        try:
            super().stop(grace)
        finally:
            if self._closed:
                self.dispatcher.close(grace)

    def stats(self) -> dict[str, Any]:
        """Return the numbers of published functions, and of calls started, failed and running now."""
        return super().stats() | self.dispatcher.stats()
