"""Claims and outcomes of calls with an idempotency key, and the stores that keep them.

A call first makes a claim with a token of its own. Then its outcome is recorded for the duration of a window, or the
claim is dropped. A call that finds another call's claim waits and looks again.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

__all__ = ["MARKER_SIZE", "NO_ROOM", "Bounds", "Claim", "Found", "OutcomeStore", "StoreFull"]

#: Bytes that a claim reserves, so that at least the fact of the call can be kept. Every marker is shorter.
MARKER_SIZE = 64
#: The marker that is kept for a response for which there is no room.
NO_ROOM = '{"not_kept":"was larger than the room that was left"}'


class Bounds(NamedTuple):
    """Bounds on a store. No outcome is removed before its window ends: beyond the bounds, new claims are rejected.

    Attributes:
        entries, size: the largest number of claims and outcomes of all clients, and their size in bytes.
        client_entries, client_size: the same for each client.
    """

    entries: int
    size: int
    client_entries: int
    client_size: int


class StoreFull(Exception):
    """A new claim was rejected, because there is no room for its outcome.

    Attributes:
        own: whether the client has used up its own share; otherwise all clients together have.
        retry_after: seconds until the first outcome is removed.
    """

    def __init__(self, own: bool, retry_after: float) -> None:
        super().__init__(own, retry_after)
        self.own = own
        self.retry_after = retry_after


class Claim(NamedTuple):
    """The claim of a call to be the first with its idempotency key.

    Attributes:
        key: the digest of caller, function and idempotency key.
        digest: the digest of the parameters, 64 hex digits.
        token: a random text, different for each claim.
        client: the digest of the client, whose share the claim counts for.
    """

    key: str
    digest: str
    token: str
    client: str = ""


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

    def __len__(self) -> int:
        """Return the number of claims and outcomes that this process has."""

    @property
    def size(self) -> int:
        """The bytes that they take or reserve."""

    def claim(self, claim: Claim) -> Found | None:
        """Make a claim. Return None if it is the first; its owner then calls `record` or `drop`.

        Raises: StoreFull.
        """

    def holds(self, claim: Claim) -> bool:
        """Return whether this process holds a claim that has not ended."""

    def record(self, claim: Claim, text: str) -> None:
        """Keep the outcome for the window, or NO_ROOM if it is larger than the room that is left."""

    def drop(self, claim: Claim) -> None:
        """Remove the claim, so that the next call runs."""

    def watch(self, key: str, woken: threading.Event) -> None:
        """Set the event when the call ends, or at once if it has ended."""

    def close(self) -> None:
        """End threads and connections."""
