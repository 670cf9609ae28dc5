"""When a connection is closed whose client is silent: idle, in the middle of a request, draining, or while it stops."""

from __future__ import annotations

from ..config import ServingConfig

__all__ = ["DRAIN_SECONDS", "FOLLOW_UP_SECONDS", "silence_deadline", "stored_deadline"]

#: For which a closed connection still reads what its client sends; unread bytes would reset it under the response.
DRAIN_SECONDS = 2.0
#: After a response, in which a busy client may already have sent its next request. The connection is kept that long
#: while the listener stops: if it broke under a request, the client could not tell whether the call was executed.
FOLLOW_UP_SECONDS = 0.1


_MIB = 1024 * 1024


def silence_deadline(state: str, previous: str, deadline: float, now: float, config: ServingConfig) -> float:
    """Return the moment at which a connection is closed if its client stays silent.

    A head or a body in progress keeps the deadline that it began with. Otherwise a client could extend it with a byte
    now and then.

    Args:
        state: what the connection waits for: "idle" (a request), "head" (the rest of a head) or "body".
        previous: the state when it waited before.
        deadline: the moment that was set then.
        now: `time.monotonic()`.
    """
    if state == "idle":
        return now + config.idle_timeout
    if state == previous:
        return deadline
    return now + (config.head_timeout if state == "head" else config.body_timeout)


def stored_deadline(arrived: float, received: int, config: ServingConfig) -> float:
    """Return the moment at which a connection is closed whose large body does not arrive fast enough.

    A body on disk has the body's timeout for each MiB, as a large file takes long on a slow network.

    Args:
        arrived: the moment at which the head was complete.
        received: bytes of the body that have arrived.
    """
    return arrived + config.body_timeout * (1 + received // _MIB)
