"""Watch the portals that `portal serve` serves, and say when one of them does not serve."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .._internal.background import restart_lost_loops
from .._internal.log import get_logger
from ..errors import PortalError

if TYPE_CHECKING:
    from ..portal import Portal

__all__ = ["wait_and_watch"]

_log = get_logger("portal.serving")
_LOOK = 0.25  # seconds between looks; a loop counts as failing after half a second, and the log says so within one
_MAX_FAILING = 30.0  # seconds after which the process ends


class _Signals(Protocol):
    def wait(self, timeout: float | None = None) -> bool: ...


def wait_and_watch(portals: Iterable[Portal], signals: _Signals) -> None:
    """Wait for a signal to stop. Meanwhile log when a portal is not ready, and when it is ready again.

    Raises: PortalError when a portal was not ready for half a minute, so that a supervisor starts the process again.
    """
    listeners = [one.listener for one in portals if hasattr(one, "listener")]
    since: float | None = None
    while not signals.wait(_LOOK):
        failing = sorted({name for one in listeners for name in one.failing})
        if not failing:
            if since is not None:
                since = None
                _log.warning("ready again")
            continue
        restart_lost_loops()  # the thread that does this otherwise may be the one that is lost
        now = monotonic()
        if since is None:
            since = now
            _log.error("not ready: failing=%s", ",".join(failing))
        elif now - since >= _MAX_FAILING:
            raise PortalError(f"the server does not serve: failing={','.join(failing)}")
