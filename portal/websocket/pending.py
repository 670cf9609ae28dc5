"""PendingCalls: the calls that this side has sent and that have no end yet."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

from ..errors import OverloadedError
from ..jsonrpc.messages import Id
from .events import OutgoingCall

__all__ = ["PendingCalls"]

_SLACK = 64  # entries of ended calls in the heap that are not worth a clean-up


class PendingCalls:
    """The pending calls by id, and their deadlines in order.

    Ids count from 1, so that an id that is not pending tells whether its call has ended or was never made.

    Args:
        limit: pending calls at most.

    Attributes:
        by_id: the pending calls in the order in which they were made; only the session changes it.

    Threads: one at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.by_id: dict[int, OutgoingCall] = {}
        self._deadlines: list[tuple[float, int]] = []  # a heap; entries of ended calls are removed later
        self._last = 0
        self._first = 1  # no smaller id is pending

    def __len__(self) -> int:
        return len(self.by_id)

    def add(self, method: str, *, tag: Any, deadline: float | None, credit: int | None) -> OutgoingCall:
        """Return a new call with the next id. Raises: OverloadedError at the limit."""
        if len(self.by_id) >= self._limit:
            raise OverloadedError(f"a connection must have at most {self._limit} pending calls", retry_after=1.0)
        self._last += 1
        call = OutgoingCall(self._last, method, tag, deadline, credit)
        self.by_id[call.id] = call
        if deadline is not None:
            heappush(self._deadlines, (deadline, call.id))
        return call

    def get(self, call_id: Id) -> OutgoingCall | None:
        """Return the pending call with an id, or None. 1 and 1.0 are one number in JSON."""
        return None if call_id is None else self.by_id.get(call_id)  # type: ignore[arg-type]

    @property
    def first(self) -> int:
        """The smallest id that is pending; the next one if there is none."""
        first = self._first if self.by_id else self._last + 1
        while first <= self._last and first not in self.by_id:  # to iterate, a dict passes all its removed keys anew
            first += 1
        self._first = first
        return first

    def was_made(self, call_id: Id) -> bool:
        """Return whether a call with this id was ever made."""
        return isinstance(call_id, int | float) and 1 <= call_id <= self._last and call_id == int(call_id)

    def end(self, call: OutgoingCall) -> bool:
        """Remove a call. Return whether it was pending."""
        if self.by_id.pop(call.id, None) is None:
            return False
        call.ended = True
        if not self.by_id:
            self._deadlines.clear()
        elif len(self._deadlines) > 2 * len(self.by_id) + _SLACK:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self.by_id]
            heapify(self._deadlines)
        return True

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of a pending call, or None."""
        while self._deadlines and self._deadlines[0][1] not in self.by_id:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def expired(self, now: float) -> list[OutgoingCall]:
        """Return the pending calls whose deadline is not after `now`, the earliest first, and forget the deadlines."""
        found = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            found.append(self.by_id[heappop(self._deadlines)[1]])
        return found

    def all(self) -> list[OutgoingCall]:
        """Return the pending calls in the order in which they were made."""
        return list(self.by_id.values())
