"""SingleFlight: make a call once for all threads that want the same call at the same time.

The first thread that asks for a key leads and makes the call. Threads that ask during the call follow: each waits until
its own deadline and gets a copy of the outcome. Nothing is kept after that; it is not a cache.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Event, PoolFuture
from ..context import CallContext
from ..errors import CallCancelled, CallTimeout, PortalError
from ..schema.jsondata import copy_json
from .deadlines import cancelled_error, timeout_error

__all__ = ["SingleFlight"]

KeyT = TypeVar("KeyT", bound=Hashable)


class _Flight:
    """One call in progress.

    Args:
        remove: removes the flight from its table, so that no more threads follow, and returns whether any did.

    Attributes:
        followers: how many threads followed it so far; guarded by the lock of the SingleFlight.

    Threads: the one that leads ends it with `finish` or `fail`; any may wait.
    """

    __slots__ = ("_future", "_remove", "_thread", "followers")

    def __init__(self, remove: Callable[[_Flight], bool]) -> None:
        self.followers = 0
        self._remove = remove
        self._future: Future[Any] = PoolFuture()
        self._thread = threading.get_ident()

    def is_led_here(self) -> bool:
        """Return whether this thread leads the flight, so that it would wait for itself."""
        return self._thread == threading.get_ident()

    def finish(self, value: Any) -> None:
        """End the flight with the result of the call, JSON data; every follower gets a copy.

        If it cannot be copied, followers make the call themselves.
        """
        try:
            result = copy_json(value) if self._remove(self) else None
        except BaseException as error:
            self.fail(_NotShared(error))
            if not isinstance(error, Exception):
                raise
        else:
            self._future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """End the flight with the error of the call. Followers share it; later callers do not."""
        has_followers = False
        try:
            has_followers = self._remove(self)
        finally:
            if not self._future.done():
                # Without followers it is not kept: the frames of its traceback refer to this object.
                self._future.set_exception(error if has_followers else _NotShared())

    def abandon(self) -> None:
        """End the flight without an outcome; followers make the call themselves. The next caller removes it."""
        self._future.set_exception(_NotShared())

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        return self._future.done()

    def wait(self, context: CallContext, name: str) -> None:
        """Wait for the end of the flight.

        Args:
            context: of the follower's own call.
            name: the function, for messages.

        Raises: CallTimeout at the deadline of the context; CallCancelled when the context is cancelled.
        """
        woken = Event()
        self._future.add_done_callback(lambda _: woken.set())
        context.on_cancel(woken.set)
        timeout = context.remaining()
        woken.wait(timeout)
        if self._future.done():
            return
        if context.cancelled:
            raise cancelled_error(context)
        context.cancel()
        raise timeout_error(context, name, timeout)

    def outcome(self, context: CallContext) -> tuple[bool, Any]:
        """Return the outcome of a flight that has ended, for a follower.

        Returns: (True, a copy of the result). (False, None) if only the leader is concerned: its deadline,
            its cancellation, or an exception that is not a portal error.
        Raises: a copy of the portal error with which the call failed, with the request id of `context`.
        """
        error = self._future.exception()
        if error is None:
            return True, copy_json(self._future.result())
        if not isinstance(error, PortalError) or isinstance(error, CallTimeout | CallCancelled):
            return False, None
        raise _copy_for(context, error)


def _copy_for(context: CallContext, error: PortalError) -> PortalError:
    shared = copy.copy(error)
    shared.context = {**error.context, "request_id": context.request_id}
    return shared


class _NotShared(Exception):
    """The flight ended without an outcome for its followers."""


class _Lead:
    """Held by the thread that leads a flight. Its end ends the flight.

    An exception of a signal handler may end the leader between two statements, outside of any `try`.
    """

    __slots__ = ("_flight",)

    def __init__(self, flight: _Flight) -> None:
        self._flight = flight

    def __del__(self) -> None:
        # A garbage collection may call this inside of any statement, so it takes no lock of the table.
        if not self._flight.ended:
            self._flight.abandon()


class SingleFlight(Generic[KeyT]):
    """Calls in progress by key. Their number is bounded by the threads that make them.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = new_lock()  # guards the table and the numbers of followers; not held during a call
        self._flights: dict[KeyT, _Flight] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Drop all flights; called in a child process after a fork, which does not have the threads that lead them."""
        self._flights = {}

    def __len__(self) -> int:
        with self._lock:
            return sum(not flight.ended for flight in self._flights.values())

    @property
    def busy(self) -> bool:
        """Whether any call is in progress."""
        return len(self) > 0

    def run(self, key: KeyT, context: CallContext, name: str, make: Callable[[], Any]) -> Any:
        """Call `make` once for all threads that ask for the same key at the same time, and return its result.

        If the leader's own deadline ends its call, one of the followers leads next. A nested call that asks for the key
        of the call it is nested in is made, since it would wait for itself.

        Args:
            key: identifies the call.
            context: the context of this thread's call. Its deadline limits the wait for another thread's call.
            name: what is called, for messages.
            make: makes the call and returns JSON data.

        Raises: what `make` raises, in the leader and, if it is a portal error, in every follower. CallTimeout and
            CallCancelled according to `context`.
        """
        while True:
            flight, lead = self.join(key)
            if lead is not None:
                return _lead(flight, make)
            if flight.is_led_here():
                return make()
            flight.wait(context, name)
            is_shared, value = flight.outcome(context)
            if is_shared:
                return value

    def detach(self, which: Callable[[KeyT], bool]) -> None:
        """Remove the flights of the selected keys: later callers start a new one, followers still get their outcome.

        Args:
            which: returns whether a key is selected; it is called under the lock.
        """
        with self._lock:
            for key in [key for key in self._flights if which(key)]:
                del self._flights[key]

    def join(self, key: KeyT) -> tuple[_Flight, _Lead | None]:
        """Return the flight of a key, and its lead if this thread leads it.

        `run` does this. The thread that gets a lead keeps it during the call, and then ends the flight by `finish` or
        `fail`.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and not flight.ended:
                flight.followers += 1
                return flight, None
            flight = _Flight(lambda ended: self._remove(key, ended))
            lead = _Lead(flight)
            self._flights[key] = flight
        return flight, lead

    def _remove(self, key: KeyT, flight: _Flight) -> bool:
        """Remove a flight, so that no more threads follow it. Return whether any did."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            return flight.followers > 0


def _lead(flight: _Flight, make: Callable[[], Any]) -> Any:
    try:
        value = make()
    except BaseException as error:
        flight.fail(error)
        raise
    flight.finish(value)
    return value
