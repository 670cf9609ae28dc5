"""DaskPortal: publish functions on a Dask cluster, at `dask://scheduler:8786/NAME/ID`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from .._internal.executor import WorkerPool
from ..address import Address
from ..catalogue import UniqueIds
from ..context import CallContext
from ..function import Function, ResolvedFunction
from ..portal import Portal
from .connection import ClusterConnection
from .mapping import Progress
from .packing import Packed, pack_function
from .resolver import DaskResolver

__all__ = ["DaskPortal"]

_SUBMITTED = 256  # calls of `submit_at` that wait for a thread
_THREADS = 32  # that wait for calls of `submit_at`


class DaskPortal(Portal):
    """Publish functions on a Dask cluster, and call those of others there.

    The functions run on the workers of the cluster. From `start()` or `with` on, the scheduler knows what is published,
    and any Consumer that reaches the scheduler can call it. The scheduler forgets it when it ends; `start()` again, or
    `publish_again()`, publishes it anew.

    Args:
        scheduler: "host:port", or a `distributed.Client`, which is not closed with the portal.
        name: the portal's own name.
        unique_ids: "fingerprint" or "random" last segments of addresses.
        timeout: seconds for a call without a deadline; None for no limit.

    Raises: ConfigError for a wrong setting, or if the package distributed is not installed.

    Threads: any. Fork: a child connects anew.
    """

    schemes = ("dask",)

    def __init__(
        self,
        scheduler: Any,
        *,
        name: str | None = None,
        unique_ids: UniqueIds = "fingerprint",
        timeout: float | None = None,
    ) -> None:
        super().__init__(unique_ids=unique_ids, name=name)
        self._resolver = DaskResolver(timeout=timeout)
        self._connection = ClusterConnection(scheduler)
        self._resolver.adopt(self._connection)
        self._packed: dict[str, tuple[Function, Packed]] = {}
        self._serves = False
        self._pool = WorkerPool(_THREADS, _SUBMITTED, name="portal-dask")

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.parse("/".join([f"dask://{self._connection.authority}", *path]))

    # publishing

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish a function; see `Portal.apply`.

        Raises: ConfigError for a stream, and for a function that the workers cannot load. TransportError if the portal
            serves and the scheduler cannot be reached; then the function is not published.
        """
        made = Function.of(function)
        packed = pack_function(made)
        address = super().apply(made)
        path = "/".join(address.segments)
        self._packed[path] = (made, packed)
        if self._serves:
            try:
                self._publish(path)
            except BaseException:
                super().remove(address)
                del self._packed[path]
                raise
        return address

    def _publish(self, path: str) -> None:
        function, (_, data) = self._packed[path]
        name = path.rpartition("/")[0]
        entry = {"name": name, "schema": function.schema.to_dict(), "data": data}
        self._connection.publish(path, entry)
        self._connection.publish(name, entry)  # without the last segment

    def publish_again(self) -> None:
        """Tell the scheduler what is published, as after its restart. Raises: TransportError."""
        for path in list(self._packed):
            self._publish(path)

    def remove(self, address: Address | str) -> None:
        """Withdraw a function; see `Portal.remove`."""
        target = Address.of(address)
        super().remove(target)
        for path in [path for path in self._packed if (*path.split("/"),)[: len(target.segments)] == target.segments]:
            del self._packed[path]
            if self._serves:
                self._connection.publish(path, None)
                self._connection.publish(path.rpartition("/")[0], None)

    # lifecycle

    def start(self) -> None:
        """Start the services, and tell the scheduler what is published. Raises: TransportError."""
        super().start()
        self.publish_again()
        self._serves = True

    def stop(self, grace: float = 5.0) -> None:
        """Withdraw what is published, and stop the services. Running calls go on."""
        try:
            if self._serves:
                self._serves = False
                for path in self._packed:
                    self._connection.publish(path, None)
                    self._connection.publish(path.rpartition("/")[0], None)
        finally:
            try:
                super().stop(grace)
            finally:
                if self._closed:
                    self._pool.shutdown(wait=False)
                    self._resolver.close()

    @property
    def accepting(self) -> bool:
        """Whether the scheduler knows what is published."""
        return self._serves

    # calling

    def resolve_function(self, address: Address | str) -> ResolvedFunction:
        """Return the Function at an address; see `DaskResolver.resolve_function`."""
        return self._resolver.resolve_function(address)

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """Return what is published at a scheduler."""
        return self._resolver.list_at(address)

    def submit_at(
        self, address: Address | str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Future[Any]:
        """Make a call and return its Future. `cancel()` ends one that waits; see `CallContext.cancel` for others.

        Raises: OverloadedError if too many calls wait.
        """
        function = self.resolve_function(address)
        context = CallContext.for_call(timeout)
        future = self._pool.submit(function.invoke, params or {}, context)
        future.add_done_callback(lambda done: context.cancel() if done.cancelled() else None)
        return future

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
        """Return the results for each of `params`, in order, in few tasks; see `DaskResolver.map_at`."""
        return self._resolver.map_at(
            address, params, chunk=chunk, timeout=timeout, return_exceptions=return_exceptions, progress=progress
        )

    def stats(self) -> dict[str, Any]:
        """Return the number of functions, and of calls of `submit_at` that run or wait."""
        return super().stats() | {"submitted": self._pool.stats()["unfinished"]}
