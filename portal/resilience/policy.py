"""Policy: how a Consumer makes each call, as one value that is the same at every scheme.

The stages of one call, the outermost first:

    Consumer(middleware=)   around the call
    timeout                 the deadline over all attempts
    fallback                what is returned if all attempts fail
    limiter                 the adaptive limit of the service
    bulkhead                a place among the calls of the service
    hedge                   a second call if the first one is slow
    retry                   attempts, within the retry budget
      an instance is picked for each attempt
      breaker               the circuit of the instance
      attempt middleware    around the attempt
      chaos                 faults for tests
    the call is sent

A Policy has the settings. What a stage learns (circuits, tokens, running calls) is in the PolicyState of the Consumer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Protocol, cast

from .._internal.at_fork import new_lock
from .._internal.settings import instance, positive_seconds, require, strings
from ..calls.middleware import Middleware
from ..calls.plugins import close_middleware
from ..errors import ConfigError
from .adaptive_limit import AdaptiveLimit
from .breaker import Breaker
from .bulkhead import Bulkhead
from .chaos import Chaos
from .fallback import CallAddress, Fallback
from .hedge import Hedge
from .retry import Retry

__all__ = ["BALANCE_NAMES", "Policy", "PolicyState", "Stage"]

#: The names of the methods of `Policy(balance=)`; `portal.consumer.balancing` has the methods.
BALANCE_NAMES = ("pick_first", "round_robin", "weighted", "least_outstanding", "peak_ewma")
_BALANCE = (
    f"one of {', '.join(map(repr, BALANCE_NAMES))}, a Balancing, or a picker: an object with pick(candidates, call)"
)
_MAX_STAGES = 256  # stages that one Consumer keeps the state of


class Stage(Protocol):
    """A middleware that a Policy holds as a setting."""

    def for_consumer(self) -> Middleware:
        """Return a stage with the same settings and a state of its own."""

    def __hash__(self) -> int: ...


class PolicyState:
    """The state of the stages of the policies of one Consumer.

    Policies that hold the same stage object share its state. So `policy.replace(timeout=5)` for one call uses the same
    circuits and retry budget. At most 256 stages are kept, the most recently used ones.

    Args:
        caller: calls the address of a Fallback; None if no Fallback has one.

    Threads: any.
    """

    def __init__(self, caller: CallAddress | None = None) -> None:
        self.caller = caller
        self._lock = new_lock()  # guards the stages
        self._stages: OrderedDict[Stage, Middleware] = OrderedDict()  # the most recently used is last

    def stage(self, setting: Stage) -> Middleware:
        """Return the stage of this Consumer for a stage of a Policy; made on first use."""
        with self._lock:
            found = self._stages.get(setting)
            if found is None:
                if len(self._stages) >= _MAX_STAGES:
                    self._stages.popitem(last=False)
                found = self._stages[setting] = setting.for_consumer()
            else:
                self._stages.move_to_end(setting)
            return found

    def find(self, setting: Stage) -> Middleware | None:
        """Return the stage of this Consumer for a stage of a Policy, or None if no call has used it."""
        return self._stages.get(setting)

    def close(self) -> None:
        """End the threads of the stages."""
        with self._lock:
            stages = list(self._stages.values())
        close_middleware(stages)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The stages of a call. A field that is None leaves its stage out.

        consumer = Consumer(policy=Policy(timeout=2.0, retry=Retry(), breaker=Breaker()))
        consumer.call_at(address, params, policy=consumer.policy.replace(timeout=10.0))

    Attributes:
        timeout: seconds for a call, over all attempts; a timeout or deadline of the call itself is used instead.
        retry: repeats a call after a temporary failure.
        breaker: rejects calls to an instance that keeps failing.
        bulkhead: bounds the calls of a service that run at a time.
        limiter: the same with a bound that adapts to how long calls take.
        hedge: sends a slow call of an idempotent function again, within the budget of `retry`.
        fallback: what is returned if a call has failed in spite of all attempts.
        chaos: adds faults to a part of the attempts, for tests.
        balance: how an instance is picked where there are several: the name of a method, or a picker.
        transports: the schemes to use where an instance has several, the preferred one first; None uses the order of
            the addresses.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    timeout: float | None = None
    retry: Retry | None = None
    breaker: Breaker | None = None
    bulkhead: Bulkhead | None = None
    limiter: AdaptiveLimit | None = None
    hedge: Hedge | None = None
    fallback: Fallback | None = None
    chaos: Chaos | None = None
    balance: Any = "round_robin"
    transports: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        positive_seconds("policy.timeout", self.timeout, optional=True)
        instance("policy.retry", self.retry, Retry, optional=True)
        instance("policy.breaker", self.breaker, Breaker, optional=True)
        instance("policy.bulkhead", self.bulkhead, Bulkhead, optional=True)
        instance("policy.limiter", self.limiter, AdaptiveLimit, optional=True)
        instance("policy.hedge", self.hedge, Hedge, optional=True)
        instance("policy.fallback", self.fallback, Fallback, optional=True)
        instance("policy.chaos", self.chaos, Chaos, optional=True)
        _require_balance(self.balance)
        if self.transports is not None:
            expected = 'a list of schemes, such as ["ws", "http"]'
            strings("policy.transports", self.transports, expected=expected, optional=True)
            require(len(self.transports) > 0, "policy.transports", self.transports, expected, optional=True)
            object.__setattr__(self, "transports", tuple(self.transports))

    @classmethod
    def interactive(cls) -> Policy:
        """Return a policy for calls that a person waits for: 2 seconds, one quick retry, slow calls are hedged."""
        retry = Retry(attempts=2, initial_backoff=0.02, max_backoff=0.1, max_wait=0.5)
        return cls(timeout=2.0, retry=retry, breaker=Breaker(), bulkhead=Bulkhead(), hedge=Hedge())

    @classmethod
    def batch(cls) -> Policy:
        """Return a policy for jobs that may wait: a minute for a call, several retries, a limit that spares the server.

        Calls wait for a busy server, for up to half a minute, before they fail.
        """
        retry = Retry(attempts=6, initial_backoff=0.2, max_backoff=10.0, max_wait=30.0)
        return cls(timeout=60.0, retry=retry, breaker=Breaker(open_duration=10.0), limiter=AdaptiveLimit())

    @classmethod
    def resilient(cls) -> Policy:
        """Return a policy with every stage that needs no decision: retry, breaker, bulkhead, limiter and hedge."""
        stages: dict[str, Any] = {"bulkhead": Bulkhead(), "limiter": AdaptiveLimit(), "hedge": Hedge()}
        return cls(timeout=10.0, retry=Retry(), breaker=Breaker(), **stages)

    def replace(self, **changes: Any) -> Policy:
        """Return a policy with some fields changed; None removes a stage.

        Raises: ConfigError for a wrong setting or an unknown field.
        """
        known = [one.name for one in fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError.invalid("policy", name, f"one of {', '.join(known)}")
        return replace(self, **changes)

    def __or__(self, other: Policy) -> Policy:
        """Return this policy with the fields of another one that differ from their defaults."""
        if not isinstance(other, Policy):
            return NotImplemented
        given = {one.name: value for one in fields(self) if (value := getattr(other, one.name)) != one.default}
        return replace(self, **given)

    def call_stages(self, state: PolicyState) -> tuple[Middleware, ...]:
        """Return the middleware around a call with all its attempts, the outermost first.

        The timeout is not among them: the Consumer gives it to the context of the call.

        Args:
            state: of the Consumer that makes the call.
        """
        before = _stages(state, self.limiter, self.bulkhead)
        if self.fallback is not None:
            fallback = cast(Fallback, state.stage(self.fallback))
            before = (fallback.with_caller(state.caller), *before)
        retry = None if self.retry is None else cast(Retry, state.stage(self.retry))
        if self.hedge is not None:
            hedge = cast(Hedge, state.stage(self.hedge))
            before = (*before, hedge if retry is None else hedge.with_tokens(retry.tokens_of))
        return before if retry is None else (*before, retry)

    def attempt_stages(self, state: PolicyState, middleware: Iterable[Middleware] = ()) -> tuple[Middleware, ...]:
        """Return the middleware around each attempt, inside of the choice of an instance, the outermost first.

        `call.address` must be the address of the instance, since there is a circuit for each.

        Args:
            state: of the Consumer that makes the call.
            middleware: further middleware around each attempt, in its place.
        """
        return (*_stages(state, self.breaker), *middleware, *_stages(state, self.chaos))

    def require_one_retry(self, middleware: Iterable[object]) -> None:
        """Check that calls are not repeated by the policy and by a middleware as well.

        Raises: ConfigError if this policy has `retry` and the middleware of its Consumer has a Retry.
        """
        if self.retry is not None and any(isinstance(one, Retry) for one in middleware):
            expected = "in one place: Policy(retry=...) or Consumer(middleware=[Retry(...)])"
            raise ConfigError(f"Retry must be {expected}", path="policy.retry", expected=expected)


def _require_balance(value: Any) -> None:
    require(value not in (None, ""), "policy.balance", value, "the name of a method, or a picker")
    if isinstance(value, str):
        near = get_close_matches(value.lower().replace("-", "_"), BALANCE_NAMES, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        require(value in BALANCE_NAMES, "policy.balance", value, _BALANCE + advice)
        return
    is_picker = callable(getattr(value, "pick", None)) or callable(getattr(value, "make_picker", None))
    require(is_picker, "policy.balance", value, _BALANCE)


def _stages(state: PolicyState, *settings: object) -> tuple[Middleware, ...]:
    return tuple(state.stage(cast(Stage, setting)) for setting in settings if setting is not None)
