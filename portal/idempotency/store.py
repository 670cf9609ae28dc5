"""Claims and outcomes of calls with an idempotency key, and the stores that keep them.

A call first makes a claim with a token of its own. Then its outcome is recorded for the duration of a window, or the
claim is dropped. A call that finds another call's claim waits and looks again.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

__all__ = ["Claim", "Found", "OutcomeStore"]


class Claim(NamedTuple):
    """The claim of a call to be the first with its idempotency key.

    Attributes:
        key: the digest of caller, function and idempotency key.
        digest: the digest of the parameters, 64 hex digits.
        token: a random text, different for each claim.
    """

    key: str
    digest: str
    token: str


class Found(NamedTuple):
    """A claim of an earlier call.

    Attributes:
        digest: the digest of its parameters.
        text: its outcome; None while the call is running.
    """

    digest: str
    text: str | None


class OutcomeStore(Protocol):
    """Keeps claims and outcomes. Every method except `watch` and `close` may raise StoreUnavailable.

    Attributes:
        notifies: whether `watch` sets its event. If not, a waiting call must poll.
    """

    notifies: bool

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first; its owner then calls `record` or `drop`."""

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window."""

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call ends, or at once if it has ended."""

    def close(self) -> None:
        """End threads and connections."""
