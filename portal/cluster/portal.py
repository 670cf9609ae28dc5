"""DaskPortal: publish functions on a Dask cluster, at `dask://scheduler:8786/NAME/ID`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import time
from typing import Any, NamedTuple

from .._internal.closing import close_and_log
from .._internal.executor import WorkerPool
from ..address import Address
from ..calls.call_future import submit_call
from ..catalogue import UniqueIds
from ..context import CallContext
from ..directory.registration import Registration, registration_of
from ..errors import TransportError
from ..function import Function, ResolvedFunction
from ..portal import Portal
from ..schema import FunctionSchema
from ..service import Service
from .connection import ClusterConnection
from .mapping import Progress
from .packing import pack_function
from .publication import Publication, Published
from .resolver import DaskResolver

__all__ = ["DaskPortal"]

_MAX_SUBMITTED = 256  # calls of `submit_at` that wait for a thread
_MAX_THREADS = 32  # that wait for calls of `submit_at`


class _Host(NamedTuple):
    host: str


class _Registered:
    """A portal, as a directory registers it: its addresses are those of the scheduler.

    Threads: any.
    """

    def __init__(self, portal: DaskPortal, authority: str) -> None:
        self._portal = portal
        self.base = Address.parse(f"dask://{authority}")
        self.listener = _Host(self.base.host or "")

    def stats(self) -> dict[str, Any]:
        """Return the stats of the portal."""
        return self._portal.stats()

    def functions(self) -> dict[Address, FunctionSchema]:
        """Return the functions of the portal."""
        return self._portal.functions()


class DaskPortal(Portal):
    """Publish functions on a Dask cluster, and call those of others there.

    The functions run on the workers of the cluster. From `start()` or `with` on, the scheduler knows what is published,
    and any Consumer that reaches the scheduler can call it. The scheduler forgets it when it ends. A thread of the
    portal publishes it anew within two seconds after a restart.

    Args:
        scheduler: "host:port", "tcp://host:port", "tls://host:port", or a `distributed.Client`, which is not closed
            with the portal.
        name: the portal's own name.
        unique_ids: "fingerprint" or "random" last segments of addresses.
        timeout: seconds for a call without a deadline; None for no limit.
        security: a `distributed.Security`, with which "host:port" means "tls://host:port"; None for Dask's own
            configuration. A `distributed.Client` has its own.
        directory: where the functions are registered, so that they are called by name: a URL, or a Registration.

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
        security: Any = None,
        directory: str | Registration | None = None,
    ) -> None:
        super().__init__(unique_ids=unique_ids, name=name)
        self._resolver = DaskResolver(timeout=timeout, security=security)
        self._connection = ClusterConnection(scheduler, security=security)
        self._resolver.adopt(self._connection)
        self._publication = Publication(self._connection, self._entries)
        self._registration = registration_of(directory)
        self._registered = _Registered(self, self._connection.authority)
        self._known: dict[str, Mapping[str, Any]] = {}
        self._pool = WorkerPool(_MAX_THREADS, _MAX_SUBMITTED, name="portal-dask")

    def _address_of(self, path: tuple[str, ...]) -> Address:
        return Address.parse("/".join([f"dask://{self._connection.authority}", *path]))

    # publishing

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish a function; see `Portal.apply`.

        Raises: ConfigError for a stream, and for a function that the workers cannot load. TransportError if the portal
            serves and the scheduler cannot be reached; then the function is not published.
        """
        made = Function.of(function)
        pack_function(made)
        address = super().apply(made)
        self._publish_or_undo(lambda: super(DaskPortal, self).remove(address))
        return address

    def apply_service(self, service: Any) -> Address:
        """Publish every function of a service; see `Portal.apply_service`.

        A method is sent with the state that its object has now. Raises: as `apply`.
        """
        for member in Service.of(service).functions.values():
            pack_function(member)
        address = super().apply_service(service)
        self._publish_or_undo(lambda: super(DaskPortal, self).remove(address))
        return address

    def _publish_or_undo(self, undo: Callable[[], object]) -> None:
        try:
            self._publication.update()
        except BaseException:
            undo()
            with suppress(TransportError):  # it is withdrawn when the scheduler responds
                self._publication.update()
            raise

    def _entries(self) -> Published:
        """Return what is published by path; without the last segment it is the newest version."""
        known, found = self._known, {}
        for entry in self._catalogue.entries():
            name, path = entry.name, "/".join(entry.full_path)
            if path not in known:
                _, data = pack_function(entry.function)
                schema = entry.function.schema.to_dict()
                known[path] = {"name": name, "schema": schema, "data": data, "since": time()}
            found[path] = found[name] = known[path]
        self._known = {path: entry for path, entry in known.items() if path in found}
        return found

    def publish_again(self) -> None:
        """Tell the scheduler what is published. The portal does so itself after a restart. Raises: TransportError."""
        self._publication.publish_again()

    def remove(self, address: Address | str) -> None:
        """Withdraw a function or service; see `Portal.remove`.

        Raises: TransportError if the scheduler cannot be reached; then it is withdrawn when the scheduler responds.
        """
        super().remove(address)
        self._publication.update()

    # lifecycle

    def start(self) -> None:
        """Start the services, and tell the scheduler what is published. Raises: TransportError."""
        super().start()
        try:
            self._publication.start()
            if self._registration is not None:
                self._registration.start(self._registered)
        except BaseException:
            with suppress(Exception):  # stop_services has logged it
                super().stop(0.0)
            raise

    def stop(self, grace: float = 5.0) -> None:
        """Withdraw what is published, and stop the services. Running calls go on.

        A scheduler that does not respond is logged.
        """
        if self._registration is not None:
            self._registration.stop()
        self._publication.stop()
        try:
            super().stop(grace)
        finally:
            if self._closed:
                self._pool.shutdown(wait=False)
                if self._registration is not None:
                    close_and_log(self._registration, "the registration of a portal")
                self._resolver.close()

    @property
    def accepting(self) -> bool:
        """Whether the portal publishes at the scheduler."""
        return self._publication.active

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
        """Make a call and return its Future, as `Consumer.submit_at`: `cancel()` also cancels a call that runs.

        Raises: OverloadedError if too many calls wait.
        """
        return submit_call(self._pool.submit, self._call, address, params or {}, timeout)

    def _call(
        self, address: Address | str, params: Mapping[str, Any], timeout: float | None, *, context: CallContext
    ) -> Any:
        limited = context.child(timeout=timeout)
        if limited.deadline is None:
            limited = context.child(timeout=self._resolver.timeout)
        with limited.active():
            return self.resolve_function(address).invoke(params, limited)

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
