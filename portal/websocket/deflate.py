"""permessage-deflate: its settings, its negotiation, and compression with bounds on memory and output.

By default each message is compressed by itself, with a window of 4 KiB. So an idle connection holds no compressor, and
subscribers share one compressed message.

Source: RFC 7692.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .._internal.settings import flag, size, whole_number
from ..errors import ProtocolError
from ..http11.parameters import Element

__all__ = ["Agreement", "Compressor", "Decompressor", "Deflate", "TooLarge", "accept", "offer", "read_response"]

NAME = "permessage-deflate"
_TAIL = b"\x00\x00\xff\xff"
_MAX_BITS = 15
_LEAST_BITS = 9  # zlib cannot compress with a window of 8 bits
_MAX_STREAMS = 16  # ends of a stream within one message; each needs a new decompressor
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_BITS = ("server_max_window_bits", "client_max_window_bits")


@dataclass(frozen=True, slots=True)
class Deflate:
    """Settings of permessage-deflate.

    Attributes:
        min_size: bytes; shorter messages are not compressed.
        window_bits: the base-2 logarithm of the window, 9 to 15. A compressor takes about four times the window, and
            `memory_level` adds to it.
        memory_level: memory for the state of a compressor, 1 to 9; see `zlib.compressobj`.
        level: 1 is the fastest, 9 compresses most.
        context_takeover: whether compressors and decompressors stay from message to message. Similar small messages
            then become much smaller, and each connection holds a compressor and a decompressor. A server drops the
            compressor of a connection on which nothing arrives for `WebSocketConfig.ping_interval`.

    Raises: ConfigError for a wrong setting.

    Threads: immutable.
    """

    min_size: int = 1024
    window_bits: int = 12
    memory_level: int = 3
    level: int = 6
    context_takeover: bool = False

    def __post_init__(self) -> None:
        size("deflate.min_size", self.min_size, minimum=0)
        whole_number("deflate.window_bits", self.window_bits, minimum=_LEAST_BITS, maximum=_MAX_BITS)
        whole_number("deflate.memory_level", self.memory_level, minimum=1, maximum=9)
        whole_number("deflate.level", self.level, minimum=1, maximum=9)
        flag("deflate.context_takeover", self.context_takeover)


class Agreement(NamedTuple):
    """The negotiated compression, from the view of one side.

    Attributes:
        settings: of this side.
        send_bits: the window of this side's compressor; below 9, this side does not compress.
        receive_bits: the window of the peer's compressor.
        send_takeover, receive_takeover: whether the compressor of this side, or of the peer, stays.
    """

    settings: Deflate
    send_bits: int
    receive_bits: int
    send_takeover: bool
    receive_takeover: bool


def offer(settings: Deflate) -> str:
    """Return the value of Sec-WebSocket-Extensions for a client's request.

    The second element is for servers that decline a bound on their window.
    """
    bits = f"server_max_window_bits={settings.window_bits}; client_max_window_bits"
    rest = "" if settings.context_takeover else "; server_no_context_takeover; client_no_context_takeover"
    return f"{NAME}; {bits}{rest}, {NAME}; client_max_window_bits{rest}"


def accept(settings: Deflate, offers: Iterable[Element]) -> tuple[str, Agreement] | None:
    """Return the element for the server's response and the agreement on the first acceptable offer, or None."""
    for name, parameters in offers:
        found = _parse(parameters, offered=True) if name.lower() == NAME else None
        if found is not None:
            return _accept(settings, found)
    return None


def _accept(settings: Deflate, offered: dict[str, int]) -> tuple[str, Agreement]:
    send_takeover = settings.context_takeover and "server_no_context_takeover" not in offered
    receive_takeover = settings.context_takeover and "client_no_context_takeover" not in offered
    send_bits = min(settings.window_bits, offered.get("server_max_window_bits", _MAX_BITS))
    words = [NAME, f"server_max_window_bits={send_bits}"]
    receive_bits = _MAX_BITS
    if "client_max_window_bits" in offered:
        receive_bits = min(settings.window_bits, offered["client_max_window_bits"])
        words.append(f"client_max_window_bits={receive_bits}")
    if not send_takeover:
        words.append("server_no_context_takeover")
    if not receive_takeover:
        words.append("client_no_context_takeover")
    return "; ".join(words), Agreement(settings, send_bits, receive_bits, send_takeover, receive_takeover)


