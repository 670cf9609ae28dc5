"""Media types of responses, and server-sent events.

Source: HTML Living Standard, section 9.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import ProtocolError

__all__ = ["EVENTS", "JSON", "NDJSON", "read_events", "write_event"]

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


def write_event(data: bytes, event: str = "") -> bytes:
    """Return one event. `data` is JSON text, which contains no line break."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"


def read_events(pieces: Iterable[bytes], limit: int) -> Iterator[tuple[str, bytes]]:
    """Yield each event of a stream of bytes as (name, data), as soon as it is complete.

    Lines may end with LF, CR or CR LF. Comments and events without data are dropped, and so is an incomplete event at
    the end.

    Args:
        pieces: the stream as it arrives.
        limit: bytes of one event.

    Raises: ProtocolError for a longer event.
    """
    buffer = bytearray()
    after_cr = False
    for given in pieces:
        piece = given.removeprefix(b"\n") if after_cr else given
        if given:
            after_cr = given.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        searched = max(0, len(buffer) - 1)
        buffer += piece
        if buffer.find(b"\n\n", searched) >= 0:
            *whole, rest = bytes(buffer).split(b"\n\n")
            buffer = bytearray(rest)
            yield from filter(None, map(_read_event, whole))
        if len(buffer) > limit:
            raise ProtocolError(f"an event of the response must have at most {limit} bytes")


def _read_event(block: bytes) -> tuple[str, bytes] | None:
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("ascii", "replace")
        elif field == b"data":
            data.append(value)
    return (name, b"\n".join(data)) if data else None
