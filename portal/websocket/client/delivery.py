"""Deliver the items of a subscription to a callback, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from ..._internal.log import get_logger
from ...errors import PortalError, ValidationError
from .failures import report_failure
from .subscription import Event, Gap, Subscription

__all__ = ["deliver"]

_log = get_logger("portal.websocket")
_TURN = 100  # items after which another subscription gets the thread

Callback = Callable[["Event[Any] | Gap"], object]


def deliver(subscription: Subscription[Any], callback: Callback, threads: Executor) -> None:
    """Call `callback` with each item, in order, in the threads of an executor.

    What the callback raises is logged, and the next item follows. What ends the subscription is logged; its `error` has
    it as well.
    """
    subscription.on_change(_Delivery(subscription, callback, threads).wake)


class _Delivery:
    """One subscription whose items go to a callback. Threads: any may wake it; one at a time delivers."""

    def __init__(self, subscription: Subscription[Any], callback: Callback, threads: Executor) -> None:
        self._subscription = subscription
        self._callback = callback
        self._threads = threads
        self._lock = threading.Lock()  # guards the flags
        self._scheduled = False
        self._done = False

    def wake(self) -> None:
        """Deliver what waits, unless that is under way."""
        with self._lock:
            if self._scheduled or self._done or not self._subscription.waiting:
                return
            self._scheduled = True
        self._submit()

    def _submit(self) -> None:
        try:
            self._threads.submit(self._run).add_done_callback(partial(report_failure, self._not_run))
        except BaseException as error:
            self._not_run(error)
            if not isinstance(error, Exception):
                raise

    def _not_run(self, error: BaseException) -> None:
        with self._lock:
            self._scheduled = False  # the next item tries again
        _log.error("no thread for the callback of %s: %r", self._subscription.address, error)

    def _run(self) -> None:
        try:
            for _ in range(_TURN):
                if not self._subscription.waiting:
                    break
                if not self._deliver_next():
                    self._done = True
                    return
        except BaseException:
            _log.exception("delivering an item failed: address=%s", self._subscription.address)
        with self._lock:
            self._scheduled = self._subscription.waiting
            again = self._scheduled
        if again:
            self._submit()

    def _deliver_next(self) -> bool:
        """Deliver one item. Return False at the end."""
        address = self._subscription.address
        try:
            item = self._subscription.next(0)
        except ValidationError as error:
            _log.error("an event of %s does not fit returns=: %s", address, error)
            return True
        except PortalError as error:
            _log.warning("the subscription of %s has ended: %s", address, error)
            return False
        if item is None:
            return False
        try:
            self._callback(item)
        except BaseException:
            _log.exception("the callback of a subscription failed: address=%s", address)
        return True
