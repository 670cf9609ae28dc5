"""Retry: repeat a call after a temporary failure, if that is safe and the deadline allows it.

The backoff before an attempt is a random time between 0 and a bound that doubles each time ("full jitter"). So clients
that failed at the same time do not return at the same time. If the error has a `retry_after`, that is the wait, and the
backoff begins anew. The calls of a service share a RetryBudget, so that retries do not multiply the load during an
outage.

Portal does not use tenacity: version 9 adds over 10 us to a call that succeeds at once. This loop adds less than 1 us.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from copy import copy
from time import monotonic
from typing import Any

from .._internal.closing import ClosingIterator
from .._internal.conditions import Event
from .._internal.log import get_logger
from .._internal.settings import callback, count, instance, number, positive_seconds
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..errors import (
    CallCancelled,
    CallTimeout,
    OverloadedError,
    PortalError,
    RateLimitError,
    TransportError,
    ValidationError,
)
from ..errors.delivery import RetryAfterError
from .keyed import KeyedState, authority_of
from .retry_budget import RetryBudget, RetryTokens

__all__ = ["Retry", "RetryBudget", "limits_handled", "wait"]

_log = get_logger("portal.calls")
_NEVER = (ValidationError, CallCancelled)
#: Whether the caller waits where a server limits its calls, so that Retry raises such an error at once.
limits_handled: ContextVar[bool] = ContextVar("portal_limits_handled", default=False)
_YEAR = 365 * 86_400.0  # seconds; a peer may send a number that is too large for a float


def wait(seconds: float, context: CallContext) -> None:
    """Wait for a number of seconds or until the call is cancelled."""
    cancelled = Event()
    context.on_cancel(cancelled.set)
    cancelled.wait(seconds)


class Retry:
    """Middleware of the client: sends a call again after a temporary failure.

    A call is sent again only if that is safe: the error shows that the function did not run, the function is declared
    idempotent, or the call has an idempotency key. A stream is started again only before its first item. The last error
    is raised, with the number of attempts in `context["attempts"]`.

    A RateLimitError, OverloadedError or CircuitOpenError that is not `retryable` is a server's word not to retry, and
    is raised at once.

    Args:
        attempts: the largest number of times that a call is sent, including the first.
        initial_backoff: the bound of the first backoff, in seconds. It doubles with each attempt, and begins anew after
            an error that says when to try again.
        max_backoff: the largest bound of a backoff, in seconds.
        max_wait: the longest wait in seconds. An error that needs a longer one, such as an open circuit, is raised at
            once. So threads do not wait for a server that is down. A batch job may use a larger value.
        budget: the RetryBudget of each service; None for its defaults.
        retry_on: callable (error) -> bool that decides whether to try again, in place of the error's `retryable`. A
            call that is not safe to repeat is never sent again.
        key: callable (call) -> str; the calls with one key share a budget. `authority_of` by default.
        max_entries: the largest number of keys whose budget is kept.
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
        key: Callable[[Call], str] = authority_of,
        max_entries: int = 10_000,
        sleep: Callable[[float, CallContext], object] = wait,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._attempts = count("retry.attempts", attempts)
        self._initial_backoff = positive_seconds("retry.initial_backoff", initial_backoff)
        self._max_backoff = number("retry.max_backoff", max_backoff, minimum=initial_backoff, unit="seconds")
        self._max_wait = positive_seconds("retry.max_wait", max_wait)
        self._budget = instance("retry.budget", budget, RetryBudget, optional=True) or RetryBudget()
        self._retry_on = callback("retry.retry_on", retry_on, expected="a callable (error) -> bool", optional=True)
        self._key = callback("retry.key", key)
        self._max_entries = count("retry.max_entries", max_entries)
        self._sleep = sleep
        self._clock = clock
        self._random = random
        self._tokens = self._new_tokens()

    def _new_tokens(self) -> KeyedState[RetryTokens]:
        return KeyedState(lambda: RetryTokens(self._budget), self._max_entries, lambda tokens: tokens.is_full)

    def for_consumer(self) -> Retry:
        """Return a Retry with the same settings and full budgets."""
        made = copy(self)
        made._tokens = made._new_tokens()
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call, and repeat it after a temporary failure. Raises the last error."""
        if call.streaming:
            return _RetriedStream(self, call, call_next)
        return self.run(call, lambda: call_next(call))

    def tokens_of(self, call: Call) -> RetryTokens:
        """Return the budget of the service that a call goes to."""
        return self._tokens.get(self._key(call))

    def stats(self) -> dict[str, dict[str, float]]:
        """Return the tokens left and the number of rejected retries, by key."""
        return {key: tokens.stats() for key, tokens in self._tokens.items()}

    def run(self, call: Call, attempt: Callable[[], Any], made: int = 0) -> Any:
        """Call `attempt` until it succeeds or must not be repeated, and return its value.

        Args:
            call: the call that `attempt` makes.
            attempt: makes one attempt.
            made: the number of attempts made before.

        Raises: the error of the last attempt.
        """
        tokens = self.tokens_of(call)
        may_have_executed = False
        backoffs = made  # attempts since the last error that said when to try again
        while True:
            made += 1
            backoffs += 1
            try:
                result = attempt()
            except PortalError as error:
                error.context["attempts"] = made
                if isinstance(error, TransportError):
                    error.merge_previous_attempt(may_have_executed=may_have_executed)
                may_have_executed |= error.may_have_executed
                asked = _retry_after(error)
                backoffs = 1 if asked else backoffs
                if not self._wait(call, error, made, tokens, asked + self._backoff(backoffs)):
                    raise
                backoffs = 0 if asked else backoffs
            else:
                tokens.succeed()
                return result

    def _wait(self, call: Call, error: PortalError, made: int, tokens: RetryTokens, seconds: float) -> bool:
        """Wait until the next attempt. Return False if there must not be one. Raises: CallCancelled."""
        context = call.context
        is_temporary = not context.cancelled and self._is_temporary(error, context)
        if is_temporary or _says_no(error):
            tokens.fail()
        if made >= self._attempts or not is_temporary or not _is_safe(error, call):
            return False
        late = context.deadline is not None and self._clock() + seconds >= context.deadline
        if late or seconds > self._max_wait:
            return False
        if not tokens.allow_retry():
            error.context["retry_budget"] = "spent"
            return False
        _log.debug("%s failed (%s); attempt %d in %.3f s", call.function.name, error.code, made + 1, seconds)
        self._sleep(seconds, context)
        if context.cancelled:
            facts = {"request_id": context.request_id, "attempts": made}
            raise CallCancelled("the caller cancelled the call between two attempts", context=facts, cause=error)
        return True

    def _is_temporary(self, error: PortalError, context: CallContext) -> bool:
        if isinstance(error, _NEVER) or _says_no(error):
            return False
        if (
            isinstance(error, RateLimitError | OverloadedError)
            and error.delivery == "not_sent"
            and limits_handled.get()
        ):
            return False
        if isinstance(error, CallTimeout) and context.deadline is not None and self._clock() >= context.deadline:
            return False
        if self._retry_on is not None:
            return bool(self._retry_on(error))
        # A TransportError after sending is not marked as retryable, because repeating may be unsafe: see `_is_safe`.
        return error.retryable or (isinstance(error, TransportError) and error.may_have_executed)

    def _backoff(self, made: int) -> float:
        return self._random() * min(self._max_backoff, self._initial_backoff * 2.0 ** min(made - 1, 64))


def _says_no(error: PortalError) -> bool:
    """Return whether an error says not to retry, although its class says when to try again."""
    return isinstance(error, RetryAfterError) and not error.retryable


def _retry_after(error: PortalError) -> float:
    """Return the seconds that the error asks for. The value may come from a peer, so any type is possible."""
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
    """The items of a streaming call. The call may be started again until its first item has arrived.

    Threads: one at a time.
    """

    def __init__(self, retry: Retry, call: Call, call_next: CallNext) -> None:
        self._retry = retry
        self._call = call
        self._call_next = call_next
        self._attempts = 0
        self._at_start = True
        # This checks the parameters; other failures come with the first item.
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
