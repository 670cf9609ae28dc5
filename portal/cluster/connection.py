"""ClusterConnection: one client of a Dask scheduler, for all calls of this process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from ..calls.deadlines import expired_error
from ..context import CallContext
from ..errors import ConfigError, TransportError
from ..function.remote_call import context_to_dict
from ..processes.futures import wait_for_job
from ..processes.jobs import Job
from .bridge import future_of
from .chunk import ChunkResult, run_chunk
from .link import SchedulerLink
from .scheduler_address import SchedulerAddress
from .security import has_certificates, security_of

__all__ = ["ClusterConnection"]


class ClusterConnection:
    """Submits chunks of calls to a scheduler, and keeps what is published there. It connects at its first use.

    Args:
        scheduler: "host:port", "tcp://host:port", "tls://host:port", or a `distributed.Client`, which is not closed
            here.
        options: of `Client.submit`, such as `resources`.
        security: a `distributed.Security`, with which "host:port" means "tls://host:port"; None for Dask's own
            configuration. A `distributed.Client` has its own.

    Raises: ConfigError for another value, for TLS without certificates, or if the package distributed is not installed.

    Threads: any. Fork: a child connects anew; a client that was given cannot be used there.
    """

    def __init__(self, scheduler: Any, options: Mapping[str, Any] | None = None, *, security: Any = None) -> None:
        distributed = _distributed()
        if isinstance(scheduler, distributed.Client):
            if security is not None:
                expected = "None for a distributed.Client, which has its own"
                raise ConfigError.invalid("dask.security", security, expected)
            address = SchedulerAddress.of_client(scheduler)
            self._link = SchedulerLink(address, scheduler)
        else:
            address, used = _secured(scheduler, security)
            self._link = SchedulerLink(address, security=used)
        self.authority: str = address.authority
        self._options = dict(options or {})
        self._once_prefix: str = import_module(".once", __package__).PREFIX  # it needs the package distributed

    # publishing

    def change(self, owner: str, entries: Mapping[str, Mapping[str, Any] | None], *, anew: bool = False) -> None:
        """Publish entries by path until the scheduler ends; see `FunctionTable.change`. Raises: TransportError."""
        self._link.ask("portal_change", owner=owner, entries=dict(entries), anew=anew)

    def renew(self, owner: str) -> int:
        """Return how many entries of an owner the scheduler has. Raises: TransportError."""
        found: int = self._link.ask("portal_renew", owner=owner)
        return found

    def find(self, path: str) -> tuple[Mapping[str, Any] | None, bool]:
        """Return what is published at a path, and whether that may be missing because the scheduler has restarted.

        Raises: TransportError.
        """
        found = self._link.ask("portal_find", path=path)
        return found["entry"], found["is_filling"]

    def list_paths(self) -> dict[str, Mapping[str, Any]]:
        """Return all that is published by path. Raises: TransportError."""
        return dict(self._link.ask("portal_list"))

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
        prefix = "portal-" if idempotent else self._once_prefix
        key = f"{prefix}{name}-{uuid.uuid4().hex}"  # a key of its own, as Dask runs equal calls once otherwise
        try:
            comm = self._link.comm
            facts = context_to_dict(context)  # now, as it holds the seconds that are left
            task = client.submit(run_chunk, data, list(calls), facts, key=key, pure=False, **self._options)
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
        if not future.done():
            import_module(".nested", __package__).leave_pool()
        try:
            found: ChunkResult = wait_for_job(job, future, context, running_on, tells_start=False)
        except TransportError as error:
            if type(error.cause).__name__ != "KilledWorker":
                raise
            # Dask's own text says that the task ran on four workers, which is wrong for one that runs once.
            message = f"the worker that ran {name} has died (KilledWorker)"
            raise TransportError(message, cause=error.cause) from error.cause
        return found

    def workers(self) -> int:
        """Return how many threads the workers have now, at least 1. Raises: TransportError."""
        threads: dict[str, int] = self._link.ask("ncores", workers=None)
        return max(1, sum(threads.values()))

    def close(self) -> None:
        """Close the client that was made here. May be called twice."""
        self._link.close()


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:  # pragma: no cover - the tests that need it are skipped
        message = "the package distributed must be installed for dask://"
        raise ConfigError(message, path="dask", hint="pip install 'portal-functions[dask]'") from None


def _secured(scheduler: Any, given: Any) -> tuple[SchedulerAddress, Any]:
    """Return the address of a scheduler, and the security of the client that connects to it."""
    security = security_of(given)
    encrypted = security.require_encryption or (given is not None and has_certificates(given))
    address = SchedulerAddress.parse(scheduler, encrypted=encrypted)
    if address.url.startswith("tls:") and not has_certificates(security):
        expected = "a distributed.Security with certificates for tls://, or Dask's configuration distributed.comm.tls"
        raise ConfigError.invalid("dask.security", given, expected)
    return address, security
