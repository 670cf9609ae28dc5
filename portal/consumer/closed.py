"""The error of a Consumer that is used after `close`."""

from __future__ import annotations

from ..errors import ConsumerError

__all__ = ["closed_error"]


def closed_error() -> ConsumerError:
    """Return the error for a call or a resolution with a closed Consumer."""
    return ConsumerError("the consumer is closed", advice="make a new Consumer")
