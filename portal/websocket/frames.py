"""FrameProtocol: the messages of one WebSocket connection from bytes and to bytes, without I/O.

It bounds what a peer may send: the length of a message, also when it is decompressed, and the number of its fragments.
A message that breaks the protocol or a bound ends the connection. wsproto parses the frames.

Source: RFC 6455 sections 5 to 7.
"""

from __future__ import annotations

import os
import zlib
from typing import Any, Literal, NamedTuple

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, Opcode, ParseFailed, RsvBits
from wsproto.frame_protocol import FrameProtocol as _WireProtocol

from .close_codes import CloseCode, is_sendable
from .deflate import Agreement, Compressor, Decompressor, TooLarge

__all__ = [
    "BinaryMessage",
    "Close",
    "Failure",
    "FrameEvent",
    "FrameProtocol",
    "Ping",
    "Pong",
    "SharedText",
    "TextMessage",
]

_PLAIN, _COMPRESSED = RsvBits(False, False, False), RsvBits(True, False, False)
_MAX_CONTROL = 125  # bytes of the payload of a control frame
_GROUP = 256  # parts of a message that are joined, so that a message of many fragments takes little more than its text
_FIN, _RSV1 = 0x80, 0x40
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION)


class TextMessage(NamedTuple):
    """A complete text message."""

    text: str


class BinaryMessage(NamedTuple):
    """A complete binary message."""

    data: bytes


class Ping(NamedTuple):
    """A ping; respond with `FrameProtocol.pong(payload)`."""

    payload: bytes


class Pong(NamedTuple):
    """A pong."""

    payload: bytes


class Close(NamedTuple):
    """The peer's close frame; nothing follows it. Respond with `FrameProtocol.close(code)`, then end the connection."""

    code: int
    reason: str


class Failure(NamedTuple):
    """The peer has broken the protocol or a bound; nothing follows it.

    Send `FrameProtocol.close(code, reason)`, then end the connection.
    """

    code: int
    reason: str


FrameEvent = TextMessage | BinaryMessage | Ping | Pong | Close | Failure


class SharedText:
    """A text message for many connections. It is encoded once, and compressed once for each window.

    Args:
        text: the message, as text or as UTF-8.

    Attributes:
        data: the message in UTF-8.

    Threads: any. In a race it is compressed twice.
    """

    __slots__ = ("_compressed", "_plain", "data")

    def __init__(self, text: str | bytes) -> None:
        self.data = text.encode() if isinstance(text, str) else text
        self._plain: bytes | None = None
        self._compressed: dict[Agreement, bytes] = {}

    def plain(self) -> bytes:
        """Return the frame as a server sends it without compression."""
        if self._plain is None:
            self._plain = _frame(_FIN | Opcode.TEXT, self.data, False)
        return self._plain

    def compressed(self, agreement: Agreement) -> bytes:
        """Return the frame as a server sends it to clients of an agreement without context takeover."""
        frame = self._compressed.get(agreement)
        if frame is None:
            frame = _frame(_FIN | _RSV1 | Opcode.TEXT, Compressor(agreement).compress(self.data), False)
            self._compressed[agreement] = frame
        return frame


