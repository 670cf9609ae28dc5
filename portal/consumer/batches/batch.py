"""Batch: calls of one function with many parameters, a bounded number at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, NamedTuple

from ...calls.call_future import submit_call
from ...errors import CallCancelled, OverloadedError, RateLimitError, ValidationError
from ...resilience.policy import Policy
from ...resilience.retry import Retry, limits_handled
from ..stages import Stages
from .bundles import Bundles, Outcomes
from .turns import Turns

__all__ = ["Batch", "has_retry"]

Params = Mapping[str, Any]
_MIN_WAIT = 0.01  # seconds, for a server that rejects and does not say when to try again


class _Item(NamedTuple):
    """A call of the batch: its number, its parameters, the epoch of the window in which it began, and when it was sent
    first in a message that gave no outcome, or None.
    """

    number: int
    params: Params
    epoch: int = 0
    began: float | None = None


class _Ended(NamedTuple):
    """Calls that have ended, one alone or those of a message."""

    items: list[_Item]
    future: Future[Any]
    began: float
    ended: float


class Batch:
    """Make the calls of `map_at`.

    The thread that takes the results submits the calls, so that a call that waits for its turn keeps no thread.

    Args:
        submit: makes a call with these parameters in a thread. Raises OverloadedError if there is no room.
        max_in_flight: the largest number of calls at a time, and of results that wait to be taken.
        waits_turn: whether a call that the server rejects with RateLimitError or OverloadedError waits and is made
            again, as often as needed, rather than fail.
        bundles: makes several calls in one message where that is quicker; None makes each call alone.
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
        bundles: Bundles | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], object] = sleep,
    ) -> None:
        self._submit = submit
        self._max_in_flight = max_in_flight
        self._waits_turn = waits_turn
        self._bundles = bundles
        self._clock = clock
        self._sleep = sleep
        self._turns = Turns(max_in_flight)
        self._ended: SimpleQueue[_Ended] = SimpleQueue()
        self._again: deque[_Item] = deque()  # rejected by the server, or without an outcome in their message
        self._futures: dict[int, Future[Any]] = {}  # by the number of the first call
        self._in_flight = 0  # calls
        self._is_over = False

    @classmethod
    def of_calls(
        cls,
        submit: Callable[..., Future[Any]],
        call: Callable[..., Any],
        max_in_flight: int,
        waits_turn: bool,
        calls_together: Callable[..., Outcomes] | None = None,
        timeout: float | None = None,
    ) -> Batch:
        """Return a batch of `call(params, context=...)` in threads of `submit`; see `submit_call`.

        Args:
            calls_together: makes several calls in one message; see `Bundles`. None makes each call alone.
            timeout: seconds for each of these calls.

        Raises: ValidationError unless `max_in_flight` is at least 1.
        """
        if max_in_flight < 1:
            raise ValidationError(f"max_in_flight must be at least 1, got {max_in_flight}")
        made, bundles = _raise_limits(call) if waits_turn else call, None
        if calls_together is not None:
            bundles = Bundles(submit, calls_together, call, max_in_flight, timeout)
        return cls(partial(submit_call, submit, made), max_in_flight, waits_turn=waits_turn, bundles=bundles)

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
        done: dict[int, Any] = {}
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
            self._is_over = True
            for future in self._futures.values():
                future.cancel()
            self._futures, self._ended = {}, SimpleQueue()  # the callbacks of the futures refer to this object

    def _fill(self, items: Iterator[_Item], waiting: int) -> None:
        """Begin as many calls as may be in flight."""
        while self._may_begin(waiting):
            taken = self._take(items, waiting)
            if not taken:
                return
            if not self._begin(taken):
                self._again.extendleft(reversed(taken))
                return

    def _may_begin(self, waiting: int) -> bool:
        if self._in_flight >= self._turns.window or self._turns.wait(self._clock()) > 0:
            return False
        return bool(self._again) or self._in_flight + waiting < self._max_in_flight

    def _take(self, items: Iterator[_Item], waiting: int) -> list[_Item]:
        """Return the calls to begin next: one, those of a message, or none yet."""
        if self._again:
            return [self._again.popleft()._replace(epoch=self._turns.epoch)]
        size = 1 if self._bundles is None else self._bundles.size
        if size > self._max_in_flight - self._in_flight - waiting and self._in_flight + waiting:
            return []  # a smaller message would cost as much; there is room soon
        return [item._replace(epoch=self._turns.epoch) for item in islice(items, size)]

    def _begin(self, items: list[_Item]) -> bool:
        first, began = items[0], self._clock()
        try:
            if self._bundles is None or (len(items) == 1 and first.began is None):
                future = self._submit(first.params)
            elif first.began is not None:
                future = self._bundles.submit_again(first.params, first.began)
            else:
                future = self._bundles.submit([item.params for item in items])
        except OverloadedError:
            if not self._futures:
                raise OverloadedError(
                    "all workers of the consumer are busy with other calls", retry_after=1.0
                ) from None
            return False
        self._futures[first.number] = future
        self._in_flight += len(items)
        future.add_done_callback(lambda ended: self._note_end(items, ended, began))
        return True

    def _note_end(self, items: list[_Item], ended: Future[Any], began: float) -> None:
        if not self._is_over:
            self._ended.put(_Ended(items, ended, began, self._clock()))

    def _collect(self, done: dict[int, Any]) -> None:
        """Wait for the end of one call or message, or until calls may begin again."""
        pause = (self._turns.wait(self._clock()) or None) if self._again else None
        if pause is not None and not self._futures:
            self._sleep(pause)
            return
        try:
            items, future, began, ended = self._ended.get(timeout=pause)
        except Empty:
            return
        del self._futures[items[0].number]
        self._in_flight -= len(items)
        if len(items) > 1:
            self._unpack(items, _ended_with(future), began, ended - began, done)
            return
        item, outcome = items[0], _ended_with(future)
        if self._waits_turn and _is_limited(outcome):
            asked = max(_MIN_WAIT, getattr(outcome, "retry_after", None) or 0.0)
            self._turns.limited(item.epoch, asked, self._clock())
            self._again.append(item)
            return
        if not isinstance(outcome, Exception):
            self._turns.passed()
            if self._bundles is not None and item.began is None:
                self._bundles.ended(1, ended - began, {0: outcome})
        done[item.number] = outcome

    def _unpack(self, items: list[_Item], outcomes: Any, began: float, seconds: float, done: dict[int, Any]) -> None:
        """Take the outcomes of a message. Calls without one are made alone."""
        assert self._bundles is not None
        if isinstance(outcomes, Exception):
            outcomes = dict.fromkeys(range(len(items)), outcomes)
        self._bundles.ended(len(items), seconds, outcomes)
        for number, item in enumerate(items):
            if outcomes is not None and number in outcomes:
                done[item.number] = outcomes[number]
            else:
                self._again.append(item._replace(began=began))


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


def _is_limited(outcome: Any) -> bool:
    """Return whether the server has rejected a call that it may take later."""
    return (
        isinstance(outcome, RateLimitError | OverloadedError) and outcome.retryable and outcome.delivery == "not_sent"
    )


def _ended_with(future: Future[Any]) -> Any:
    """Return the result of a future that has ended, or its exception: a result is data.

    An exception is not raised here. Its traceback would refer to this frame and its callers, which keep the exception.
    """
    if future.cancelled():
        return CallCancelled("the call was cancelled before it started")
    error = future.exception()
    if error is None or not isinstance(error, Exception):
        return future.result()
    return error


def _outcome(outcome: Any, return_exceptions: bool) -> Any:
    if isinstance(outcome, Exception) and not return_exceptions:
        try:
            raise outcome
        finally:
            del outcome  # else the exception and this frame refer to each other
    return outcome
