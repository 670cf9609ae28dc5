"""FunctionCache: the functions that a Consumer has resolved."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from time import monotonic
from typing import NamedTuple

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.json_encoder import encode_json
from ..address import Address
from ..calls.deadlines import uncalled_error
from ..calls.singleflight import SingleFlight
from ..context import CallContext
from ..errors import CallTimeout, PortalError, RegistryError
from ..function import Function
from ..local.portal import LocalFunction
from ..portal import Resolver, topology
from ..registry.portals import resolve_first
from .intercepts import intercepts
from .pending import PendingFunction
from .resolvers import ResolverTable, one_address

__all__ = ["FunctionCache", "LocalFunctions"]

_MAX_ENTRIES = 4096
#: Bytes of JSON of the schemas that are kept. In memory a schema takes about twenty times as much.
_MAX_SCHEMAS = 1024 * 1024
_MISSING_SECONDS = 1.0  # for which a function that a server does not have is not asked for again
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
    size: int  # of its schemas


class _RemoteFunctions(dict[str, _RemoteEntry]):
    """Remote functions by address text, the oldest first. A server decides how large their schemas are.

    Attributes:
        size: that of all schemas.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def keep(self, text: str, entry: _RemoteEntry) -> None:
        """Add a function, and forget the oldest ones beyond the bounds."""
        self.forget(text)
        while self and (len(self) >= _MAX_ENTRIES or self.size + entry.size > _MAX_SCHEMAS):
            self.forget(next(iter(self)))
        self[text] = entry
        self.size += entry.size

    def forget(self, text: str) -> bool:
        """Forget a function. Return whether it was kept."""
        entry = self.pop(text, None)
        self.size -= 0 if entry is None else entry.size
        return entry is not None


class _Missing(NamedTuple):
    error: RegistryError
    expires_at: float
    version: int  # of `intercepts`
    topology: int  # its version: after a change in this process the function may be there

    def holds(self, version: int) -> bool:
        """Return whether nothing has changed since, as far as this process knows."""
        return self.expires_at > monotonic() and self.version == version and self.topology == topology.version

    def again(self, context: CallContext) -> RegistryError:
        """Return the error for another call."""
        error = copy(self.error)
        error.context = {**error.context, "request_id": context.request_id}
        return error


class FunctionCache:
    """Resolve addresses for calls, and keep what they led to.

    A function of this process is kept until a portal of this process changes. A remote function is kept for a minute,
    and that a server has no function at an address for a second. Threads that want the same function at the same time
    send one request for it.

    Args:
        resolvers: resolve what is not cached.

    Attributes:
        local: the cached functions of this process. It is replaced as a whole, so that a reader needs no lock.

    Threads: any. Fork: the cache of a child process is empty at first.
    """

    def __init__(self, resolvers: ResolverTable) -> None:
        self._resolvers = resolvers
        self._flights: SingleFlight[tuple[str, int]] = SingleFlight()
        self._lock = new_lock()  # guards adding to the tables, and replacing the local one by another version
        self.clear()
        renew_after_fork(self)

    def clear(self) -> None:
        """Forget every function, including those that other threads are resolving now."""
        self.local = LocalFunctions(-1)
        self._remote = _RemoteFunctions()
        self._missing: dict[str, _Missing] = {}

    def after_fork(self) -> None:
        """Start empty; a child process calls this by itself."""
        self.clear()

    def forget(self, address: str) -> None:
        """Forget the remote function at an address, as nothing may be there any more.

        Args:
            address: the address as text, in normal form or as the caller wrote it.
        """
        with self._lock:
            if not self._remote.forget(address):
                for text, entry in list(self._remote.items()):
                    if str(entry.function.address) == address:
                        self._remote.forget(text)

    def get(self, text: str) -> Function:
        """Return the function at an address. Raises: as `find`."""
        local = self.local
        if local.version == topology.version:
            function = local.get(text)
            if function is not None:
                return function
        return self.find(text, text)[0]

    def fetch(self, text: str, context: CallContext) -> Function:
        """Return the function at an address, with its schema, within the deadline of a context. Raises: as a call."""
        function = self.get(text)
        return function.fetch(context) if isinstance(function, PendingFunction) else function

    def is_remote(self, address: Address) -> bool:
        """Return whether the functions at an address are in another process, as far as that is known."""
        try:
            return not self._resolvers.resolvers_for(address)[0].in_process
        except PortalError:
            return True

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
        target = one_address(address)
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
        entries: _RemoteFunctions,
        version: int,
        context: CallContext,
    ) -> Function:
        """Resolve a remote function within the deadline of a call; once for all threads that want it now."""
        missing = self._missing.get(text)
        if missing is not None and missing.holds(version):
            raise missing.again(context)
        flight, lead = self._flights.join((text, version))
        if lead is None and not flight.is_led_here():
            try:
                flight.wait(context, target.name)
            except CallTimeout:
                raise uncalled_error(context, target.name, "another call was still fetching its schema") from None
            is_shared, _ = flight.outcome(context)  # raises what the other thread got
            entry = entries.get(text)
            if is_shared and entry is not None and entry.version == version:
                return entry.function
        changes = topology.version
        try:
            with context.active():
                function = resolve_first(resolvers, target)
            size = len(encode_json([function.schema.input, function.schema.output]))
            with self._lock:
                entries.keep(text, _RemoteEntry(function, monotonic() + _SCHEMA_SECONDS, version, size))
        except BaseException as error:
            if isinstance(error, RegistryError) and error.kind == "not_found":
                with self._lock:
                    entries.forget(text)
                    if len(self._missing) >= _MAX_ENTRIES:
                        self._missing.clear()
                    # A copy: the error refers by its traceback to the frames of the call.
                    self._missing[text] = _Missing(copy(error), monotonic() + _MISSING_SECONDS, version, changes)
            if lead is not None:
                flight.fail(error)
                del flight, lead  # they keep the error, whose traceback has this frame
            raise
        if lead is not None:
            flight.finish(None)
        return function