def _frame(first: int, payload: bytes, masked: bool) -> bytes:
    """Return one frame with the given first byte (RFC 6455 section 5.2)."""
    length = len(payload)
    mask = 0x80 if masked else 0
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 65536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    repeated = int.from_bytes((key * (length // 4 + 1))[:length], "little")
    return head + key + (int.from_bytes(payload, "little") ^ repeated).to_bytes(length, "little")


class _Rules(Extension):
    """Bounds and decompresses what a peer sends. wsproto calls it for each frame.

    wsproto calls `frame_inbound_header` again for the same frame if more bytes are needed, so that changes nothing that
    counts.
    """

    name = "portal"

    def __init__(self, max_message: int, max_fragments: int, agreement: Agreement | None) -> None:
        self.failure = ""
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._bits = _PLAIN if agreement is None else _COMPRESSED
        self._decompressor = None if agreement is None else Decompressor(agreement)
        self._control = self._compressed = False  # the present frame; the present message
        self._received = self._length = self._fragments = 0  # of the present message; the length when decompressed

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False  # the handshake is not wsproto's

    @property
    def kept(self) -> int:
        """Bytes of the present message, decompressed if it is compressed."""
        return self._length if self._compressed else self._received

    def _fail(self, code: CloseReason, reason: str) -> CloseReason:
        self.failure = reason
        return code

    def _too_big(self) -> CloseReason:
        return self._fail(CloseReason.MESSAGE_TOO_BIG, f"a message must have at most {self._max_message} bytes")

    def frame_inbound_header(
        self, proto: object, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode not in _DATA
        if self._control:
            return _PLAIN
        if opcode is Opcode.CONTINUATION:
            bits = _PLAIN
        else:
            bits = self._bits
            self._compressed = rsv.rsv1
        # Compression never makes a message much longer.
        slack = self._max_message // 1000 + 64 if self._compressed else 0
        if self._received + payload_length > self._max_message + slack:
            return self._too_big()
        return bits

    def frame_inbound_payload_data(self, proto: object, data: bytes) -> bytes | CloseReason:
        if self._control:
            return data
        self._received += len(data)
        if not self._compressed or self._decompressor is None:
            return data
        try:
            data = self._decompressor.decompress(data, self._max_message - self._length)
        except TooLarge:
            return self._too_big()
        except zlib.error:
            return self._fail(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message must be valid DEFLATE data")
        self._length += len(data)
        return data

    def frame_inbound_complete(self, proto: object, fin: bool) -> bytes | CloseReason | None:
        if self._control:
            return None
        self._fragments += 1
        if self._fragments > self._max_fragments:
            reason = f"a message must have at most {self._max_fragments} fragments"
            return self._fail(CloseReason.POLICY_VIOLATION, reason)
        if not fin:
            return None
        rest = b""
        if self._compressed and self._decompressor is not None:
            try:
                rest = self._decompressor.finish(self._max_message - self._length)
            except TooLarge:
                return self._too_big()
            except zlib.error:
                return self._fail(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "a message must be valid DEFLATE data")
        self._received = self._length = self._fragments = 0
        return rest


class FrameProtocol:
    """One side of a WebSocket connection, after the handshake.

    Args:
        side: "server" or "client". A client masks what it sends.
        max_message: bytes of a received message, also when it is decompressed.
        max_fragments: number of frames of a received message.
        deflate: what the handshake has agreed on, or None.

    Attributes:
        ended: whether nothing more can be received: a Close or a Failure was returned.
        closing: whether `close` was called. Nothing else may be sent after that.

    Threads: one at a time may receive, and one at a time may send.
    """

    __slots__ = (
        "_agreement",
        "_compressor",
        "_groups",
        "_masked",
        "_parts",
        "_rules",
        "_wire",
        "closing",
        "ended",
    )

    def __init__(
        self,
        side: Literal["server", "client"],
        *,
        max_message: int = 1024 * 1024,
        max_fragments: int = 16 * 1024,
        deflate: Agreement | None = None,
    ) -> None:
        self._masked = side == "client"
        self._agreement = deflate
        self._compressor = None if deflate is None else Compressor(deflate)
        self._rules = _Rules(max_message, max_fragments, deflate)
        self._wire = _WireProtocol(self._masked, [self._rules])
        self._groups: list[Any] = []  # of the present message, joined from `_parts`
        self._parts: list[Any] = []
        self.ended = self.closing = False

    # receiving

    @property
    def buffered(self) -> int:
        """The bytes that are kept of a message which has not arrived completely."""
        return self._rules.kept

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Take bytes from the peer and return the events that they complete."""
        self.receive(data)
        events: list[FrameEvent] = []
        while (event := self.next_event()) is not None:
            events.append(event)
        return events

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer. `next_event` returns what they complete, one event at a time."""
        if not self.ended:
            self._wire.receive_bytes(data)

    def next_event(self) -> FrameEvent | None:
        """Return the next event, or None until more bytes arrive."""
        if self.ended:
            return None
        try:
            for frame in self._wire.received_frames():
                event = self._event(frame)
                if event is not None:
                    return event
        except ParseFailed as error:
            self._end()
            return Failure(int(error.code), self._rules.failure or _reason_of(error))
        return None

    def _event(self, frame: Frame) -> FrameEvent | None:
        payload: Any = frame.payload
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if frame.message_finished and not self._parts:
                whole = payload
            else:
                self._keep(payload)
                if not frame.message_finished:
                    return None
                whole = payload[:0].join([*self._groups, *self._parts])
                self._groups, self._parts = [], []
            return TextMessage(whole) if frame.opcode is Opcode.TEXT else BinaryMessage(bytes(whole))
        if frame.opcode is Opcode.PING:
            return Ping(bytes(payload))
        if frame.opcode is Opcode.PONG:
            return Pong(bytes(payload))
        self._end()
        return Close(int(payload[0]), payload[1])

    def _keep(self, payload: Any) -> None:
        self._parts.append(payload)
        if len(self._parts) == _GROUP:
            self._groups.append(payload[:0].join(self._parts))
            self._parts = [payload[:0]]

    def _end(self) -> None:
        self.ended = True
        self._groups, self._parts = [], []

    # sending; each method returns b"" after `close`

    def text(self, message: str | bytes) -> bytes:
        """Return the frame of a text message, which may be given in UTF-8."""
        return self._message(Opcode.TEXT, message.encode() if isinstance(message, str) else message)

    def binary(self, message: bytes) -> bytes:
        """Return the frame of a binary message."""
        return self._message(Opcode.BINARY, message)

    def _message(self, opcode: int, data: bytes) -> bytes:
        if self.closing:
            return b""
        compressor = self._compressor
        if compressor is None or not compressor.wants(len(data)):
            return _frame(_FIN | opcode, data, self._masked)
        return _frame(_FIN | _RSV1 | opcode, compressor.compress(data), self._masked)

    def shared(self, message: SharedText) -> bytes:
        """Return the frame of a text message that a server sends to many clients."""
        if self.closing:
            return b""
        compressor, agreement = self._compressor, self._agreement
        if compressor is None or agreement is None or not compressor.wants(len(message.data)):
            return message.plain()
        # A compressor that stays must see all that it sends.
        return self.text(message.data) if agreement.send_takeover else message.compressed(agreement)

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a ping; the payload has at most 125 bytes."""
        return b"" if self.closing else _frame(_FIN | Opcode.PING, payload[:_MAX_CONTROL], self._masked)

    def pong(self, payload: bytes = b"") -> bytes:
        """Return the response to a ping."""
        return b"" if self.closing else _frame(_FIN | Opcode.PONG, payload[:_MAX_CONTROL], self._masked)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
        """Return a close frame. Nothing can be sent after it.

        Args:
            code: of the frame. Codes that are never sent, such as NO_STATUS, leave it out.
            reason: cut to 123 bytes.
        """
        if self.closing:
            return b""
        self.closing = True
        payload = b""
        if is_sendable(code):
            text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
            payload = int(code).to_bytes(2, "big") + text
        return _frame(_FIN | Opcode.CLOSE, payload, self._masked)


def _reason_of(error: ParseFailed) -> str:
    if error.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
        return "text must be valid UTF-8"
    return str(error)
