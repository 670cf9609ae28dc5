"""ClusterConnection: one client of a Dask scheduler, for all calls of this process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from ..context import CallContext
from ..errors import ConfigError, PortalError, RegistryError, TransportError
from ..processes.futures import wait_for_job
from ..processes.jobs import Job
from .chunk import ChunkResult, run_chunk

__all__ = ["ClusterConnection"]

_CONNECT = 10.0  # seconds to connect, unless a call has less
_ROOT = "portal-functions"  # of the scheduler's metadata


class ClusterConnection:
    """Submits chunks of calls to a scheduler, and keeps what is published there. It connects at its first use.

    Args:
        scheduler: "host:port", or a `distributed.Client`, which is not closed here.

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
        if not given and not (isinstance(scheduler, str) and scheduler):
            raise ConfigError.invalid("dask.scheduler", scheduler, '"host:port" or a distributed.Client')
        self._given = scheduler if given else None
        address = str(scheduler.scheduler.address) if given else scheduler
        self.authority: str = address.rpartition("://")[2]
        self._url = address if "://" in address else f"tcp://{address}"
        self._lock = new_lock()  # guards the attribute below
        self._client: Any = None
        self._closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Connect anew; a child process calls this by itself."""
        self._client = None

    def client(self, timeout: float = _CONNECT) -> Any:
        """Return the connected client.

        Raises: TransportError (not_sent) if the scheduler cannot be reached.
        """
        if self._closed:
            raise PortalError("the connection to the cluster is closed", delivery="not_sent")
        client = self._given or self._client
        if client is not None and client.status in ("running", "connecting"):
            return client
        if self._given is not None:
            raise TransportError("the Dask client that was given is closed", delivery="not_sent")
        try:
            made = self._distributed.Client(
                self._url, timeout=max(0.1, timeout), name="portal", set_as_default=False, direct_to_workers=False
            )
            made.register_plugin(import_module(".once", __package__).OnceOnly())
        except Exception as error:  # OSError, TimeoutError, or what a scheduler of another version sends
            message = f"the Dask scheduler at {self.authority} cannot be reached: {type(error).__name__}: {error}"
            raise TransportError(message, delivery="not_sent", cause=error) from error
        with self._lock:
            if self._client is None or self._client.status not in ("running", "connecting"):
                self._client, made = made, None
            client = self._client
        if made is not None:
            made.close()
        return client

    # publishing

    def publish(self, path: str, entry: Mapping[str, Any] | None) -> None:
        """Keep what is published at a path in the scheduler until that ends. None withdraws it.

        Raises: TransportError.
        """
        self._ask(lambda client: client.set_metadata([_ROOT, path], entry))

    def published(self, path: str) -> dict[str, Any]:
        """Return what is published at a path. Raises: RegistryError (not_found); TransportError."""
        entry = self._ask(lambda client: client.get_metadata([_ROOT, path], default=None))
        if entry is None:
            raise RegistryError(f"no function is published at dask://{self.authority}/{path}", name=path)
        return dict(entry)

    def list_paths(self) -> dict[str, dict[str, Any]]:
        """Return all that is published by path. Raises: TransportError."""
        found = self._ask(lambda client: client.get_metadata([_ROOT], default={}))
        return {path: dict(entry) for path, entry in (found or {}).items() if entry is not None}

    def _ask(self, question: Any) -> Any:
        try:
            return question(self.client())
        except PortalError:
            raise
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
            executor = client.get_executor(pure=False)
            found: Future[ChunkResult] = executor.submit(run_chunk, data, list(calls), dict(facts), key=key)
            return found
        except Exception as error:  # what cannot be pickled, or a client that was closed meanwhile
            message = f"the call of {name} cannot be sent to the cluster: {type(error).__name__}: {error}"
            raise TransportError(message, delivery="not_sent", cause=error) from error

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
        threads: dict[str, int] = self._ask(lambda client: client.nthreads())
        return max(1, sum(threads.values()))

    def close(self) -> None:
        """Close the client that was made here. May be called twice."""
        with self._lock:
            client, self._client = self._client, None
            self._closed = True
        if client is not None:
            client.close()