def read_response(settings: Deflate, elements: Sequence[Element]) -> Agreement:
    """Return the agreement by the elements of the server's response to `offer`.

    Raises: ProtocolError for a response that does not fit the offer.
    """
    if len(elements) != 1 or elements[0][0].lower() != NAME:
        names = ", ".join(name[:40] for name, _ in elements[:4])
        raise ProtocolError(f"the server must accept only {NAME}, which was offered, got {names}")
    accepted = _parse(elements[0][1], offered=False)
    if accepted is None:
        raise ProtocolError(f"the server accepted {NAME} with parameters that were not offered")
    return Agreement(
        settings,
        send_bits=min(settings.window_bits, accepted.get("client_max_window_bits", _MAX_BITS)),
        receive_bits=accepted.get("server_max_window_bits", _MAX_BITS),
        send_takeover=settings.context_takeover and "client_no_context_takeover" not in accepted,
        receive_takeover="server_no_context_takeover" not in accepted,
    )


def _parse(parameters: Iterable[tuple[str, str | None]], *, offered: bool) -> dict[str, int] | None:
    """Return the parameters with their numbers, 1 for a flag; None if they are not valid."""
    found: dict[str, int] = {}
    for name, value in parameters:
        if name in found:
            return None
        if name in _FLAGS and value is None:
            found[name] = 1
        elif name == "client_max_window_bits" and value is None and offered:
            found[name] = _MAX_BITS
        elif name in _BITS and value is not None and value in ("8", "9", "10", "11", "12", "13", "14", "15"):
            found[name] = int(value)
        else:
            return None
    return found


class TooLarge(Exception):
    """A message is larger than its limit when it is decompressed."""


class Compressor:
    """Compresses the messages of one side.

    Threads: one at a time.
    """

    __slots__ = ("_agreement", "_zlib")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._zlib: zlib._Compress | None = None

    def wants(self, length: int) -> bool:
        """Return whether a message of this many bytes is compressed."""
        return length >= self._agreement.settings.min_size and self._agreement.send_bits >= _LEAST_BITS

    def compress(self, data: bytes) -> bytes:
        """Return one message compressed."""
        made = self._zlib
        if made is None:
            settings = self._agreement.settings
            made = zlib.compressobj(settings.level, zlib.DEFLATED, -self._agreement.send_bits, settings.memory_level)
            if self._agreement.send_takeover:
                self._zlib = made
        return (made.compress(data) + made.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def rest(self) -> None:
        """Forget what was sent before, and free most of the memory; the peer need not know."""
        self._zlib = None


class Decompressor:
    """Decompresses the messages of the peer.

    Threads: one at a time.
    """

    __slots__ = ("_agreement", "_streams", "_zlib")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._zlib: zlib._Decompress | None = None
        self._streams = 0

    def decompress(self, data: bytes, limit: int) -> bytes:
        """Return the next part of a message.

        Args:
            limit: bytes that it may have at most.
        Raises: TooLarge if it has more; zlib.error if it is not valid.
        """
        found: list[bytes] = []
        while data:
            if self._zlib is None:
                self._zlib = zlib.decompressobj(-self._agreement.receive_bits)
            piece = self._zlib.decompress(data, limit + 1)  # with 0 it would not be bounded
            limit -= len(piece)
            if limit < 0 or self._zlib.unconsumed_tail:
                raise TooLarge
            found.append(piece)
            data = b""
            if self._zlib.eof:  # the sender may end a stream in any message (RFC 7692 section 7.2.3.4)
                data = self._zlib.unused_data
                self._next_stream()
        return found[0] if len(found) == 1 else b"".join(found)

    def _next_stream(self) -> None:
        self._zlib = None
        self._streams += 1
        if self._streams > _MAX_STREAMS:
            raise zlib.error("too many streams in one message")

    def finish(self, limit: int) -> bytes:
        """Return the last part of a message, after all of its data. Raises: as `decompress`."""
        rest = self.decompress(_TAIL, limit)
        self._streams = 0
        if not self._agreement.receive_takeover:
            self._zlib = None
        return rest
