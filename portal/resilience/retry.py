"""Retry: call again after a temporary failure, where that is safe and before the deadline.

The backoff before an attempt is drawn at random between 0 and a bound that doubles each time ("full jitter"). So
clients that failed together do not return together. A `retry_after` of the error is added to it. A RetryBudget shared
by all calls keeps retries from multiplying the load of an outage.

The loop is our own: tenacity 9 adds over 10 us to a call that succeeds at once, this one under 1 us.
"""

from __future__ import annotations

import logging
import random as _random
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.closing import ClosingIterator
from .._internal.settings import callback, count, instance, number, positive_seconds
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import (
    CallCancelled,
    CallTimeout,
    PortalError,
    TransportError,
    ValidationError,
)

__all__ = ["Retry", "RetryBudget", "wait"]

_log = logging.getLogger("portal.calls")
_NEVER = (ValidationError, CallCancelled)
_YEAR = 365 * 86_400.0  # seconds; a peer may send a number that no float holds


def wait(seconds: float, context: CallContext) -> None:
    """Wait for a number of seconds, or until the call is cancelled."""
    cancelled = threading.Event()
    context.on_cancel(cancelled.set)
    cancelled.wait(seconds)


class RetryBudget:
    """The number of retries that all calls together may make: a bucket of tokens.

    Each call adds `ratio` of a token and each retry takes one, so retries stay that share of the calls. The bucket
    starts with `minimum` tokens and refills to that number within `window`, so that a client with few calls can retry.

    Args:
        ratio: retries per call, 0 to 1.
        minimum: tokens at the start, and tokens that `window` seconds put back.
        maximum: tokens that the bucket holds; at least `minimum`.
        window: seconds.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(
        self,
        ratio: float = 0.2,
        minimum: int = 10,
        *,
        maximum: int = 100,
        window: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ratio = number("budget.ratio", ratio, minimum=0, maximum=1)
        self._minimum = number("budget.minimum", minimum, minimum=0)
        self._maximum = float(number("budget.maximum", maximum, minimum=max(1, minimum)))
        self._rate = minimum / positive_seconds("budget.window", window)
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._tokens = float(minimum)
        self._filled = clock()
        self._rejected = 0

    def deposit(self) -> None:
        """Count a call."""
        with self._lock:
            tokens = self._tokens + self._ratio
            self._tokens = tokens if tokens < self._maximum else self._maximum

    def withdraw(self) -> bool:
        """Take a token for a retry; return False when there is none."""
        with self._lock:
            self._fill()
            if self._tokens < 1:
                self._rejected += 1
                return False
            self._tokens -= 1
            return True

    def _fill(self) -> None:
        now = self._clock()
        if self._tokens < self._minimum:
            self._tokens = min(self._minimum, self._tokens + max(0.0, now - self._filled) * self._rate)
        self._filled = now

    def stats(self) -> dict[str, float]:
        """Return the tokens that are left, and the number of retries that were rejected so far."""
        with self._lock:
            self._fill()
            return {"tokens": self._tokens, "rejected": self._rejected}


class Retry:
    """Middleware of the client: sends a call again after a temporary failure.

    A call is sent again only where that is safe: the error shows that the function did not run, the function is
    declared idempotent, or the call has an idempotency key. A stream is started again only before its first item. The
    last error is raised, with the number of attempts in `context["attempts"]`.

    Args:
        attempts: how often a call is sent at most, the first time included.
        initial_backoff: seconds, the bound of the first backoff; it doubles with each attempt.
        max_backoff: seconds, the largest bound of a backoff.
        max_wait: seconds. An error that needs a longer wait is raised at once, so that no thread waits for a server
            that is down; an open circuit asks for such a wait. A batch job may want more.
        budget: for all calls together; a RetryBudget() of its own when None.
        retry_on: callable (error) -> bool, whether to try again, in place of the error's `retryable`. A call that is
            not safe to repeat is not sent again whatever it returns.
        sleep: callable (seconds, context) that waits; `wait` by default.
        clock: seconds, on the clock of deadlines.
        random: callable that returns a number from 0 to 1.

    Raises: ConfigError for a wrong setting.

    Threads: any; one Retry serves a whole Consumer.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        attempts: int = 3,
        *,
        initial_backoff: float = 0.05,
        max_backoff: float = 2.0,
        max_wait: float = 5.0,
        budget: RetryBudget | None = None,
        retry_on: Callable[[PortalError], bool] | None = None,
        sleep: Callable[[float, CallContext], object] = wait,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._attempts = count("retry.attempts", attempts)
        self._initial_backoff = positive_seconds("retry.initial_backoff", initial_backoff)
        self._max_backoff = number("retry.max_backoff", max_backoff, minimum=initial_backoff, unit="seconds")
        self._max_wait = positive_seconds("retry.max_wait", max_wait)
        self.budget = instance("retry.budget", budget, RetryBudget, optional=True) or RetryBudget(clock=clock)
        self._retry_on = callback("retry.retry_on", retry_on, expected="a callable (error) -> bool", optional=True)
        self._sleep = sleep
        self._clock = clock
        self._random = random

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Call, and call again after a temporary failure. Raises the last error."""
        self.budget.deposit()
        if call.streaming:
            return _RetriedStream(self, call, call_next)
        return self.run(call, lambda: call_next(call))

    def run(self, call: Call, attempt: Callable[[], Any], made: int = 0) -> Any:
        """Return what `attempt` returns, after as many attempts as it takes.

        Args:
            made: attempts that were made before. Raises the last error.
        """
        earlier: PortalError | None = None
        while True:
            made += 1
            try:
                return attempt()
            except PortalError as error:
                error.context["attempts"] = made
                if earlier is not None and isinstance(error, TransportError):
                    error.merge_previous_attempt(earlier)
                if earlier is None or not earlier.may_have_executed:
                    earlier = error
                self._wait_or_raise(call, error, made)

    def _wait_or_raise(self, call: Call, error: PortalError, made: int) -> None:
        """Return when it is time for another attempt; raise the error when there is none."""
        context = call.context
        if made >= self._attempts or not self._is_temporary(error, context) or not _is_safe(error, call):
            raise error
        seconds = self._backoff(error, made)
        late = context.deadline is not None and self._clock() + seconds >= context.deadline
        if late or seconds > self._max_wait:
            raise error
        if not self.budget.withdraw():
            error.context["retry_budget"] = "spent"
            raise error
        _log.debug("%s failed (%s); attempt %d in %.3f s", call.function.name, error.code, made + 1, seconds)
        self._sleep(seconds, context)
        if context.cancelled:
            facts = {"request_id": context.request_id, "attempts": made}
            raise CallCancelled("the caller cancelled the call between two attempts", context=facts, cause=error)

    def _is_temporary(self, error: PortalError, context: CallContext) -> bool:
        if isinstance(error, _NEVER) or context.cancelled:
            return False
        if isinstance(error, CallTimeout) and context.deadline is not None and self._clock() >= context.deadline:
            return False
        if self._retry_on is not None:
            return bool(self._retry_on(error))
        # A TransportError after sending is not retryable, because to repeat is not safe in general: see `_is_safe`.
        return error.retryable or (isinstance(error, TransportError) and error.may_have_executed)

    def _backoff(self, error: PortalError, made: int) -> float:
        bound = min(self._max_backoff, self._initial_backoff * 2.0 ** min(made - 1, 64))
        return _retry_after(error) + self._random() * bound


def _retry_after(error: PortalError) -> float:
    """Return the seconds that the error asks for; a peer may have sent anything."""
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:
        return 0.0
    return float(min(asked, _YEAR))


def _is_safe(error: PortalError, call: Call) -> bool:
    if call.function.schema.idempotent:
        return True
    if error.executed:
        return False  # the function ran; an idempotency key would replay the same error
    if error.delivery == "not_sent":
        return True
    return call.context.idempotency_key is not None


class _RetriedStream(ClosingIterator):
    """The items of a streaming call, which is started again until the first item came. Threads: one at a time."""

    def __init__(self, retry: Retry, call: Call, call_next: CallNext) -> None:
        self._retry = retry
        self._call = call
        self._call_next = call_next
        self._attempts = 0
        self._at_start = True
        # Parameters are checked before this returns; other failures come with the first item.
        super().__init__(retry.run(call, self._start))

    def _start(self) -> Iterator[Any]:
        self._attempts += 1
        return iter(self._call_next(self._call))

    def __next__(self) -> Any:
        if self._at_start:
            self._at_start = False
            return self._retry.run(self._call, self._first, self._attempts - 1)
        return super().__next__()

    def _first(self) -> Any:
        items, self._items = self._items, None
        if items is None:
            items = self._start()
        item = next(items)
        self._items = items
        return item

    def close(self) -> None:
        """End the call and close the generator behind it."""
        self._at_start = False
        super().close()
