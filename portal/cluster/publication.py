"""Publication: what a portal has published stays known to the scheduler, also after the scheduler has restarted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from .._internal.at_fork import renew_after_fork
from .._internal.background import BackgroundLoop
from .._internal.closing import run_all
from .._internal.conditions import Condition
from .._internal.log import get_logger
from .._internal.throttle import Throttle
from ..context import CallContext
from ..errors import OverloadedError, PortalError

__all__ = ["Publication", "Published"]

_log = get_logger("portal.cluster")
_CHECK_INTERVAL = 2.0  # seconds between two checks of what the scheduler has
_WITHDRAWAL_TIMEOUT = 3.0  # seconds to withdraw what is published
_PAUSE = 0.01  # seconds between two checks of a thread that is about to end
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage

#: What is published, by path.
Published = Mapping[str, Mapping[str, Any]]


class Scheduler(Protocol):
    """The connection to a scheduler, as a publication uses it. Each method raises TransportError."""

    def change(self, owner: str, entries: Mapping[str, Mapping[str, Any] | None], *, anew: bool = False) -> None:
        """Publish entries of an owner by path; None withdraws one. With `anew` the owner has no others."""

    def renew(self, owner: str) -> int:
        """Note that the owner is alive, and return how many entries it has."""


class Publication:
    """Publishes entries at a scheduler, and again when the scheduler has lost them.

    Each publication is an owner of entries of its own, so a replica that stops leaves those of the others. A thread
    asks regularly how many entries the scheduler has, and publishes everything again after a restart.

    Args:
        scheduler: keeps the entries.
        wanted: returns what is to be published. It is called with the lock held, so that the last change counts.
        interval: seconds between two checks.

    Attributes:
        active: whether entries are published now.

    Threads: any. The lock is held while the scheduler is asked, so that changes come in order. Fork: a child publishes
    nothing.
    """

    def __init__(
        self, scheduler: Scheduler, wanted: Callable[[], Published], *, interval: float = _CHECK_INTERVAL
    ) -> None:
        self._scheduler = scheduler
        self._interval = interval
        self._warnings = Throttle(_WARNING_INTERVAL)
        self._loop = BackgroundLoop("portal-dask-publish", self._wait_and_check)
        self._wanted = wanted
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Publish nothing; called by `__init__`, and in a child process after a fork."""
        self._owner = os.urandom(8).hex()
        self._writing = Condition()  # guards the attributes around it, and is held while the scheduler is asked
        self._wake = Condition()  # guards nothing; it ends the wait of the thread
        self._sent: dict[str, Mapping[str, Any]] = {}
        self._checks = CallContext()  # of the requests of the thread; cancelled by `stop`
        self.active = False

    def start(self) -> None:
        """Publish, and go on until `stop`. Raises: TransportError; then it is not active."""
        with self._writing:
            if self.active:
                return
            self.active = True
            self._checks = CallContext()
            try:
                self._send(anew=True)
            except BaseException:
                self.active = False
                raise
            self._start_loop()

    def _start_loop(self) -> None:
        try:
            self._loop.start()
        except OverloadedError as error:
            _log.error("the functions on the cluster are not checked yet: %s", error)

    def update(self) -> None:
        """Publish what has changed, while it is active.

        Raises: TransportError; the change is made when the scheduler responds again.
        """
        with self._writing:
            if self.active:
                self._send()

    def publish_again(self) -> None:
        """Publish everything now. Raises: TransportError."""
        with self._writing:
            self._send(anew=True)

    def stop(self) -> None:
        """Withdraw what is published. A scheduler that does not respond within 3 seconds is logged.

        May be called twice.
        """
        self._checks.cancel()
        run_all(self._end, self._wake_thread, self._loop.stop, self._go_on)

    def _end(self) -> None:
        with self._writing:
            was_active, self.active = self.active, False
            self._sent = {}
            if was_active:
                try:
                    with CallContext.for_call(_WITHDRAWAL_TIMEOUT).active():
                        self._scheduler.change(self._owner, {}, anew=True)
                except PortalError as error:
                    _log.warning("the functions were not withdrawn from the cluster: %s", error)

    def _wake_thread(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _go_on(self) -> None:
        """Start the thread if another thread has started the publication while it was stopped."""
        with self._writing:
            if self.active:
                self._start_loop()

    def _send(self, *, anew: bool = False) -> None:
        wanted, known = self._wanted(), {} if anew else self._sent
        changes: dict[str, Mapping[str, Any] | None] = dict.fromkeys(path for path in known if path not in wanted)
        changes |= {path: entry for path, entry in wanted.items() if known.get(path) is not entry}
        if changes or anew:
            self._scheduler.change(self._owner, changes, anew=anew)
        self._sent = dict(wanted)

    def _check(self) -> None:
        """Publish what the scheduler does not have."""
        self._send(anew=self._scheduler.renew(self._owner) != len(self._sent))

    def _wait_and_check(self) -> None:
        with self._wake:
            self._wake.wait(self._interval if self.active else _PAUSE)
        with self._writing:
            if not self.active:
                return
            try:
                with self._checks.active():
                    self._check()
            except PortalError as error:
                if not self._checks.cancelled and self._warnings.allows(monotonic()):
                    _log.warning("the scheduler does not respond; the functions are published again later: %s", error)
                return
            self._warnings.reset()
