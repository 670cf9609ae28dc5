"""The body of a streamed response: items as lines of JSON or as server-sent events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..._internal.closing import close_and_log
from ..._internal.json_encoder import encode_json
from ...context import CallContext
from ...errors import PortalError
from ..messages.event_stream import EVENTS, write_event

__all__ = ["encode_items", "failure_piece"]


def encode_items(
    items: Iterator[Any], media: str, context: CallContext, problem: Callable[[PortalError, CallContext], bytes]
) -> Iterator[bytes]:
    """Yield the pieces of a body; closing it cancels the call.

    Args:
        media: text/event-stream or application/x-ndjson.
        problem: returns the problem document of an error that ends the stream.
    """
    events = media == EVENTS
    try:
        for item in items:
            data = encode_json(item)
            yield write_event(data) if events else data + b"\n"
    except PortalError as error:
        yield failure_piece(problem(error, context), media)
        if not events:
            raise ConnectionAbortedError("the stream failed") from error
        return
    finally:
        context.cancel()
        close_and_log(items, "the items of a stream")
    if events:
        yield write_event(b"null", "complete")


def failure_piece(problem: bytes, media: str) -> bytes:
    """Return the piece that tells the client why the stream ends."""
    if media == EVENTS:
        return write_event(problem, "error")
    # A line cannot tell an error from an item by itself. So the body is left without its end as well.
    return b'{"problem":' + problem + b"}\n"
