"""Functions that fail in each way, and portals of them for server processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from portal import CallContext, HTTPPortal, PortalError, TransportError, WebSocketPortal, function
from portal.limits import RateLimit

__all__ = ["FUNCTIONS", "Declined", "http", "websocket"]


class Declined(PortalError):
    """An error of a function's own."""

    code = "failing_functions_declined"


@function(idempotent=True)
def decline() -> None:
    """Raise a PortalError."""
    raise Declined("declined")


@function(idempotent=True)
def break_down() -> None:
    """Raise what is not a PortalError."""
    raise RuntimeError("a fault")


@function(idempotent=True)
def lose() -> None:
    """Raise an error that a caller may retry."""
    raise TransportError("a server behind this one is lost", retryable=True)


@function
def take(number: int) -> int:
    """Reject parameters of another type."""
    return number


@function(idempotent=True)
def hang() -> None:
    """Wait until the call is cancelled, or its deadline passes."""
    ended, context = threading.Event(), CallContext.current()
    assert context is not None
    context.on_cancel(ended.set)
    ended.wait(60.0)


@function(idempotent=True)
def limited() -> None:
    """Return; the portals below reject all calls but the first."""


@function
def stop_early() -> Iterator[int]:
    """Fail after an item."""
    yield 1
    raise Declined("declined")


@function
def count() -> Iterator[int]:
    """Yield many items."""
    yield from range(100_000)


FUNCTIONS: tuple[Any, ...] = (decline, break_down, lose, take, hang, limited, stop_early, count)

http = HTTPPortal(middleware=[RateLimit("1/hour", functions=["limited"])])
websocket = WebSocketPortal(middleware=[RateLimit("1/hour", functions=["limited"])])
for one in FUNCTIONS:
    http.apply(one)
    websocket.apply(one)
