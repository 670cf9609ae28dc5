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
_INTERVAL = 2.0  # seconds between two looks at the scheduler
_WITHDRAWAL = 3.0  # seconds to withdraw what is published
_PAUSE = 0.01  # seconds between two looks of a thread that is about to end
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage

#: What is published, by path.
Published = Mapping[str, Mapping[str, Any]]


class Scheduler(Protocol):
    """The connection to a scheduler, as a publication uses it. Each method raises TransportError."""

    def publish(self, path: str, entry: Mapping[str, Any] | None) -> None:
        """Keep an entry at a path; None removes it."""

    def owner(self, path: str) -> str | None:
        """Return who has published what is at a path now."""

    def generation(self, value: str | None = None) -> str | None:
        """Return the generation of what is published, after setting it to `value` if that is given."""


class Publication:
    """Publishes entries at a scheduler, and again when the scheduler has lost them.

    The scheduler has a generation, which changes when somebody withdraws entries, and is gone after a restart. A thread
    reads it regularly, and publishes everything again if it has changed. So a replica that stops removes the entries of
    other replicas only for a moment.

    Args:
        scheduler: keeps the entries.
        wanted: returns what is to be published. It is called with the lock held, so that the last change counts.
        interval: seconds between two looks.

    Attributes:
        active: whether entries are published now.

    Threads: any. The lock is held while the scheduler is asked, so that changes come in order. Fork: a child publishes
    nothing.
    """

    def __init__(self, scheduler: Scheduler, wanted: Callable[[], Published], *, interval: float = _INTERVAL) -> None:
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
        self._generation: str | None = None
        self._checks = CallContext()  # of the requests of the thread; cancelled by `stop`
        self._has_withdrawn = False  # whether others have to look whether what they publish was withdrawn
        self.active = False

    def start(self) -> None:
        """Publish, and go on until `stop`. Raises: TransportError; then it is not active."""
        with self._writing:
            if self.active:
                return
            self.active = True
            self._checks = CallContext()
            try:
                self._sent = {}
                self._check()
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
            self._sent = {}
            self._send()

    def stop(self) -> None:
        """Withdraw what is published. A scheduler that does not respond within 3 seconds is logged.

        May be called twice.
        """
        self._checks.cancel()
        run_all(self._end, self._wake_thread, self._loop.stop, self._go_on)

    def _end(self) -> None:
        with self._writing:
            was_active, self.active = self.active, False
            sent, self._sent = self._sent, {}
            if was_active:
                try:
                    with CallContext.for_call(_WITHDRAWAL).active():
                        for path in sent:
                            self._withdraw(path)
                        self._scheduler.generation(os.urandom(8).hex())
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

    def _send(self) -> None:
        wanted = self._wanted()
        for path, entry in wanted.items():
            if self._sent.get(path) is not entry:
                self._scheduler.publish(path, {**entry, "owner": self._owner})
                self._sent[path] = entry
        gone = [path for path in self._sent if path not in wanted]
        self._has_withdrawn = self._has_withdrawn or bool(gone)
        for path in gone:
            self._withdraw(path)
            del self._sent[path]
        if self._has_withdrawn:  # also if that failed the last time
            self._generation = self._scheduler.generation(os.urandom(8).hex())
            self._has_withdrawn = False

    def _withdraw(self, path: str) -> None:
        if self._scheduler.owner(path) == self._owner:
            self._scheduler.publish(path, None)

    def _check(self) -> None:
        """Publish what the scheduler does not have."""
        generation = self._scheduler.generation()
        if generation is None or generation != self._generation:
            self._sent = {}
        self._send()
        self._generation = self._scheduler.generation(os.urandom(8).hex()) if generation is None else generation

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
