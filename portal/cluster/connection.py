"""ClusterConnection: one client of a Dask scheduler, for all calls of this process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from ..calls.deadlines import expired_error
from ..context import CallContext
from ..errors import ConfigError, RegistryError, TransportError
from ..function.remote_call import context_to_dict
from ..processes.futures import wait_for_job
from ..processes.jobs import Job
from .bridge import future_of
from .chunk import ChunkResult, run_chunk
from .link import SchedulerLink
from .scheduler_address import SchedulerAddress

__all__ = ["ClusterConnection"]

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
            distributed: Any = import_module("distributed")
        except ImportError:  # pragma: no cover - the tests that need it are skipped
            message, hint = (
                "the package distributed must be installed for dask://",
                "pip install 'portal-functions[dask]'",
            )
            raise ConfigError(message, path="dask", hint=hint) from None
        given = isinstance(scheduler, distributed.Client)
        address = SchedulerAddress.of_client(scheduler) if given else SchedulerAddress.parse(scheduler)
        self._link = SchedulerLink(address, scheduler if given else None)
        self.authority: str = address.authority

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
        self._link.ask("set_metadata", keys=keys, value=value)

    def _read(self, keys: list[str]) -> Any:
        return self._link.ask("get_metadata", keys=keys, default=None)

    # calling

    def submit(
        self, name: str, data: bytes, calls: Sequence[tuple[Any, ...]], context: CallContext, *, idempotent: bool
    ) -> Future[ChunkResult]:
        """Submit a chunk of calls as one task.

        Args:
            calls: fields of PackedCalls.
            context: of all of them.
            idempotent: whether the task may run again after its worker has died.

        Raises: TransportError, CallTimeout or CallCancelled, all not_sent.
        """
        client = self._link.client(context)
        if context.expired:
            raise expired_error(context, name)
        kind = "portal" if idempotent else "portal-once"
        key = f"{kind}-{name}-{uuid.uuid4().hex}"  # a key of its own, as Dask runs equal calls once otherwise
        try:
            comm = self._link.comm
            facts = context_to_dict(context)  # now, as it holds the seconds that are left
            task = client.submit(run_chunk, data, list(calls), facts, key=key, pure=False)
            found: Future[ChunkResult] = future_of(task, client.loop)
        except Exception as error:  # what cannot be pickled, or a client that was closed meanwhile
            message = f"the call of {name} cannot be sent to the cluster: {type(error).__name__}: {error}"
            raise TransportError(message, delivery="not_sent", cause=error) from error
        if client.scheduler_comm is not comm and not idempotent:  # another scheduler may have it, without the plug-in
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
        """Return how many threads the workers have now, at least 1. Raises: TransportError."""
        threads: dict[str, int] = self._link.ask("ncores", workers=None)
        return max(1, sum(threads.values()))

    def close(self) -> None:
        """Close the client that was made here. May be called twice."""
        self._link.close()
