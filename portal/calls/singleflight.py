"""SingleFlight: the same call asked for by many threads at once is made once.

The first to ask for a key leads: it makes the call. Those who ask while it is under way wait, each within its own
deadline, and get a copy of the outcome. Nothing is remembered after that.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .._internal.at_fork import new_lock, renew_after_fork
from ..context import CallContext
from ..errors import CallCancelled, CallTimeout, PortalError
from ..schema.jsondata import copy_json
from .deadlines import timeout_error

__all__ = ["Flight", "SingleFlight"]

KeyT = TypeVar("KeyT", bound=Hashable)


class Flight:
    """One call that is under way. Threads: one leads and ends it with `finish` or `fail`; any wait."""

    __slots__ = ("_future", "_land", "_thread", "followers")

    def __init__(self, land: Callable[[Flight], bool]) -> None:
        self.followers = 0
        self._land = land
        self._future: Future[Any] = Future()
        self._thread = threading.get_ident()

    def is_own(self) -> bool:
        """Whether this thread leads it, and would wait for itself."""
        return self._thread == threading.get_ident()

    def finish(self, value: Any) -> None:
        """The call gave this JSON data; those who wait get copies."""
        self._future.set_result(copy_json(value) if self._land(self) else None)

    def fail(self, error: BaseException) -> None:
        """The call failed; those who wait now share that, those who come later do not."""
        self._land(self)
        self._future.set_exception(error)

    def wait(self, context: CallContext, name: str) -> None:
        """Wait for its end. Raises: CallTimeout at the context's deadline, CallCancelled when it is cancelled."""
        woken = threading.Event()
        self._future.add_done_callback(lambda _: woken.set())
        context.on_cancel(woken.set)
        timeout = context.remaining()
        woken.wait(timeout)
        if self._future.done():
            return
        if context.cancelled:
            raise CallCancelled("the caller gave the call up", context={"request_id": context.request_id})
        context.cancel()
        raise timeout_error(context, name, timeout)

    def outcome(self, context: CallContext) -> tuple[bool, Any]:
        """(True, a copy of what the call gave), or (False, None) where its end says nothing to others.

        That is where the leader's own deadline, its cancellation or a defect ended its call.
        Raises: a copy of the portal error with which the call failed, under the request id of `context`.
        """
        error = self._future.exception()
        if error is None:
            return True, copy_json(self._future.result())
        if not isinstance(error, PortalError) or isinstance(error, CallTimeout | CallCancelled):
            return False, None
        shared = copy.copy(error)
        shared.context = {**error.context, "request_id": context.request_id}
        raise shared


class SingleFlight(Generic[KeyT]):
    """The calls that are under way, by key; as many as threads lead one. Threads: any."""

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the table and the followers; not held during a call
        self._flights: dict[KeyT, Flight] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Nothing is under way; a child process, which has not the threads that lead, begins so by itself."""
        self._flights = {}

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def busy(self) -> bool:
        """Whether a thread of this process makes a call."""
        return len(self._flights) > 0

    def lead(self, key: KeyT) -> tuple[Flight, bool]:
        """The flight for a key and whether the caller leads it.

        Who leads must call `finish` or `fail` on it, whatever happens; who does not calls `wait` and then `outcome`.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                flight.followers += 1
                return flight, False
            flight = self._flights[key] = Flight(lambda landed: self._land(key, landed))
            return flight, True

    def _land(self, key: KeyT, flight: Flight) -> bool:
        """Let nobody join any more; whether anybody has."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            return flight.followers > 0

    def detach(self, which: Callable[[KeyT], bool]) -> None:
        """Let nobody join the flights of these keys any more; those who have joined still get their outcome."""
        with self._lock:
            for key in [key for key in self._flights if which(key)]:
                del self._flights[key]

    def once(self, key: KeyT, context: CallContext, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, JSON data, made once for all who ask for the same key at the same time.

        A call that asks again for its own key, within itself, is made.

        Args:
            name: of the function, for the error.
        Raises: what `make` raises, and the same to all who wait at that moment; CallTimeout and CallCancelled as it
            stands with `context`. Where the leader's own deadline ended its call, one of those who wait leads next.
        """
        while True:
            flight, leads = self.lead(key)
            if leads:
                return _fly(flight, make)
            if flight.is_own():
                return make()
            flight.wait(context, name)
            holds, value = flight.outcome(context)
            if holds:
                return value

    def fetch(self, key: KeyT, name: str, deadline: float, make: Callable[[], Any]) -> Any:
        """Return what `make` returns, JSON data, to all who ask while it runs.

        `make` should first check whether the fetch is still needed.

        Args:
            name: what is fetched, for the error.
            deadline: `time.monotonic()` moment until which this thread waits for another thread's fetch.
        Raises: what `make` raises; CallTimeout at the deadline.
        """
        return self.once(key, CallContext(deadline=deadline), name, make)


def _fly(flight: Flight, make: Callable[[], Any]) -> Any:
    try:
        value = make()
    except BaseException as error:
        flight.fail(error)
        raise
    flight.finish(value)
    return value
