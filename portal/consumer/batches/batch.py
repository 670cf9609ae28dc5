"""Batch: calls of one function with many parameters, a bounded number at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, NamedTuple

from ...errors import CallCancelled, OverloadedError, PortalError, RateLimitError, ValidationError
from ...resilience.policy import Policy
from ...resilience.retry import Retry, limits_handled
from ..stages import Stages
from .call_future import submit_call
from .turns import Turns

__all__ = ["Batch", "has_retry"]

Params = Mapping[str, Any]
_MIN_WAIT = 0.01  # seconds, for a server that rejects and does not say when to try again


class _Item(NamedTuple):
    """A call of the batch: its number, its parameters, and the epoch of the window in which it began."""

    number: int
    params: Params
    epoch: int = 0


class Batch:
    """Make the calls of `map_at`.

    The thread that takes the results submits the calls, so that a call that waits for its turn keeps no thread.

    Args:
        submit: makes a call with these parameters in a thread. Raises OverloadedError if there is no room.
        max_in_flight: the largest number of calls at a time, and of results that wait to be taken.
        waits_turn: whether a call that the server rejects with RateLimitError or OverloadedError waits and is made
            again, as often as needed, rather than fail.
        clock: seconds, as `time.monotonic`.
        sleep: waits for a number of seconds while no call is in flight.

    Threads: one at a time; calls only add their outcome.
    """

    def __init__(
        self,
        submit: Callable[[Params], Future[Any]],
        max_in_flight: int,
        *,
        waits_turn: bool = False,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], object] = sleep,
    ) -> None:
        self._submit = submit
        self._max_in_flight = max_in_flight
        self._waits_turn = waits_turn
        self._clock = clock
        self._sleep = sleep
        self._turns = Turns(max_in_flight)
        self._ended: SimpleQueue[tuple[_Item, Future[Any]]] = SimpleQueue()
        self._again: deque[_Item] = deque()  # rejected by the server
        self._futures: dict[int, Future[Any]] = {}

    @classmethod
    def of_calls(
        cls, submit: Callable[..., Future[Any]], call: Callable[..., Any], max_in_flight: int, *, waits_turn: bool
    ) -> Batch:
        """Return a batch of `call(params, context=...)` in threads of `submit`; see `submit_call`.

        Raises: ValidationError unless `max_in_flight` is at least 1.
        """
        if max_in_flight < 1:
            raise ValidationError(f"max_in_flight must be at least 1, got {max_in_flight}")
        made = _raise_limits(call) if waits_turn else call
        return cls(partial(submit_call, submit, made), max_in_flight, waits_turn=waits_turn)

    def results(self, params: Iterable[Params], *, as_completed: bool, return_exceptions: bool) -> Iterator[Any]:
        """Return the results in order, or (number, result) as they come; see `run`."""
        pairs = self.run(params, ordered=not as_completed, return_exceptions=return_exceptions)
        return pairs if as_completed else (result for _, result in pairs)

    def run(self, params: Iterable[Params], *, ordered: bool, return_exceptions: bool) -> Iterator[tuple[int, Any]]:
        """Yield (number, result) for each of `params`, which are read as results are taken.

        Args:
            ordered: whether the results come in the order of `params`, not as they come in.
            return_exceptions: whether a failure is yielded as a result, not raised.

        Raises: the first failure, in its place; the calls in flight are cancelled then. OverloadedError if there is no
            room for any call.
        """
        items = (_Item(number, one) for number, one in enumerate(params))
        done: dict[int, Future[Any]] = {}
        following = 0
        try:
            while True:
                self._fill(items, len(done))
                ready = [following] if ordered and following in done else ([] if ordered else list(done))
                for number in ready:
                    following += 1
                    yield number, _outcome(done.pop(number), return_exceptions)
                if ready:
                    continue
                if not self._futures and not self._again:
                    return
                self._collect(done)
        finally:
            for future in self._futures.values():
                future.cancel()

    def _fill(self, items: Iterator[_Item], waiting: int) -> None:
        """Begin as many calls as may be in flight."""
        while self._may_begin(waiting):
            item = self._again.popleft() if self._again else next(items, None)
            if item is None:
                return
            if not self._begin(item._replace(epoch=self._turns.epoch)):
                self._again.appendleft(item)
                return

    def _may_begin(self, waiting: int) -> bool:
        in_flight = len(self._futures)
        if in_flight >= self._turns.window or self._turns.wait(self._clock()) > 0:
            return False
        return bool(self._again) or in_flight + waiting < self._max_in_flight

    def _begin(self, item: _Item) -> bool:
        try:
            future = self._submit(item.params)
        except OverloadedError:
            if not self._futures:
                raise OverloadedError(
                    "all workers of the consumer are busy with other calls", retry_after=1.0
                ) from None
            return False
        self._futures[item.number] = future
        future.add_done_callback(lambda ended: self._ended.put((item, ended)))
        return True

    def _collect(self, done: dict[int, Future[Any]]) -> None:
        """Wait for the end of one call, or until calls may begin again."""
        pause = (self._turns.wait(self._clock()) or None) if self._again else None
        if pause is not None and not self._futures:
            self._sleep(pause)
            return
        try:
            item, future = self._ended.get(timeout=pause)
        except Empty:
            return
        del self._futures[item.number]
        error = None if future.cancelled() else future.exception()
        if self._waits_turn and _is_limited(error):
            asked = max(_MIN_WAIT, getattr(error, "retry_after", None) or 0.0)
            self._turns.limited(item.epoch, asked, self._clock())
            self._again.append(item)
            return
        if error is None:
            self._turns.passed()
        done[item.number] = future


def has_retry(policy: Policy | None, stages: Stages) -> bool:
    """Return whether calls are repeated, by their policy, by that of the Consumer or by a middleware."""
    chosen = policy or stages.policy
    by_policy = chosen is not None and chosen.retry is not None
    return by_policy or any(isinstance(one, Retry) for one in (*stages.middleware, *stages.attempt_middleware))


def _raise_limits(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable that makes a call in which Retry raises rate limits at once: the batch waits for them."""

    def make(*args: Any, **options: Any) -> Any:
        token = limits_handled.set(True)
        try:
            return call(*args, **options)
        finally:
            limits_handled.reset(token)

    return make


def _is_limited(error: BaseException | None) -> bool:
    """Return whether the server has rejected a call that it may take later."""
    return isinstance(error, RateLimitError | OverloadedError) and error.retryable and error.delivery == "not_sent"


def _outcome(future: Future[Any], return_exceptions: bool) -> Any:
    try:
        return future.result()
    except CancelledError:
        error: PortalError = CallCancelled("the call was cancelled before it started")
        if return_exceptions:
            return error
        raise error from None
    except Exception as failure:
        if return_exceptions:
            return failure
        raise
