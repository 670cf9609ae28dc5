"""FunctionCache: the functions that a Consumer has resolved."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from .._internal.at_fork import new_lock, renew_after_fork
from ..address import Address
from ..context import CallContext
from ..function import Function
from ..local.portal import LocalFunction
from ..portal import Resolver, topology
from ..registry.portals import resolve_first
from .intercepts import intercepts
from .pending import PendingFunction
from .resolvers import ResolverTable

__all__ = ["FunctionCache", "LocalFunctions"]

_MAX_ENTRIES = 1024
_SCHEMA_SECONDS = 60.0  # a cached schema older than this is fetched again, as its server may be deployed anew


class LocalFunctions(dict[str, LocalFunction]):
    """Functions of this process by address text.

    Attributes:
        version: the `topology.version` at which they were resolved. At any other version they must not be used.
    """

    __slots__ = ("version",)

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version


class _RemoteEntry(NamedTuple):
    function: Function
    expires_at: float
    version: int  # of `intercepts` from before it was resolved


class FunctionCache:
    """Resolve addresses for calls, and keep what they led to.

    A function of this process is kept until a portal of this process changes. A remote function is kept for a minute.

    Args:
        resolvers: resolve what is not cached.

    Attributes:
        local: the cached functions of this process. It is replaced as a whole, so that a reader needs no lock.

    Threads: any. Fork: the cache of a child process is empty at first.
    """

    def __init__(self, resolvers: ResolverTable) -> None:
        self._resolvers = resolvers
        self._lock = new_lock()  # guards adding to the tables, and replacing the local one by another version
        self.clear()
        renew_after_fork(self)

    def clear(self) -> None:
        """Forget every function. What other threads are resolving is not kept either."""
        self.local = LocalFunctions(-1)
        self._remote: dict[str, _RemoteEntry] = {}

    def after_fork(self) -> None:
        """Start empty; a child process calls this by itself."""
        self.clear()

    def forget(self, address: str) -> None:
        """Forget the remote function at an address, as nothing may be there any more."""
        self._remote.pop(address, None)

    def find(self, address: Address | str, text: str) -> tuple[Function, bool]:
        """Return the function at an address, and whether it is remote.

        A remote function that is not cached is a PendingFunction: the call itself fetches the schema, inside of the
        middleware.

        Args:
            text: the address as text.

        Raises: AddressError; for an address of this process RegistryError; as `ResolverTable.resolvers_for`.
        """
        # `clear` replaces both tables. So what is found by resolvers from before it goes into a table that is dropped.
        local, entries = self.local, self._remote
        entry, version = entries.get(text), intercepts.version
        if entry is not None and entry.expires_at > monotonic() and entry.version == version:
            return entry.function, True
        target = Address.of(address)
        resolvers = self._resolvers.resolvers_for(target)
        if resolvers[0].in_process:
            return self._find_local(target, text, resolvers, local), False
        schema = None if entry is None else entry.function.schema
        return PendingFunction(target, partial(self._fetch, target, text, resolvers, entries, version), schema), True

    def _find_local(self, target: Address, text: str, resolvers: Sequence[Resolver], local: LocalFunctions) -> Function:
        version = topology.version
        function = resolve_first(resolvers, target)
        if isinstance(function, LocalFunction):
            with self._lock:
                if local is self.local:
                    if local.version != version or len(local) >= _MAX_ENTRIES:
                        local = self.local = LocalFunctions(version)
                    local[text] = function
        return function

    def _fetch(
        self,
        target: Address,
        text: str,
        resolvers: Sequence[Resolver],
        entries: dict[str, _RemoteEntry],
        version: int,
        context: CallContext,
    ) -> Function:
        """Resolve a remote function within the deadline of a call."""
        with context.active():
            function = resolve_first(resolvers, target)
        with self._lock:
            if len(entries) >= _MAX_ENTRIES:
                entries.clear()
            entries[text] = _RemoteEntry(function, monotonic() + _SCHEMA_SECONDS, version)
        return function
