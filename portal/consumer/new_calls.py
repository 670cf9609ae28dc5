"""Calls of a Consumer: CallFactory makes them with their deadlines, and `call_and_load` one with a typed result."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from ..address import Address
from ..calls.deadlines import expired_error
from ..calls.middleware import Call, CallNext
from ..context import CallContext
from ..function import Function
from ..function.returns import load_result
from ..resilience.policy import Policy
from ..schema.codecs.files import FileTable, files_of_call
from .balanced_call import BalancedCall
from .function_cache import FunctionCache
from .group import InstanceGroup
from .stages import PolicyChains
from .targets import GroupTable, Target

__all__ = ["CallFactory", "call_and_load"]

Params = Mapping[str, Any] | None


class CallFactory:
    """Makes calls.

    Args:
        functions: finds the function at an address.
        groups: the instances of names and of lists of addresses.
        timeout: seconds for a remote call without a timeout and without a policy that has one; None for no limit.

    Threads: any.
    """

    def __init__(self, functions: FunctionCache, groups: GroupTable, timeout: float | None) -> None:
        self._functions = functions
        self._groups = groups
        self._timeout = timeout

    def at(
        self,
        address: Address | str,
        text: str,
        params: Params,
        timeout: float | None,
        context: CallContext | None,
        policy: Policy | None,
        idempotency_key: str | None = None,
    ) -> Call:
        """Return a call of the function at an address, of which `text` is the text.

        Raises: as `FunctionCache.find`; CallTimeout if the deadline of the running call has passed.
        """
        function, is_remote = self._functions.find(address, text)
        nested = self._context(timeout, context, policy, idempotency_key, function, is_remote)
        return Call(function, {} if params is None else params, nested, function.address)

    def of_target(
        self,
        target: Target,
        chains: PolicyChains,
        params: Params,
        timeout: float | None,
        context: CallContext | None,
        idempotency_key: str | None = None,
        *,
        streaming: bool = False,
    ) -> BalancedCall:
        """Return a call that any instance of a target may take. Raises: as `GroupTable.get`; CallTimeout as `at`."""
        group = self._groups.find(target, chains.kind)
        if group is None:
            group, timeout = self._resolve(target, chains, timeout, context)
        function = group.function
        assert function is not None, "GroupTable gives each group a function"
        nested = self._context(timeout, context, chains.policy, idempotency_key, function, group.is_remote)
        return BalancedCall(function, {} if params is None else params, nested, group, streaming)

    def _resolve(
        self, target: Target, chains: PolicyChains, timeout: float | None, context: CallContext | None
    ) -> tuple[InstanceGroup, float | None]:
        """Make the group of a target within the timeout of a call. Return it, and the seconds that are left for it."""
        given = chains.policy.timeout if timeout is None else timeout
        begun = monotonic()
        with CallContext.for_call(self._timeout if given is None else given, context).active():
            group = self._groups.get(target, chains.kind)
        if given is None and group.is_remote:
            given = self._timeout
        return group, None if given is None else given - (monotonic() - begun)

    def _context(
        self,
        timeout: float | None,
        context: CallContext | None,
        policy: Policy | None,
        idempotency_key: str | None,
        function: Function[..., Any],
        is_remote: bool,
    ) -> CallContext:
        if timeout is None:
            timeout = None if policy is None else policy.timeout
            if timeout is None and is_remote:
                timeout = self._timeout
        nested = CallContext.for_call(timeout, context)
        if idempotency_key is not None:
            nested.idempotency_key = idempotency_key
        deadline = nested.deadline
        if deadline is not None and monotonic() >= deadline:
            raise expired_error(nested, function.name)
        return nested


def call_and_load(chain: CallNext, call: Call, returns: Any) -> Any:
    """Make a call, and return its result as an instance of `returns`. Files need no base64 on their way."""
    with files_of_call(FileTable(call.context)):
        return load_result(chain(call), returns, call.function.name)
