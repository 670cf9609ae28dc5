"""TestingPortal: mocks, stubs, expectations and call history at `test://` addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter
from typing import Any, overload

from ..address import Address
from ..calls.middleware import Call, CallNext, Middleware
from ..function import Function
from ..local.portal import LocalPortal
from ..portal import Portal
from ..schema import FunctionSchema
from .history import CallRecord, Expectation, report, snapshot
from .mock import Mock, MockFunction
from .recording import FilePath, Recorder, RecordingPortal, Replay, TakesMiddleware, recording

__all__ = ["TestingPortal"]


class TestingPortal(LocalPortal):
    """A portal for tests: real functions, mocks and stubs side by side, and a history of every call.

    Args:
        middleware: around every call, inside the history.
        executor: where calls run; see LocalPortal.
        clock: seconds, for durations.

    Threads: any.
    """

    __test__ = False  # the name begins as pytest's test classes do
    schemes = ("test", "mock")

    def __init__(
        self,
        *,
        middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._clock = clock
        self._records: list[CallRecord] = []
        self._expectations: list[Expectation] = []
        self._replays: list[Replay] = []
        self._history_lock = threading.Lock()  # guards the three lists
        super().__init__(executor=executor, middleware=(self._record, *middleware), unique_ids="sequence")

    # what answers

    def mock(self, contract: str | FunctionSchema | Function | Callable[..., Any]) -> Mock:
        """Publish a mock under a name, or in the place of a function whose contract it keeps.

        With a contract, parameters and results are checked as the real function checks them.
        """
        function = MockFunction.of(contract)
        function.address = self.apply(function)
        function.mock.resolver = self.resolve_function
        return function.mock

    def stub(self, contract: str | FunctionSchema | Function | Callable[..., Any], value: Any) -> Address:
        """Publish a function that gives `value` whatever it is called with."""
        return self.mock(contract).returns(value).address

    def replay(self, path: FilePath) -> Replay:
        """A portal that answers as a recording did; its calls are in this portal's history. Closed with this one.

            consumer.register_portal(portal.replay("orders.json"))

        Raises: SerializationError for a file that is no recording.
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
        """Record the calls of a Consumer, or of a portal, for the length of a `with` block; see `recording`."""
        found: AbstractContextManager[Any] = recording(path, target, clock=self._clock)
        return found

    def close(self) -> None:
        """As every portal; the replays it made are closed too."""
        super().close()
        with self._history_lock:
            replays, self._replays = self._replays, []
        for one in replays:
            one.close()

    # what came

    def _record(self, call: Call, call_next: CallNext) -> Any:
        begun = self._clock()
        record = CallRecord(self._name_of(call), snapshot(call.params), None, None, 0.0, call.context.request_id, begun)
        try:
            result = call_next(call)
        except Exception as error:
            self._keep(replace(record, error=error, duration=self._clock() - begun))
            raise
        if call.streaming:
            # kept at once: a stream that nobody reads came too
            record = replace(record, result=[])
            self._keep(record)
            return self._record_stream(record, result)
        self._keep(replace(record, result=snapshot(result), duration=self._clock() - begun))
        return result

    def _record_stream(self, record: CallRecord, source: Iterator[Any]) -> Iterator[Any]:
        items: list[Any] = []
        failure: BaseException | None = None
        try:
            for item in source:
                items.append(snapshot(item))
                yield item
        except Exception as error:
            failure = error
            raise
        finally:
            ended = replace(record, result=items, error=failure, duration=self._clock() - record.started)
            with self._history_lock:
                self._records = [ended if one is record else one for one in self._records]

    def _keep(self, record: CallRecord) -> None:
        with self._history_lock:
            self._records.append(record)

    def _name_of(self, call: Call) -> str:
        """The name with its service's before it, as in `orders/price`."""
        at = call.address
        entry = None
        if at is not None and at.scheme in self.schemes:
            entry = self._catalogue.find(at.segments, at.version)
        return call.function.name if entry is None else "/".join(entry.path)

    def calls(self, name: str | None = None) -> list[CallRecord]:
        """The calls that came, in the order they ended (a stream: in which it began); of one function, or all."""
        with self._history_lock:
            return [record for record in self._records if name is None or record.name == name]

    # what was expected

    def expect(self, name: str) -> Expectation:
        """Expect calls of a function: `expect("add").with_params(a=1).times(2)`; `verify` checks it."""
        expectation = Expectation(name)
        with self._history_lock:
            self._expectations.append(expectation)
        return expectation

    def verify(self) -> None:
        """AssertionError that says what was expected and what came, if they differ."""
        with self._history_lock:
            expectations, records = list(self._expectations), list(self._records)
        words = report(expectations, records)
        if words:
            raise AssertionError(words)

    def reset(self) -> None:
        """Forget history and expectations; what is published stays."""
        with self._history_lock:
            self._records.clear()
            self._expectations.clear()
