"""TestingPortal: mocks, stubs, expectations and call history at `test://` addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter
from typing import Any, overload

from .._internal.closing import close_and_log
from ..address import Address
from ..calls.middleware import Call, CallNext, Middleware
from ..function import Function
from ..local.portal import LocalPortal
from ..portal import Portal
from ..schema import FunctionSchema
from .expectations import Expectation, describe_failures
from .history import RecordedCall, snapshot
from .mock import Mock, MockFunction
from .recording import Recorder, RecordingPortal, TakesMiddleware, recording
from .recording_file import FilePath
from .replay import Replay

__all__ = ["TestingPortal"]


class TestingPortal(LocalPortal):
    """A portal for tests with real functions, mocks and stubs, and a history of every call.

    Args:
        middleware: around every call, inside the history.
        executor: runs the calls; see LocalPortal.
        clock: seconds, for durations.
        name: the portal's own name; see LocalPortal.

    Threads: any.
    """

    __test__ = False  # pytest collects classes whose names begin with Test
    schemes = ("test", "mock")

    def __init__(
        self,
        *,
        middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        clock: Callable[[], float] = perf_counter,
        name: str | None = None,
    ) -> None:
        self._clock = clock
        self._records: list[RecordedCall] = []
        self._expectations: list[Expectation] = []
        self._replays: list[Replay] = []
        self._history_lock = threading.Lock()  # guards the three lists
        super().__init__(executor=executor, middleware=(self._record, *middleware), unique_ids="sequence", name=name)

    # mocks, stubs and replays

    def mock(self, function: str | FunctionSchema | Function | Callable[..., Any]) -> Mock:
        """Publish a mock and return it.

        Args:
            function: a name; or what has a schema, by which the mock validates parameters and results.
        """
        return MockFunction.of(function).publish(self.apply, self.resolve_function)

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
        super().close()
        with self._history_lock:
            replays, self._replays = self._replays, []
        for one in replays:
            close_and_log(one, "a replay")

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
            close_and_log(source, f"the stream of {record.name}")

    def _keep(self, record: RecordedCall) -> None:
        with self._history_lock:
            self._records.append(record)

    def _name_of(self, call: Call) -> str:
        """Return the name below that of its service, as in `orders/price`."""
        at = call.address
        entry = None
        if at is not None and at.scheme in self.schemes:
            entry = self._catalogue.find(at.segments, at.version)
        return call.function.name if entry is None else "/".join(entry.path)

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
