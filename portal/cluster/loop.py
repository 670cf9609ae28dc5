"""LoopThread: the event loop of a Dask client in a thread.

The loops that Dask starts itself go on for ever after a client that was made in one of them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress

from .._internal.background import start_thread
from .._internal.conditions import PoolFuture

__all__ = ["LoopThread"]

_JOIN_TIMEOUT = 5.0  # seconds for the thread to end


class LoopThread:
    """Runs an event loop in a daemon thread until `stop`.

    Attributes:
        loop: the event loop.

    Raises: OverloadedError if the system cannot start a thread; OSError if it cannot make a loop.

    Threads: any.
    """

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = PoolFuture()
        self._thread = start_thread("portal-dask-loop", self._run, started)
        self.loop = started.result()

    def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.get_loop()  # it may fail, before the coroutine is made
                runner.run(self._wait(started))
        except BaseException as error:  # such as too many open files
            if not started.done():
                started.set_exception(error)

    async def _wait(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stopped = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._stopped.wait()

    def stop(self) -> None:
        """Cancel what runs in the loop, and end the thread. May be called twice."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(_JOIN_TIMEOUT)
