"""Bulkhead: bound the calls of one service that run at a time, so that a slow one does not take every thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from time import monotonic
from typing import Any

from .._internal.closing import ClosingIterator
from .._internal.settings import callback, count, seconds, whole_number
from ..calls.middleware import Call, CallNext
from .admission import Admission
from .keyed import KeyedState, authority_of

__all__ = ["Bulkhead", "HeldStream"]


class Bulkhead:
    """Middleware of the client: bounds the calls of each service that run at a time.

    Calls beyond `max_calls` wait in order, at most `max_waiting` of them and at most `max_wait` seconds each. Further
    ones are rejected. A call whose turn would come after its deadline is rejected at once. A stream holds its place
    until it ends.

    Args:
        max_calls: the calls of one key that run at a time.
        max_waiting: the calls of one key that may wait; 0 rejects at once.
        max_wait: the longest wait of one call in seconds.
        key: callable (call) -> str; calls with one key share the places. `authority_of` by default.
        max_entries: the largest number of keys whose state is kept.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting. A call raises OverloadedError if it gets no place.

    Threads: any.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        max_calls: int = 64,
        *,
        max_waiting: int = 0,
        max_wait: float = 1.0,
        key: Callable[[Call], str] = authority_of,
        max_entries: int = 10_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_calls = count("bulkhead.max_calls", max_calls, maximum=1_000_000)
        self._max_waiting = whole_number("bulkhead.max_waiting", max_waiting, minimum=0, maximum=1_000_000)
        self._max_wait = seconds("bulkhead.max_wait", max_wait)
        self._key = callback("bulkhead.key", key)
        self._max_entries = count("bulkhead.max_entries", max_entries)
        self._clock = clock
        self._places = self._new_places()

    def _new_places(self) -> KeyedState[Admission]:
        def make() -> Admission:
            return Admission(self._max_calls, self._max_waiting, self._clock)

        return KeyedState(make, self._max_entries, lambda places: places.is_idle)

    def for_consumer(self) -> Bulkhead:
        """Return a bulkhead with the same settings and all places free."""
        made = copy(self)
        made._places = made._new_places()
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call when it has a place. Raises OverloadedError, CallTimeout or CallCancelled without a call."""
        key = self._key(call)
        places = self._places.get(key)
        place = places.place()
        try:
            places.enter(place, call.context, self._max_wait, key)
            result = call_next(call)
            if call.streaming:
                return HeldStream(iter(result), lambda: places.leave(place))
            places.leave(place)
            return result
        except BaseException:
            places.leave(place)  # also if the handler of a signal has raised in `enter`, or in the line above
            raise

    def stats(self) -> dict[str, dict[str, float]]:
        """Return limit, running, waiting and rejected calls, and the predicted wait, by key."""
        return {key: places.stats() for key, places in self._places.items()}


class HeldStream(ClosingIterator):
    """The items of a stream. When it ends or is closed, it calls `release` once.

    Args:
        items: the items.
        release: called once.

    Threads: one at a time.
    """

    __slots__ = ("_release",)

    def __init__(self, items: Iterator[Any], release: Callable[[], object]) -> None:
        super().__init__(items)
        self._release: Callable[[], object] | None = release

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except BaseException:
            self._release_once()
            raise

    def _release_once(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()

    def close(self) -> None:
        """End the stream and close the generator behind it."""
        try:
            super().close()
        finally:
            self._release_once()

    def __del__(self) -> None:
        self._release_once()
