"""Stages: the chain of middleware of each call of a Consumer, in the one order that docs/consumer.md shows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NamedTuple, cast

from .._internal.at_fork import new_lock
from .._internal.closing import ClosingIterator
from .._internal.counter import number_source
from .._internal.settings import instance
from ..calls.middleware import Call, CallNext, Middleware, build_chain
from ..calls.plugins import close_middleware
from ..errors import PortalError, RegistryError
from ..local.portal import LocalFunction
from ..resilience.policy import Policy, PolicyState
from ..resilience.retry import Retry
from .balanced_call import BalancedCall, concerns_group, group_error
from .balancing.settings import Balancing
from .failover import FailOver
from .fallback_call import FallbackCalls
from .function_cache import FunctionCache
from .pending import PendingFunction
from .targets import GroupKind

__all__ = ["WITHOUT_POLICY", "PolicyChains", "Stages", "sender"]

#: The way of a call without a policy in short, for its errors.
WITHOUT_POLICY = "one address, no policy"
_MAX_POLICIES = 256  # policies whose chains are kept


def sender(functions: FunctionCache, explain: str | None = None) -> CallNext:
    """Return the innermost stage, which sends a call to its function.

    If nothing is published at the address any more (404, 410), the function is forgotten, so that the next call looks
    again.

    Args:
        explain: the way of the call in short, for its errors; None if another stage adds it.
    """

    def send(call: Call) -> Any:
        try:
            if isinstance(call.function, PendingFunction):
                call.function = call.function.fetch(call.context)  # a retry of the call finds it
            if not call.streaming:
                return call.function.invoke(call.params, call.context)
            items = call.function.iterate(call.params, call.context)
        except PortalError as error:
            _note(functions, call, error, explain)
            raise
        return items if isinstance(call.function, LocalFunction) else _RemoteItems(items, functions, call, explain)

    return send


def _note(functions: FunctionCache, call: Call, error: PortalError, explain: str | None) -> None:
    if explain is not None:
        error.with_context(explain=explain)
    if isinstance(error, RegistryError) and call.address is not None and not error.executed:
        functions.forget(str(call.address))


class _RemoteItems(ClosingIterator):
    """The items of a stream of another process. The response 404 or 410 may come in place of the first item.

    Threads: one at a time.
    """

    __slots__ = ("_call", "_explain", "_functions")

    def __init__(self, items: Iterator[Any], functions: FunctionCache, call: Call, explain: str | None) -> None:
        super().__init__(items)
        self._explain = explain
        self._functions = functions
        self._call = call

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except PortalError as error:
            _note(self._functions, self._call, error, self._explain)
            raise


class PolicyChains(NamedTuple):
    """The chains of one policy.

    Attributes:
        policy: the policy.
        kind: the kind of groups that it uses.
        at_address: makes a call at one address.
        of_group: makes a BalancedCall.
    """

    policy: Policy
    kind: GroupKind
    at_address: CallNext
    of_group: CallNext


class Stages:
    """Makes the chains of a Consumer, each once.

    Args:
        functions: finds the function at an address.
        middleware: around each call, the first outermost.
        attempt_middleware: around each attempt, inside of the choice of an instance.
        policy: of calls that have no policy of their own.
        state: what the stages have learned; None for a new one.

    Attributes:
        direct: whether nothing is around a call without a policy of its own.
        default: the chain of a call at an address without a policy of its own.

    Raises: ConfigError if a middleware and the policy both repeat calls; see `Policy.require_one_retry`.

    Threads: any.
    """

    def __init__(
        self,
        functions: FunctionCache,
        middleware: Iterable[Middleware] = (),
        attempt_middleware: Iterable[Middleware] = (),
        policy: Policy | None = None,
        state: PolicyState | None = None,
    ) -> None:
        self._functions = functions
        self.middleware = tuple(middleware)
        self.attempt_middleware = tuple(attempt_middleware)
        self.policy = instance("consumer.policy", policy, Policy, optional=True)
        self._send = sender(functions)
        self.state = PolicyState(FallbackCalls(functions, self._send)) if state is None else state
        self._lock = new_lock()  # guards the table of chains
        self._chains: dict[int, PolicyChains] = {}  # by the id of the policy, which the chains keep alive
        self._kinds: dict[Hashable, GroupKind] = {}
        self._next_kind = number_source(0)
        self._no_policy = Policy()
        self._default_policy = self._no_policy if policy is None else policy
        self.direct = not self.middleware and not self.attempt_middleware and policy is None
        self.default = self.of(policy).at_address

    def with_middleware(self, middleware: Iterable[Middleware], *, attempts: bool) -> Stages:
        """Return stages with further middleware around each call, or around each attempt, inside the present ones."""
        outer, inner = self.middleware, self.attempt_middleware
        if attempts:
            inner = (*inner, *middleware)
        else:
            outer = (*outer, *middleware)
        return Stages(self._functions, outer, inner, self.policy, self.state)

    def close(self) -> None:
        """Close the middleware, and end the threads of the stages."""
        self.state.close()
        close_middleware((*self.middleware, *self.attempt_middleware))

    def of(self, policy: Policy | None) -> PolicyChains:
        """Return the chains of a policy; None for that of the Consumer. Raises: ConfigError."""
        chosen = self._default_policy if policy is None else policy
        found = self._chains.get(id(chosen))
        if found is not None:
            return found
        made = self._make(instance("policy", chosen, Policy))
        with self._lock:
            if len(self._chains) >= _MAX_POLICIES:
                self._chains.clear()
                self._kinds.clear()
            self._chains[id(chosen)] = made
        return made

    def _make(self, policy: Policy) -> PolicyChains:
        policy.require_one_retry((*self.middleware, *self.attempt_middleware))
        around = policy.call_stages(self.state)
        inside = policy.attempt_stages(self.state, self.attempt_middleware)
        attempt = at_address = build_chain(inside, self._send)
        if policy is self._no_policy:  # a stage of its own would cost a frame in each call
            at_address = build_chain(inside, sender(self._functions, WITHOUT_POLICY))
        balanced = FailOver(attempt, self._functions.get)
        return PolicyChains(
            policy,
            self._kind_of(policy),
            build_chain((*self.middleware, *self._explained(policy), *around), at_address),
            build_chain((*self.middleware, self._concluded, *around), balanced),
        )

    def _kind_of(self, policy: Policy) -> GroupKind:
        key = (policy.balance, policy.transports)
        found = self._kinds.get(key)
        if found is None:
            made = GroupKind(self._next_kind(), Balancing.of(policy.balance), policy.transports)
            found = self._kinds.setdefault(key, made)
        return found

    def _explained(self, policy: Policy) -> tuple[Middleware, ...]:
        """Return a stage that adds the policy in short to the errors of calls at one address; none for no policy."""
        if policy is self._no_policy:
            return ()

        def explained(call: Call, call_next: CallNext) -> Any:
            try:
                return call_next(call)
            except PortalError as error:
                error.with_context(explain=self._summary(policy, call))
                raise

        return (explained,)

    def _summary(self, policy: Policy, call: Call) -> str:
        names = [type(one).__name__ for one in (*policy.call_stages(self.state), *policy.attempt_stages(self.state))]
        retry = None if policy.retry is None else self.state.find(policy.retry)
        tokens = f"; {retry.tokens_of(call).stats()['tokens']:.0f} tokens left" if isinstance(retry, Retry) else ""
        return f"one address, stages {' > '.join([*names, 'send'])}{tokens}"

    def _concluded(self, call: Call, call_next: Callable[[Call], Any]) -> Any:
        """Turn the error of the last attempt into the error of the call, and remember the schema."""
        balanced = cast(BalancedCall, call)
        try:
            result = call_next(call)
        except PortalError as error:
            if not concerns_group(balanced, error):
                raise
            raise group_error(balanced, error) from error
        balanced.instances.remember(call.function)
        return result
