"""SchedulerLink: the Dask client of this process for one scheduler. No caller waits for it beyond its own deadline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Event
from .._internal.log import get_logger
from ..calls.deadlines import uncalled_error
from ..context import CallContext
from ..errors import CallCancelled, ConfigError, PortalError, TransportError
from .bridge import future_in_loop
from .loop import LoopThread
from .scheduler_address import SchedulerAddress

__all__ = ["SchedulerLink"]

_log = get_logger("portal.cluster")
_RESPONSE_TIMEOUT = 10.0  # seconds to connect, and for a response of the scheduler, unless a call has less
_CLOSE_TIMEOUT = 2.0  # seconds to close the connection to the scheduler


class SchedulerLink:
    """Connects to a scheduler at the first use, registers the plug-ins of Portal, and asks the scheduler.

    All callers share one attempt to connect, which ends within 10 seconds. Each waits for it until its own deadline.
    Dask itself waits without a limit for the first bytes of a scheduler and for the response to a plug-in.

    Args:
        address: of the scheduler.
        given: a `distributed.Client` of the user, which is not closed here; None to make one.
        security: the `distributed.Security` of the one that is made.

    Attributes:
        authority: host and port of the scheduler.
        comm: the connection of the client whose scheduler has the plug-ins; None before the first.

    Threads: any. Fork: a child connects anew; a client that was given cannot be used there.
    """

    def __init__(self, address: SchedulerAddress, given: Any = None, *, security: Any = None) -> None:
        self._distributed: Any = import_module("distributed")
        self._url = address.url
        self.authority = address.authority
        self._given, self._security = given, security
        self._process = os.getpid()
        self._lock = new_lock()  # guards `_attempt`, `_runner` and `_closed`
        self._closed = False
        self._client: Any = None
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Connect anew; called by `__init__`, and in a child process after a fork."""
        if self._client is not None:
            self._client.status = "closed"  # otherwise its finaliser waits for a thread that the child does not have
        self._client = None  # changed by the thread of the loop only
        self._attempt: Future[Any] | None = None
        self._runner: LoopThread | None = None  # of the loop of the client that is made here
        self.comm: Any = None

    def client(self, context: CallContext) -> Any:
        """Return the connected client.

        Args:
            context: of the call. Its deadline and its cancellation end the wait.

        Raises: TransportError, CallTimeout or CallCancelled, all not_sent. ConfigError in a child process for a client
            that was given.
        """
        client = self._given or self._client
        if self._closed:
            raise PortalError("the connection to the cluster is closed", delivery="not_sent")
        if self._given is not None and os.getpid() != self._process:
            message = "a Dask client that was given cannot be used in a child process after a fork"
            expected = f'"{self.authority}", or a distributed.Client that the child has made'
            raise ConfigError(message, path="dask.scheduler", expected=expected)
        # A client that connects again would send what it gets meanwhile to a scheduler without the plug-ins.
        if client is not None and client.status == "running" and client.scheduler_comm is self.comm is not None:
            return client
        return self._outcome(self._shared_attempt(), context, "cannot be reached")

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Return the response of the scheduler, within 10 seconds and the deadline of the current call.

        Args:
            operation: name of an operation of the scheduler.

        Raises: as `client`.
        """
        context = CallContext.current() or CallContext()
        client = self.client(context)

        async def send() -> Any:
            return await getattr(client.scheduler, operation)(**arguments)

        future = self._run(client.loop.asyncio_loop, send)
        try:
            return self._outcome(future, context, "does not respond")
        finally:
            future.cancel()

    def close(self) -> None:
        """Close the client that was made here. May be called twice."""
        with self._lock:
            self._closed = True
            runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            self._run(runner.loop, self._close).result(_CLOSE_TIMEOUT)
        except Exception as error:  # what Dask raises, or a scheduler that does not respond
            _log.info("the connection to the Dask scheduler at %s ended by %r", self.authority, error)
        runner.stop()

    # waiting

    def _outcome(self, future: Future[Any], context: CallContext, problem: str) -> Any:
        limited = context.child(timeout=_RESPONSE_TIMEOUT)
        ended = Event()
        wake = ended.set
        future.add_done_callback(lambda _: wake())
        limited.on_cancel(wake)
        try:
            ended.wait(limited.remaining())
        finally:
            limited.forget(wake)
        if not future.done():
            raise self._unfinished(context, problem)
        try:
            return future.result()
        except CancelledError:  # by `close`
            raise self._unfinished(context, problem) from None
        except Exception as error:  # what the scheduler, the network or Dask raises
            raise self._failed(problem, error) from error

    def _unfinished(self, context: CallContext, problem: str) -> PortalError:
        facts = {"request_id": context.request_id}
        if context.cancelled:
            return CallCancelled("the caller cancelled the call", delivery="not_sent", context=facts)
        if context.expired:
            return uncalled_error(context, f"the Dask scheduler at {self.authority}")
        if self._closed:
            return PortalError("the connection to the cluster is closed", delivery="not_sent")
        return self._failed(problem, TimeoutError(f"no response within {_RESPONSE_TIMEOUT:.0f} s"))

    def _failed(self, problem: str, error: Exception) -> TransportError:
        message = f"the Dask scheduler at {self.authority} {problem}: {type(error).__name__}: {error}"
        return TransportError(message, delivery="not_sent", cause=error)

    def _run(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        try:
            return future_in_loop(make, loop)
        except RuntimeError as error:  # the loop was closed meanwhile
            raise self._failed("cannot be reached", error) from error

    # connecting: the coroutines run in the loop of the client

    def _shared_attempt(self) -> Future[Any]:
        with self._lock:
            if self._closed:
                raise PortalError("the connection to the cluster is closed", delivery="not_sent")
            if self._attempt is None or self._attempt.done():
                self._attempt = self._run(self._loop(), self._connect)
            return self._attempt

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._given is not None:
            found: asyncio.AbstractEventLoop = self._given.loop.asyncio_loop
            return found
        if self._runner is None:
            try:
                self._runner = LoopThread()
            except OSError as error:  # such as too many open files
                raise self._failed("cannot be reached", error) from error
        return self._runner.loop

    async def _connect(self) -> Any:
        async with asyncio.timeout(_RESPONSE_TIMEOUT):
            client = self._given or await self._own_client()
            if client.status != "running":
                raise ConnectionError(f"the Dask client that was given is {client.status}")
            comm = client.scheduler_comm
            await client.register_plugin(import_module(".once", __package__).OnceOnly())
            await client.register_plugin(import_module(".table", __package__).FunctionTable())
        self.comm = comm
        return client

    async def _own_client(self) -> Any:
        client = self._client
        if client is not None:
            if client.status == "running":
                return client
            client.loop.add_callback(client.close)
        await self._require_listener()
        self._client = client = self._distributed.Client(
            self._url,
            security=self._security,
            asynchronous=True,
            timeout=_RESPONSE_TIMEOUT,
            name="portal",
            set_as_default=False,
            direct_to_workers=False,
        )
        try:
            return await client
        except BaseException:
            client.loop.add_callback(client.close)
            raise

    async def _require_listener(self) -> None:
        """Fail at once if nothing listens at the port. Dask would try again until its time limit."""
        target = urlsplit(self._url)
        if target.scheme in ("tcp", "tls") and target.port is not None:
            _, writer = await asyncio.open_connection(target.hostname, target.port)
            writer.close()

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.close()
