"""TestingPortal: mocks, stubs, expectations and call history, at `test://` addresses or in the place of a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, overload

from .._internal.closing import close_and_log
from .._internal.settings import whole_number
from ..address import Address
from ..calls.middleware import Call, CallNext, Middleware
from ..catalogue import Entry
from ..consumer.intercepts import intercepts
from ..context import CallContext
from ..errors import PortalError, RegistryError
from ..function import Function, ResolvedFunction
from ..local.portal import LocalPortal
from ..network.function import check_input
from ..network.listing import Listing
from ..portal import Portal, topology
from ..schema import FunctionSchema
from ..service import Service
from .base_address import BaseAddress, as_received, received_items
from .expectations import Expectation, describe_failures
from .history import RecordedCall, snapshot
from .mock import Mock, MockFunction
from .recording import Recorder, RecordingPortal, TakesMiddleware, recording
from .recording_file import FilePath
from .replay import Replay
from .service_mock import MockedService, ServiceMock, members_of

__all__ = ["TestingPortal"]


class TestingPortal(LocalPortal):
    """A portal for tests with real functions, mocks and stubs, and a history of every call.

    With a base address it stands for a server: every Consumer of the process calls it at the addresses below the base,
    without a network, from its construction until `close`. Calls have the deadlines, schemas and errors that they would
    have over the network.

    Args:
        base: the base address of a server, such as "http://stock.example/api"; None for `test://` and `mock://`. Only
            one open portal may have a base. If one base is below another, the portal with the longer base responds.
        seed: decides which calls of a mock have a fault (`Mock.slow`, `fails`, `drops_after_execution`).
        middleware: around every call, inside the history.
        executor: runs the calls; see LocalPortal.
        clock: seconds, for durations.
        name: the portal's own name; see LocalPortal.

    Raises: ConfigError for a wrong setting, and for the base of another portal that is open.

    Threads: any.
    """

    __test__ = False  # pytest collects classes whose names begin with Test
    schemes: ClassVar[tuple[str, ...]] = ("test", "mock")

    def __init__(
        self,
        *,
        base: Address | str | None = None,
        seed: int = 0,
        middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        clock: Callable[[], float] = perf_counter,
        name: str | None = None,
    ) -> None:
        self._base = None if base is None else BaseAddress(base)
        self._seed = whole_number("testing.seed", seed)
        if self._base is not None:
            self.schemes = (self._base.address.scheme,)  # type: ignore[misc]
            self.in_process = False  # a Consumer treats it as a server
        self._clock = clock
        self._records: list[RecordedCall] = []
        self._expectations: list[Expectation] = []
        self._replays: list[Replay] = []
        self._history_lock = threading.Lock()  # guards the three lists
        layers = (self._record, _run_with_faults, *middleware)
        super().__init__(executor=executor, middleware=layers, unique_ids="sequence", name=name)
        if self._base is not None:
            intercepts.add(self, self._base.address)

    # mocks, stubs and replays

    @overload
    def mock(self, function: str | FunctionSchema | Function) -> Mock: ...
    @overload
    def mock(self, function: Service | type[Any]) -> ServiceMock: ...
    @overload
    def mock(self, function: Callable[..., Any]) -> Mock: ...
    def mock(self, function: Any) -> Mock | ServiceMock:
        """Publish a mock and return it.

        Args:
            function: a name, or "service/name" for a function of a service; or what has a schema, by which the mock
                validates parameters and results. A Service or a class with `@service` publishes a mock of each of its
                functions; the class is not instantiated.
        """
        members = members_of(function)
        if members is not None:
            mocks = {name: self._mock(member, members.name) for name, member in members.functions.items()}
            return ServiceMock(self._address_of((members.name,)), mocks)
        if isinstance(function, str) and "/" in function:
            group, _, name = function.rpartition("/")
            return self._mock(name, group)
        return self._mock(function, "")

    def _mock(self, source: Any, group: str) -> Mock:
        made = MockFunction.of(source, self._seed)
        try:
            return made.publish(partial(self._apply_to, group) if group else self.apply, self.resolve_function)
        except RegistryError as error:
            if error.kind == "conflict":
                error.hint = "change the mock that the first mock() returned, or call remove(address) first"
            raise

    def _apply_to(self, group: str, function: Function) -> Address:
        """Publish a function of a service, and make the service if there is none."""
        self._require_open()
        with self._lifecycle:
            service = self._services.get(group) or MockedService(group)
            entry = self._catalogue.add(function, (group,))
            if isinstance(service, MockedService):
                service.include(function)
            self._services[group] = service
        topology.changed()
        return self._address_of(entry.full_path)

    def stub(self, function: str | FunctionSchema | Function | Callable[..., Any], value: Any) -> Address:
        """Publish a function that returns `value` for any parameters; return its address."""
        return self.mock(function).returns(value).address

    def replay(self, path: FilePath) -> Replay:
        """Return a portal that responds as a recording did; its calls are in the history of this portal.

            consumer.register_portal(portal.replay("orders.json"))

        It is closed with this one.

        Raises: SerializationError for a file that is not a recording.
        """
        found = Replay(path, middleware=(self._record,))
        with self._history_lock:
            self._replays.append(found)
        return found

    @overload
    def recording(self, path: FilePath, target: Portal) -> AbstractContextManager[RecordingPortal]: ...
    @overload
    def recording(self, path: FilePath, target: TakesMiddleware) -> AbstractContextManager[Recorder]: ...
    def recording(self, path: FilePath, target: Any) -> AbstractContextManager[Any]:
        """Record the calls of a Consumer or a portal during a `with` block; see `portal.testing.recording`."""
        found: AbstractContextManager[Any] = recording(path, target, clock=self._clock)
        return found

    def close(self) -> None:
        """Close the portal and the replays it made."""
        intercepts.remove(self)
        super().close()
        with self._history_lock:
            replays, self._replays = self._replays, []
        for one in replays:
            close_and_log(one, "a replay")

    # addresses

    def owns(self, address: Address) -> bool:
        """Return whether an address is one of this portal's, published or not."""
        return super().owns(address) if self._base is None else self._base.path_of(address) is not None

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return super()._address_of(path) if self._base is None else self._base.address.child(*path)

    def _path_of(self, address: Address) -> tuple[str, ...]:
        if self._base is None:
            return super()._path_of(address)
        path = self._base.path_of(address)
        if path is None:
            raise RegistryError(f"{address} is not below {self._base.address}", address=address)
        return path

    def entry_at(self, address: Address) -> Entry:
        """Return what is published at an address now; see `LocalPortal.entry_at`."""
        if self._base is None:
            return super().entry_at(address)
        return self._catalogue.get(self._path_of(address), address.version, address=address)

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at an address; see `LocalPortal.resolve_function`."""
        if self._base is None:
            return super().resolve_function(address)
        target = Address.of(address)
        try:
            return super().resolve_function(target)
        except RegistryError as error:
            raise as_received(error, target, CallContext.for_call()) from error

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what is published at a base address; a portal without `base=` has no listing."""
        target = Address.of(address)
        if self._base is None:
            return super().list_at(target)
        listing = Listing(self._catalogue, self._services, self._address_of)
        path = self._path_of(target)
        if not listing.is_list(path):
            raise RegistryError(f"there is no listing at {target}", address=target)
        return dict(listing.describe(path, target.version, None))

    # calling

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call; with `base=`, an error is the one that a client of the server gets."""
        if self._base is None:
            return super().invoke(function, params, context)
        check_input(function, params, context)  # as a client does before it sends
        try:
            return super().invoke(function, params, context)
        except PortalError as error:
            raise as_received(error, _address(function), context) from error

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Make one streaming call; with `base=`, errors are those that a client of the server gets."""
        if self._base is None:
            return super().iterate(function, params, context)
        check_input(function, params, context)
        try:
            items = super().iterate(function, params, context)
        except PortalError as error:
            raise as_received(error, _address(function), context) from error
        return received_items(items, _address(function), context)

    # history

    def _record(self, call: Call, call_next: CallNext) -> Any:
        started = self._clock()
        request_id = call.context.request_id
        record = RecordedCall(self._name_of(call), snapshot(call.params), None, None, 0.0, request_id, started)
        try:
            result = call_next(call)
        except Exception as error:
            self._keep(replace(record, error=error, duration=self._clock() - started))
            raise
        if call.streaming:
            # Kept now: a stream that is never read is a call, too.
            record = replace(record, result=[])
            self._keep(record)
            return self._record_stream(record, result)
        self._keep(replace(record, result=snapshot(result), duration=self._clock() - started))
        return result

    def _record_stream(self, record: RecordedCall, source: Iterator[Any]) -> Iterator[Any]:
        items: list[Any] = []
        try:
            for item in source:
                items.append(snapshot(item))
                yield item
        except Exception as error:
            self._end_record(record, items, error)
            raise
        except BaseException:
            self._end_record(record, items)
            raise
        else:
            self._end_record(record, items)
        finally:
            close_and_log(source, f"the stream of {record.name}")

    def _end_record(self, record: RecordedCall, items: list[Any], error: Exception | None = None) -> None:
        """Keep the end of a stream in its place in the history."""
        ended = replace(record, result=items, error=error, duration=self._clock() - record.started)
        with self._history_lock:
            self._records = [ended if one is record else one for one in self._records]

    def _keep(self, record: RecordedCall) -> None:
        with self._history_lock:
            self._records.append(record)

    def _name_of(self, call: Call) -> str:
        """Return the name below that of its service, as in `orders/price`."""
        at = call.address
        entry = None
        if at is not None and self.owns(at):
            entry = self._catalogue.find(self._path_of(at), at.version)
        return call.function.name if entry is None else entry.name

    def calls(self, name: str | None = None) -> list[RecordedCall]:
        """Return the calls of one function, or all, in the order they ended; a stream counts from its start."""
        with self._history_lock:
            return [record for record in self._records if name is None or record.name == name]

    # expectations

    def expect(self, name: str) -> Expectation:
        """Expect calls of a function: `expect("add").with_params(a=1).times(2)`; `verify` checks it."""
        expectation = Expectation(name)
        with self._history_lock:
            self._expectations.append(expectation)
        return expectation

    def verify(self) -> None:
        """Check the expectations against the history.

        Raises: AssertionError with the expectations, the calls and the near misses, if they differ.
        """
        with self._history_lock:
            expectations, records = list(self._expectations), list(self._records)
        message = describe_failures(expectations, records)
        if message:
            raise AssertionError(message)

    def reset(self) -> None:
        """Clear the history and the expectations; published functions stay."""
        with self._history_lock:
            self._records.clear()
            self._expectations.clear()


def _run_with_faults(call: Call, call_next: CallNext) -> Any:
    function = call.function
    return function.mock.faults.run(call, call_next) if isinstance(function, MockFunction) else call_next(call)


def _address(function: ResolvedFunction) -> Address:
    assert function.address is not None
    return function.address
