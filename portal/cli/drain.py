"""Let load balancers and directories notice that a process is going to stop, while it still accepts requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..network.portal import NetworkPortal

if TYPE_CHECKING:
    from ..portal import Portal

__all__ = ["drain"]


def drain(portals: Iterable[Portal]) -> None:
    """Be not ready at all portals, and return when the delay of their listeners is over."""
    serving = [portal for portal in portals if isinstance(portal, NetworkPortal)]
    for portal in serving:
        portal.prepare_stop()
    for portal in serving:
        portal.listener.draining.wait()
