"""ClusterConnection: one client of a Dask scheduler, for all calls of this process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.background import run_apart
from ..context import CallContext
from ..errors import ConfigError, PortalError, RegistryError, TransportError
from ..processes.futures import wait_for_job
from ..processes.jobs import Job
from .bridge import future_of
from .chunk import ChunkResult, run_chunk
from .scheduler_address import SchedulerAddress

__all__ = ["ClusterConnection"]

_CONNECT = 10.0  # seconds to connect, unless a call has less
_ROOT, _STATE = "portal-functions", "portal-state"  # of the scheduler's metadata


class ClusterConnection:
    """Submits chunks of calls to a scheduler, and keeps what is published there. It connects at its first use.

    Args:
        scheduler: "host:port", "tcp://host:port", "tls://host:port", or a `distributed.Client`, which is not closed
            here.

    Raises: ConfigError for another value, or if the package distributed is not installed.

    Threads: any. Fork: a child connects anew; a client that was given cannot be used there.
    """

    def __init__(self, scheduler: Any) -> None:
        try:
            self._distributed: Any = import_module("distributed")
        except ImportError:  # pragma: no cover - the tests that need it are skipped
            message, hint = (
                "the package distributed must be installed for dask://",
                "pip install 'portal-functions[dask]'",
            )
            raise ConfigError(message, path="dask", hint=hint) from None
        given = isinstance(scheduler, self._distributed.Client)
        self._given = scheduler if given else None
        address = SchedulerAddress.of_client(scheduler) if given else SchedulerAddress.parse(scheduler)
        self.authority, self._url = address.authority, address.url
        self._lock = new_lock()  # guards `_client` and `_closed`
        self._closed = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Connect anew; called by `__init__`, and in a child process after a fork."""
        self._client: Any = None
        self._prepared: Any = None  # the connection whose scheduler has the plug-in

    def client(self, timeout: float = _CONNECT) -> Any:
        """Return the connected client.

        Raises: TransportError (not_sent) if the scheduler cannot be reached.
        """
        if self._closed:
            raise PortalError("the connection to the cluster is closed", delivery="not_sent")
        client = self._given or self._client
        # A client that connects again would send what it gets meanwhile to a scheduler without the plug-in.
        if client is None or client.status != "running":
            if self._given is not None:
                message = f"the Dask client that was given is not connected: {client.status}"
                raise TransportError(message, delivery="not_sent")
            client = self._connect(timeout)
        link = client.scheduler_comm
        if link is None or link is not self._prepared:
            try:
                client.register_plugin(import_module(".once", __package__).OnceOnly())
            except Exception as error:
                raise self._unreachable(error) from error
            self._prepared = link
        return client

    def _connect(self, timeout: float) -> Any:
        try:
            made = self._distributed.Client(
                self._url, timeout=max(0.1, timeout), name="portal", set_as_default=False, direct_to_workers=False
            )
        except Exception as error:  # OSError, TimeoutError, or what a scheduler of another version sends
            raise self._unreachable(error) from error
        with self._lock:
            found = self._client
            if self._closed or (found is not None and found.status == "running"):
                dropped = made
            else:
                dropped, found = found, made
                self._client = made
        if dropped is not None:
            run_apart("portal-dask-close", dropped.close)
        if found is None:
            raise PortalError("the connection to the cluster is closed", delivery="not_sent")
        return found

    def _unreachable(self, error: Exception) -> TransportError:
        message = f"the Dask scheduler at {self.authority} cannot be reached: {type(error).__name__}: {error}"
        return TransportError(message, delivery="not_sent", cause=error)

    # publishing

    def publish(self, path: str, entry: Mapping[str, Any] | None) -> None:
        """Keep what is published at a path in the scheduler until that ends. None withdraws it.

        Raises: TransportError.
        """
        self._write([_ROOT, path], entry)

    def published(self, path: str) -> dict[str, Any]:
        """Return what is published at a path. Raises: RegistryError (not_found); TransportError."""
        entry = self._read([_ROOT, path])
        if entry is None:
            raise RegistryError(f"no function is published at dask://{self.authority}/{path}", name=path)
        return dict(entry)

    def list_paths(self) -> dict[str, dict[str, Any]]:
        """Return all that is published by path. Raises: TransportError."""
        found = self._read([_ROOT])
        return {path: dict(entry) for path, entry in (found or {}).items() if entry is not None}

    def owner(self, path: str) -> str | None:
        """Return who has published what is at a path now. Raises: TransportError."""
        return (self._read([_ROOT, path]) or {}).get("owner")

    def generation(self, value: str | None = None) -> str | None:
        """Return the generation of what is published, after setting it to `value`; None if there is none.

        Raises: TransportError.
        """
        if value is not None:
            self._write([_STATE, "generation"], value)
            return value
        found: str | None = self._read([_STATE, "generation"])
        return found

    def _write(self, keys: list[str], value: Any) -> None:
        self._ask(lambda client: client.scheduler.set_metadata, keys=keys, value=value)

    def _read(self, keys: list[str]) -> Any:
        return self._ask(lambda client: client.scheduler.get_metadata, keys=keys, default=None)

    def _ask(self, question: Any, **arguments: Any) -> Any:
        """Ask the scheduler, which has a bounded time to respond."""
        client = self.client()
        try:
            return client.sync(question(client), callback_timeout=_CONNECT, **arguments)
        except Exception as error:  # what the scheduler or the network raises
            message = f"the Dask scheduler at {self.authority} does not respond: {type(error).__name__}: {error}"
            raise TransportError(message, delivery="not_sent", cause=error) from error

    # calling

    def submit(
        self, name: str, data: bytes, calls: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], *, idempotent: bool
    ) -> Future[ChunkResult]:
        """Submit a chunk of calls as one task.

        Args:
            idempotent: whether the task may run again after its worker has died.

        Raises: TransportError (not_sent).
        """
        remaining = facts.get("remaining")
        client = self.client(_CONNECT if remaining is None else min(_CONNECT, remaining))
        kind = "portal" if idempotent else "portal-once"
        key = f"{kind}-{name}-{uuid.uuid4().hex}"  # a key of its own, as Dask runs equal calls once otherwise
        try:
            link = self._prepared
            task = client.submit(run_chunk, data, list(calls), dict(facts), key=key, pure=False)
            found: Future[ChunkResult] = future_of(task, client.loop)
        except Exception as error:  # what cannot be pickled, or a client that was closed meanwhile
            message = f"the call of {name} cannot be sent to the cluster: {type(error).__name__}: {error}"
            raise TransportError(message, delivery="not_sent", cause=error) from error
        if client.scheduler_comm is not link and not idempotent:  # another scheduler may have it, without the plug-in
            found.cancel()
            raise TransportError(f"the Dask scheduler at {self.authority} was lost while {name} was sent")
        return found

    def wait(self, name: str, future: Future[ChunkResult], context: CallContext) -> ChunkResult:
        """Return the result of a chunk.

        Raises: CallTimeout at the deadline, CallCancelled, TransportError if workers or the scheduler have died.
        """
        job = Job(name, run_chunk, ())
        running_on = "its thread on the cluster runs on"
        found: ChunkResult = wait_for_job(job, future, context, running_on, tells_start=False)
        return found

    def workers(self) -> int:
        """Return how many threads the workers have now, at least 1."""
        threads: dict[str, int] = self._ask(lambda client: client.scheduler.ncores, workers=None)
        return max(1, sum(threads.values()))

    def close(self) -> None:
        """Close the client that was made here. May be called twice."""
        with self._lock:
            client, self._client = self._client, None
            self._closed = True
        if client is not None:
            client.close()
