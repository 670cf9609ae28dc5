"""Upgraded: a protocol other than HTTP on a connection of a listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Upgraded"]


class Upgraded(Protocol):
    """A protocol that has taken a connection over, such as WebSocket."""

    def received(self, data: bytes) -> Callable[[], object] | None:
        """Take the bytes that have arrived, and return work for a worker, or None.

        The reactor calls this, or a worker the first time. It must not wait. It may call `connection.resume_http(rest)`
        to give the connection back.
        """

    def overloaded(self, work: Callable[[], object]) -> None:
        """Take back work that no worker can do, as all are busy and the queue is full."""

    def overdue(self) -> bool:
        """React to the passing of `connection.deadline`.

        Returns: whether a later deadline is set. Otherwise the connection is closed.
        """

    def stopping(self) -> None:
        """Say goodbye to the client, as the listener stops. Called once, by the reactor or by a worker."""

    def lost(self) -> None:
        """React to the end of the connection."""
