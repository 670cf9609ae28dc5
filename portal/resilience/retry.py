"""Retry: call again what failed for a passing reason, only where that is safe and in time.

A pause is drawn at random between nothing and a bound that doubles each time ("full jitter"), so that callers who
failed together do not come back together; where the error says when to come back (`retry_after`), that is added. The
caller's deadline is never slept through. A RetryBudget shared by all calls keeps an outage from being multiplied.

The loop is our own: tenacity 9 costs over 10 us around a call that succeeds at once, this under 1 us.
"""

from __future__ import annotations

import logging
import math
import random as _random
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import (
    CallCancelled,
    CallTimeout,
    ConfigError,
    PortalError,
    TransportError,
    ValidationError,
)

__all__ = ["Retry", "RetryBudget", "pause"]

_log = logging.getLogger("portal.calls")
_NEVER = (ValidationError, CallCancelled)
_A_YEAR = 365 * 86_400.0  # a peer may send a number that no float holds


def pause(seconds: float, context: CallContext) -> None:
    """Wait that long, or until the call is given up."""
    given_up = threading.Event()
    context.on_cancel(given_up.set)
    given_up.wait(seconds)


class RetryBudget:
    """How many retries all calls together may make: a bucket of tokens.

    Every call adds `ratio` of a token and every retry takes one, so that retries stay that share of the calls. So that
    a quiet client can retry too, the bucket starts with `minimum` tokens and time alone fills it up to that again.

    Args:
        ratio: retries per call, 0 to 1.
        minimum: tokens at the start, and what `window` seconds put back.
        maximum: the most tokens the bucket holds; not below `minimum`.
        window: seconds.
        clock: seconds, as `time.monotonic`.

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
        _check("budget.ratio", ratio, lambda: 0 <= ratio <= 1, "a number from 0 to 1")
        _check("budget.minimum", minimum, lambda: 0 <= minimum < math.inf, "a number of at least 0")
        _check("budget.maximum", maximum, lambda: max(1, minimum) <= maximum < math.inf, "at least 1, and `minimum`")
        _check("budget.window", window, lambda: 0 < window < math.inf, "seconds above 0")
        self._ratio = ratio
        self._minimum = minimum
        self._maximum = float(maximum)
        self._rate = minimum / window
        self._clock = clock
        self._lock = new_lock()  # guards the three below
        self._tokens = float(minimum)
        self._filled = clock()
        self._refused = 0

    def deposit(self) -> None:
        """A call was made."""
        with self._lock:
            tokens = self._tokens + self._ratio
            self._tokens = tokens if tokens < self._maximum else self._maximum

    def withdraw(self) -> bool:
        """Take a token for a retry; False when there is none."""
        with self._lock:
            self._fill()
            if self._tokens < 1:
                self._refused += 1
                return False
            self._tokens -= 1
            return True

    def _fill(self) -> None:
        now = self._clock()
        if self._tokens < self._minimum:
            self._tokens = min(self._minimum, self._tokens + max(0.0, now - self._filled) * self._rate)
        self._filled = now

    def stats(self) -> dict[str, float]:
        """Tokens that are left, and how many retries were refused so far."""
        with self._lock:
            self._fill()
            return {"tokens": self._tokens, "refused": self._refused}


class Retry:
    """Middleware of the client: calls again what failed for a passing reason.

    A call is sent again only where that is safe: the error shows that the function did not run, the function is
    declared idempotent, or the call has an idempotency key. A stream is begun again only before its first item. The
    error that is raised in the end has `context["attempts"]`, the number of times the call was sent.

    Args:
        attempts: the most times a call is sent, the first included.
        base: seconds, the bound of the first pause; it doubles with each.
        cap: seconds, the most that bound grows to.
        longest: seconds; an error that asks for a longer pause, as that of a circuit that has just opened does, is
            raised at once: nobody's thread is kept waiting for a server that is down. A batch job may want more.
        budget: for all calls together; a RetryBudget() of its own when None.
        retry_on: whether an error is worth another attempt, in place of its own `retryable`; what is not safe is not
            sent again whatever this says.
        sleep: waits `seconds` or until the context is cancelled; `pause` by default.
        clock: seconds, as deadlines are.
        random: a number from 0 to 1.

    Threads: any; one Retry serves a whole Consumer.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        attempts: int = 3,
        *,
        base: float = 0.05,
        cap: float = 2.0,
        longest: float = 5.0,
        budget: RetryBudget | None = None,
        retry_on: Callable[[PortalError], bool] | None = None,
        sleep: Callable[[float, CallContext], object] = pause,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        _check("retry.attempts", attempts, lambda: type(attempts) is int and attempts >= 1, "a whole number above 0")
        _check("retry.base", base, lambda: 0 < base < math.inf, "seconds above 0")
        _check("retry.cap", cap, lambda: base <= cap < math.inf, "seconds, not below `base`")
        _check("retry.longest", longest, lambda: 0 < longest < math.inf, "seconds above 0")
        if retry_on is not None and not callable(retry_on):
            raise _wrong("retry.retry_on", retry_on, "a callable of an error, or None")
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._longest = longest
        self.budget = budget if budget is not None else RetryBudget(clock=clock)
        self._retry_on = retry_on
        self._sleep = sleep
        self._clock = clock
        self._random = random

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Call, and call again as said above; raises the last error."""
        self.budget.deposit()
        if call.streaming:
            return _Stream(self, call, call_next)
        return self.run(call, lambda: call_next(call))

    def run(self, call: Call, attempt: Callable[[], Any], made: int = 0) -> Any:
        """What `attempt` gives, made again where it is worth it, safe and in time; `made` were made before."""
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
                self._pause_or_raise(call, error, made)

    def _pause_or_raise(self, call: Call, error: PortalError, number: int) -> None:
        """Return when it is time for another attempt; raise the error when there is to be none."""
        context = call.context
        if number >= self._attempts or not self._worth(error, context) or not _safe(error, call):
            raise error
        seconds = self._pause_after(error, number)
        late = context.deadline is not None and self._clock() + seconds >= context.deadline
        if late or seconds > self._longest:
            raise error
        if not self.budget.withdraw():
            error.context["retry_budget"] = "spent"
            raise error
        _log.debug("%s failed (%s); attempt %d in %.3f s", call.function.name, error.code, number + 1, seconds)
        self._sleep(seconds, context)
        if context.cancelled:
            given_up = {"request_id": context.request_id, "attempts": number}
            raise CallCancelled("the caller gave the call up between two attempts", context=given_up, cause=error)

    def _worth(self, error: PortalError, context: CallContext) -> bool:
        if isinstance(error, _NEVER) or context.cancelled:
            return False
        if isinstance(error, CallTimeout) and context.deadline is not None and self._clock() >= context.deadline:
            return False
        if self._retry_on is not None:
            return bool(self._retry_on(error))
        # A TransportError after sending is marked not retryable because it is not safe in general; `_safe` judges that.
        return error.retryable or (isinstance(error, TransportError) and error.may_have_executed)

    def _pause_after(self, error: PortalError, number: int) -> float:
        bound = min(self._cap, self._base * 2.0 ** min(number - 1, 64))
        return _asked_pause(error) + self._random() * bound


def _asked_pause(error: PortalError) -> float:
    """Seconds that the error asks for; what a peer sent may be anything."""
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:
        return 0.0
    return float(min(asked, _A_YEAR))


def _safe(error: PortalError, call: Call) -> bool:
    if call.function.schema.idempotent:
        return True
    if error.executed:
        return False  # it did run; under an idempotency key the answer would be the same error again
    if error.delivery == "not_sent":
        return True
    return call.context.idempotency_key is not None


class _Stream:
    """The items of a streaming call, begun again while there was none yet. One thread at a time."""

    def __init__(self, retry: Retry, call: Call, call_next: CallNext) -> None:
        self._retry = retry
        self._call = call
        self._call_next = call_next
        self._attempts = 0
        self._at_start = True
        # Parameters are checked before this returns; what is to come fails at the first item.
        self._items: Iterator[Any] | None = retry.run(call, self._begin)

    def _begin(self) -> Iterator[Any]:
        self._attempts += 1
        return iter(self._call_next(self._call))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._at_start:
            self._at_start = False
            return self._retry.run(self._call, self._first, self._attempts - 1)
        if self._items is None:
            raise StopIteration
        return next(self._items)

    def _first(self) -> Any:
        items, self._items = self._items, None
        if items is None:
            items = self._begin()
        item = next(items)
        self._items = items
        return item

    def close(self) -> None:
        """End the call; the generator behind it is closed."""
        self._at_start = False
        items, self._items = self._items, None
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _wrong(path: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)


def _check(path: str, value: object, allowed: Callable[[], bool], words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not allowed():
        raise _wrong(path, value, words)
