"""IncomingCalls: the calls of the peer that have no response yet, and the batches that they came in."""

from __future__ import annotations

from ..errors import Delivery, PortalError, ProtocolError
from ..jsonrpc.encoding import encode_batch, encode_error
from ..jsonrpc.messages import Id, Request
from .events import IncomingCall

__all__ = ["Batch", "IncomingCalls"]


class Batch:
    """Collects the responses to one batch, which are sent as one text.

    Args:
        max_size: bytes of the results at most.

    Threads: one at a time.
    """

    def __init__(self, max_size: int) -> None:
        self._parts: list[bytes] = []
        self._left = self._max_size = max_size
        self._waiting = 1  # the reader of the batch, until it has read all of it

    def expect(self) -> None:
        """Wait for one response more."""
        self._waiting += 1

    def add(self, message_id: Id, part: bytes | None, *, is_result: bool = False) -> bytes | None:
        """Add the response that was expected, or None for a notification. Return the whole once it is complete.

        The result that goes beyond the limit, and each later one, becomes an error.
        """
        if part is not None:
            self._append(message_id, part, is_result)
        return self._finish()

    def add_now(self, part: bytes) -> None:
        """Add a response that was not expected, while the batch is read."""
        self._parts.append(part)

    def close(self) -> bytes | None:
        """End the reading of the batch. Return the whole if it is complete."""
        return self._finish()

    def _append(self, message_id: Id, part: bytes, is_result: bool) -> None:
        self._left -= len(part)
        if is_result and self._left < 0:
            part = encode_error(message_id, _too_large(self._max_size, "executed"))
        self._parts.append(part)

    def _finish(self) -> bytes | None:
        self._waiting -= 1
        if self._waiting or not self._parts:
            return None
        parts, self._parts = self._parts, []
        return encode_batch(parts)


def _too_large(max_size: int, delivery: Delivery) -> PortalError:
    message = f"the results of a batch must have at most {max_size} bytes"
    return ProtocolError(message, status=413, delivery=delivery, hint="make this call alone or in a smaller batch")


class IncomingCalls:
    """The calls of the peer that have no response yet.

    Args:
        limit: calls at most, notifications included.

    Threads: one at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_id: dict[Id, IncomingCall] = {}
        self._others: set[IncomingCall] = set()  # notifications, and requests whose id is null

    def __len__(self) -> int:
        return len(self._by_id) + len(self._others)

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return len(self._by_id) + len(self._others) >= self.limit

    def get(self, call_id: Id) -> IncomingCall | None:
        """Return the call with an id, or None."""
        return self._by_id.get(call_id) if call_id is not None else None

    def add(self, request: Request, arrived: float, batch: Batch | None, credit: int | None) -> IncomingCall:
        """Return the call of a request. Its id must not be in use."""
        call = IncomingCall(
            request.id,
            request.method,
            request.params,
            meta=request.meta,
            notification=request.notification,
            arrived=arrived,
            batch=batch,
            credit=credit,
        )
        self.enter(call)
        if batch is not None:
            batch.expect()
        return call

    def enter(self, call: IncomingCall) -> None:
        """Add a call that is not part of a batch. Its id must not be in use."""
        if call.id is None:
            self._others.add(call)
        else:
            self._by_id[call.id] = call

    def end(self, call: IncomingCall) -> bool:
        """Remove a call. Return whether it had no response yet."""
        if call.ended:
            return False
        call.ended = True
        if call.id is None:
            self._others.discard(call)
        else:
            self._by_id.pop(call.id, None)
        return True

    def all(self) -> list[IncomingCall]:
        """Return the calls that have no response yet."""
        return [*self._by_id.values(), *self._others]
