"""TestingPortal: mocks, stubs, expectations and call history at `test://` addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from time import perf_counter
from typing import Any

from ..address import Address
from ..calls.middleware import Call, CallNext, Middleware
from ..errors import PortalError
from ..function import Function
from ..local import LocalPortal
from ..schema import FunctionSchema
from .history import CallRecord, Expectation, report
from .mock import Mock, MockFunction

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
        middleware: Iterable[Middleware] = (),
        executor: Executor | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._clock = clock
        self._records: list[CallRecord] = []
        self._expectations: list[Expectation] = []
        self._history_lock = threading.Lock()  # guards the two lists
        super().__init__(executor=executor, middleware=(self._record, *middleware), unique_ids="sequence")

    # what answers

    def mock(self, contract: str | FunctionSchema | Function | Callable[..., Any]) -> Mock:
        """Publish a mock under a name, or in the place of a function whose contract it keeps.

        With a contract, parameters and results are checked as the real function checks them.
        """
        function = MockFunction.of(contract)
        function.address = self.apply(function)
        return function.mock

    def stub(self, contract: str | FunctionSchema | Function | Callable[..., Any], value: Any) -> Address:
        """Publish a function that gives `value` whatever it is called with."""
        function = self.mock(contract).returns(value).function
        assert function.address is not None
        return function.address

    # what came

    def _record(self, call: Call, call_next: CallNext) -> Any:
        begun = self._clock()
        name = call.function.name if call.address is None else _name_at(call.address, call.function.name)
        try:
            result = call_next(call)
        except PortalError as error:
            self._keep(call, name, None, error, begun)
            raise
        if call.streaming:
            return self._record_stream(call, name, result, begun)
        self._keep(call, name, result, None, begun)
        return result

    def _record_stream(self, call: Call, name: str, source: Iterator[Any], begun: float) -> Iterator[Any]:
        items: list[Any] = []
        failure: BaseException | None = None
        try:
            for item in source:
                items.append(item)
                yield item
        except PortalError as error:
            failure = error
            raise
        finally:
            self._keep(call, name, items, failure, begun)

    def _keep(self, call: Call, name: str, result: Any, error: BaseException | None, begun: float) -> None:
        record = CallRecord(name, dict(call.params), result, error, self._clock() - begun, call.context.request_id)
        with self._history_lock:
            self._records.append(record)

    def calls(self, name: str | None = None) -> list[CallRecord]:
        """The calls that came, in the order they ended; of one function, or all."""
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


def _name_at(address: Address, name: str) -> str:
    """The name with its service's before it, as in `orders/price`."""
    plain = [segment.partition("@")[0] for segment in address.segments]
    position = plain.index(name) if name in plain else 0
    return "/".join([*plain[:position], name])
