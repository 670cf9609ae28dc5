"""DaskResolver: find the functions at dask:// addresses, and call them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.settings import count, positive_seconds
from ..address import Address
from ..context import CallContext
from ..errors import AddressError, PortalError, ProtocolError, RegistryError
from ..function import ResolvedFunction
from ..portal import Resolver
from ..schema import FunctionSchema
from .connection import ClusterConnection
from .function import ClusterFunction, MapCalls
from .mapping import Progress
from .scheduler_address import require_port
from .security import security_of

__all__ = ["DaskResolver"]

_CHECK_TIMEOUT = 1.0  # seconds for a response, until a function that is known is called as it was
_MAX_AGE = 2.0  # seconds after which the scheduler is asked again
_CHUNKS_PER_THREAD = 2  # chunks in flight for each thread of the cluster


class _Known:
    """A function that the scheduler had.

    Threads: any.
    """

    def __init__(self, function: ClusterFunction) -> None:
        self.function = function
        self._asked_at = monotonic()

    def is_old(self) -> bool:
        """Return whether the caller must ask the scheduler again. Other callers need not at the same time."""
        now = monotonic()
        if now - self._asked_at < _MAX_AGE:
            return False
        self._asked_at = now
        return True


class DaskResolver(Resolver):
    """Resolve dask:// addresses.

    A function that was found is kept. A call two seconds later asks the scheduler again, so that a function that was
    removed or replaced is not called any more. While the scheduler does not respond, or portals publish again after its
    restart, the last known function is called.

    Args:
        client: a `distributed.Client`, for its own scheduler; other schedulers are connected to by their addresses.
        timeout: seconds for a call without a deadline; None for no limit.
        security: a `distributed.Security` for the other schedulers, which are then called with TLS; None for Dask's own
            configuration.

    Attributes:
        timeout: seconds for a call without a deadline, or None.

    Raises: ConfigError for a wrong setting.

    Threads: any. Fork: a child connects anew.
    """

    schemes = ("dask",)

    def __init__(self, client: Any = None, *, timeout: float | None = None, security: Any = None) -> None:
        self._security = None if security is None else security_of(security)
        self.timeout = positive_seconds("dask.timeout", timeout, optional=True)
        self._lock = new_lock()  # guards adding to the tables below
        self._connections: dict[str, ClusterConnection] = {}
        self._found: dict[Address, _Known] = {}
        if client is not None:
            self.adopt(ClusterConnection(client))

    def adopt(self, connection: ClusterConnection) -> None:
        """Use a connection for the addresses of its scheduler, and close it with the others."""
        with self._lock:
            self._connections[connection.authority] = connection

    def connection(self, authority: str) -> ClusterConnection:
        """Return the connection to a scheduler; it connects at its first use."""
        with self._lock:
            if authority not in self._connections:
                self._connections[authority] = ClusterConnection(authority, security=self._security)
            return self._connections[authority]

    def resolve_function(self, address: Address | str) -> ClusterFunction:
        """Return the Function at an address.

        Raises: AddressError; RegistryError (not_found); TransportError if the scheduler cannot be reached.
        """
        target = _dask_address(address)
        known = self._found.get(target)
        if known is None:
            known = self._found[target] = _Known(self._ask(target, None))
        elif known.is_old():
            self._check_again(target, known)
        return known.function

    def _check_again(self, target: Address, known: _Known) -> None:
        """Ask the scheduler for a function that is known. If the scheduler does not respond, the function stays."""
        try:
            with CallContext.for_call(_CHECK_TIMEOUT).active():
                known.function = self._ask(target, known.function)
        except RegistryError:
            self._found.pop(target, None)
            raise
        except PortalError:
            return

    def _ask(self, target: Address, known: ClusterFunction | None) -> ClusterFunction:
        """Return the function at an address, which is `known` if nothing has changed."""
        connection, path = self.connection(target.authority), "/".join(target.segments)
        entry, is_filling = connection.find(path)
        if entry is None:
            if known is not None and is_filling:  # the scheduler has restarted, and portals publish again
                return known
            raise RegistryError(f"no function is published at {target}", name=path, address=target)
        data, schema = entry["data"], FunctionSchema.from_dict(entry["schema"])
        if known is not None and (known.data, known.schema) == (data, schema):
            return known
        return ClusterFunction(self, connection, data, schema=schema, address=target, timeout=self.timeout)

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what is published at a scheduler."""
        target = _dask_address(address)
        rows = []
        for path, entry in sorted(self.connection(target.authority).list_paths().items()):
            if path.rpartition("/")[2] == entry["schema"]["fingerprint"]:  # once, and not under the short path as well
                where = f"dask://{target.authority}/{path}"
                rows.append({"name": entry["name"], "address": where, "version": entry["schema"]["version"]})
        return {"functions": rows, "services": []}

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call: JSON data in, JSON data out. Parameters are validated before they are sent."""
        return self._current(_cluster_function(function), context).call_on_cluster(params, context)

    def _current(self, function: ClusterFunction, context: CallContext) -> ClusterFunction:
        """Return what is published at the address of a function now. Its schema is updated for the next call."""
        assert function.address is not None
        with context.active():
            found = self.resolve_function(function.address)
        if found.schema != function.schema:
            function.schema = found.schema
            for codec in ("parameters", "output"):
                function.__dict__.pop(codec, None)
        return found

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Reject the call: no stream is published on a cluster."""
        raise ProtocolError(f"{function.name} is not a stream; call it", status=406, address=function.address)

    def map_at(
        self,
        address: Address | str,
        params: Iterable[Mapping[str, Any]],
        *,
        chunk: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> Iterator[Any]:
        """Return the results for each of `params`, in order, in far fewer tasks than calls.

        Args:
            chunk: the most calls in one task; None begins with one and grows until a task takes about a quarter of a
                second. The parameters of a task have at most 4 MiB; a call with more goes alone.
            timeout: seconds for all calls; without it, each call has the timeout of the resolver. The timeout of the
                function is that of each call in any case.
            return_exceptions: whether an error becomes a result. Otherwise the first one is raised in its place, and
                the chunks still in flight are cancelled.
            progress: gets a Progress after each chunk, in the thread that takes the results.

        Raises: ConfigError; ValidationError for parameters that do not fit; what the calls raise.
        """
        count("map.chunk", chunk, optional=True)
        context = CallContext.for_call(positive_seconds("timeout", timeout, optional=True))
        with context.active():
            function = self.resolve_function(address)
            chunks = _CHUNKS_PER_THREAD * function.connection.workers()
        calls = MapCalls(function, lambda: context, timeout=self.timeout)
        return calls.results(params, return_exceptions=return_exceptions, chunks=chunks, size=chunk, progress=progress)

    def map_in_chunks(
        self,
        address: Address | str,
        params: Iterable[Mapping[str, Any]],
        *,
        max_in_flight: int,
        timeout: float | None,
        return_exceptions: bool,
    ) -> Iterator[Any]:
        """Return the results for each of `params`, in order; `Consumer.map_at` calls this.

        Args:
            max_in_flight: tasks at a time.
            timeout: seconds for each task.

        Raises: as `map_at`.
        """
        with CallContext.for_call(timeout).active():
            function = self.resolve_function(address)
            chunks = min(max_in_flight, _CHUNKS_PER_THREAD * function.connection.workers())
        calls = MapCalls(function, lambda: CallContext.for_call(timeout), timeout=self.timeout)
        return calls.results(params, return_exceptions=return_exceptions, chunks=chunks)

    def close(self) -> None:
        """Close the connections that were made here. May be called twice."""
        with self._lock:
            connections, self._connections = self._connections, {}
            self._found.clear()
        for connection in connections.values():
            connection.close()


def _cluster_function(function: ResolvedFunction) -> ClusterFunction:
    assert isinstance(function, ClusterFunction)
    return function


def _dask_address(address: Address | str) -> Address:
    target = Address.of(address)
    if target.scheme != "dask":
        message = f"the scheme of {target} must be dask, got {target.scheme}"
        raise AddressError(message, position=0, reason="wrong scheme", address=target)
    require_port(target)
    return target
