"""Explain: what the next call to an address or a name would do, and why. It makes no call and takes no turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..address import Address
from ..calls.middleware import Call
from ..context import CallContext
from ..directory.instance import Instance
from ..errors import PortalError
from ..resilience.breaker import Breaker
from ..resilience.keyed import authority_of
from ..resilience.policy import Policy, PolicyState
from ..resilience.retry import Retry
from .function_cache import FunctionCache
from .group import CandidateState, InstanceGroup
from .pending import PendingFunction
from .stages import PolicyChains, Stages
from .targets import GroupTable, Target

__all__ = ["ExplainedInstance", "Explainer", "Explanation"]


@dataclass(frozen=True, slots=True)
class ExplainedInstance:
    """One instance, and what is known of it.

    Attributes:
        state: its load and health.
        circuit: the state of its circuit: "closed", "open" or "half_open"; None without a breaker.
        schema: "known" if the next call need not fetch it, "not fetched" or the reason why it cannot be had.
        last_failure: what the last failed call of its circuit said, or None.
    """

    state: CandidateState
    circuit: str | None
    schema: str
    last_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The path that the next call would take, and the reason.

    Attributes:
        target: what would be called.
        instances: each instance.
        chosen: the address that the next call goes to; None if there is none, or if chance decides.
        why: the reason, in one sentence.
        stages: the stages of the call in their order, the outermost first.
        timeout: seconds for the call, or None.
        tokens: how many attempts may fail before the budget allows no other; see `RetryBudget`.
        panic: whether ejections are ignored because too few instances are healthy.
        problem: why the directory's list may be out of date, or None.
    """

    target: str
    instances: tuple[ExplainedInstance, ...]
    chosen: str | None
    why: str
    stages: tuple[str, ...]
    timeout: float | None
    tokens: float | None
    panic: bool
    problem: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.target}: {self.why}"
        yield f"stages: {' > '.join(self.stages)}"
        timeout = "no timeout" if self.timeout is None else f"timeout {self.timeout:g} s"
        budget = "" if self.tokens is None else f", {self.tokens:.0f} tokens for repeated attempts"
        yield f"{timeout}{budget}"
        if self.panic:
            yield "panic: too few instances are healthy, so ejections are ignored"
        if self.problem:
            yield f"the directory may be out of date: {self.problem}"
        for one in self.instances:
            state = one.state
            mark = ">" if state.address == self.chosen else "-"
            latency = "" if state.latency is None else f", {1000 * state.latency:.1f} ms"
            failure = "" if one.last_failure is None else f" (last failure: {one.last_failure})"
            circuit = "" if one.circuit is None else f", circuit {one.circuit}{failure}"
            zone = "" if state.zone is None else f", zone {state.zone}"
            yield (
                f"{mark} {state.address}: {state.reason or 'ready'}{circuit}; weight {state.effective_weight:g}{zone}, "
                f"{state.outstanding} in progress, {state.failures} of {state.calls} failed{latency}; "
                f"schema {one.schema}"
            )


class Explainer:
    """Explains the calls of a Consumer.

    Args:
        functions: the functions that the Consumer knows.
        groups: its groups.
        timeout: seconds for a remote call without a timeout.

    Threads: any.
    """

    def __init__(self, functions: FunctionCache, groups: GroupTable, timeout: float | None) -> None:
        self._functions = functions
        self._groups = groups
        self._timeout = timeout

    def explain(self, target: Target, stages: Stages, policy: Policy | None) -> Explanation:
        """Return what the next call would do. Raises: as `GroupTable.get`."""
        chains = stages.of(policy)
        is_address = isinstance(target, Address | Instance) or (isinstance(target, str) and "://" in target)
        with CallContext.for_call(self._timeout).active():  # which bounds the wait for the first list of a directory
            group = self._groups.peek([target] if is_address else target, chains.kind)  # type: ignore[list-item]
        assert group.function is not None
        call = Call(group.function, {}, CallContext())
        seen = group.preview(call)
        timeout = chains.policy.timeout
        if timeout is None and group.is_remote:
            timeout = self._timeout
        breaker = None if chains.policy.breaker is None else stages.state.find(chains.policy.breaker)
        return Explanation(
            target=group.name if not is_address else str(target),
            instances=tuple(
                ExplainedInstance(one, state, self._schema(one.address), failure)
                for one in seen.candidates
                for state, failure in (_circuit(chains.policy, breaker, group, one),)
            ),
            chosen=seen.chosen,
            why=_why(group, seen.chosen, seen.choices),
            stages=_stages(stages, chains, is_address=is_address),
            timeout=timeout,
            tokens=None if is_address and chains.policy.retry is None else _tokens(stages, chains, group, call),
            panic=seen.panic,
            problem=self._groups.problem if isinstance(target, str) and not is_address else None,
        )

    def _schema(self, address: str) -> str:
        try:
            function = self._functions.get(address)
        except PortalError as error:
            return f"cannot be had: {error.message}"
        return "not fetched" if isinstance(function, PendingFunction) else "known"


def _why(group: InstanceGroup, chosen: str | None, choices: int) -> str:
    total = len(group.candidates)
    if not choices:
        return "there is no instance to call"
    if total == 1:
        return f"the call goes to {chosen}, the only instance"
    first = f"{group.balancing.picker_name} picks among {choices} of {total} instances"
    return f"{first}; chance decides" if chosen is None else f"{first}; next is {chosen}"


def _circuit(
    policy: Policy, breaker: object, group: InstanceGroup, one: CandidateState
) -> tuple[str | None, str | None]:
    """Return the state of an instance's circuit, and its last failure."""
    if policy.breaker is None:
        return None, None
    assert group.function is not None
    address = Address.parse(one.address)
    key = authority_of(Call(group.function, {}, CallContext(), address))
    found = breaker.states().get(key) if isinstance(breaker, Breaker) else None
    return ("closed", None) if found is None else (found.state, found.last_failure)


def _tokens(stages: Stages, chains: PolicyChains, group: InstanceGroup, call: Call) -> float:
    left = [group.tokens.stats()["tokens"]]
    retry = None if chains.policy.retry is None else stages.state.find(chains.policy.retry)
    if isinstance(retry, Retry):
        left += [one["tokens"] for key, one in retry.stats().items() if key == authority_of(call)]
    return min(left)


def _stages(stages: Stages, chains: PolicyChains, *, is_address: bool) -> tuple[str, ...]:
    unused = PolicyState()  # makes stages that no call uses
    around = [*stages.middleware, *chains.policy.call_stages(unused)]
    inside = chains.policy.attempt_stages(unused, stages.attempt_middleware)
    pick = [] if is_address else [f"pick ({chains.kind.balancing.picker_name})"]
    return (*map(_name, around), *pick, *map(_name, inside), "send")


def _name(stage: object) -> str:
    return getattr(stage, "__name__", None) or type(stage).__name__
