"""FrameProtocol: the messages of one WebSocket connection from bytes and to bytes, without I/O.

Source: RFC 6455 sections 5 to 7.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from .close_codes import CloseCode, is_sendable
from .deflate import Agreement, Compressor
from .frame_reader import (
    BinaryMessage,
    Close,
    Failure,
    FrameEvent,
    FrameReader,
    Ping,
    Pong,
    TextMessage,
)

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

_MAX_CONTROL = 125  # bytes of the payload of a control frame
_KEYS = 1024  # random bytes that are drawn together; each draw is a system call, and lets another thread run
_FIN, _RSV1 = 0x80, 0x40
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


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
            self._plain = _frame(_FIN | _TEXT, self.data)
        return self._plain

    def compressed(self, agreement: Agreement) -> bytes:
        """Return the frame as a server sends it to clients of an agreement without context takeover."""
        frame = self._compressed.get(agreement)
        if frame is None:
            frame = _frame(_FIN | _RSV1 | _TEXT, Compressor(agreement).compress(self.data))
            self._compressed[agreement] = frame
        return frame


def _frame(first: int, payload: bytes, key: bytes = b"") -> bytes:
    """Return one frame (RFC 6455 section 5.2).

    Args:
        first: its first byte.
        key: masks the payload; b"" does not.
    """
    length = len(payload)
    mask = 0x80 if key else 0
    if length < 126:
        head = bytes((first, mask | length))
    elif length < 65536:
        head = bytes((first, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask | 127)) + length.to_bytes(8, "big")
    if not key:
        return head + payload
    repeated = int.from_bytes((key * (length // 4 + 1))[:length], "little")
    return b"%b%b%b" % (head, key, (int.from_bytes(payload, "little") ^ repeated).to_bytes(length, "little"))


class FrameProtocol:
    """One side of a WebSocket connection, after the handshake.

    Args:
        side: "server" or "client". A client masks what it sends.
        max_message: bytes of a received message, also when it is decompressed.
        max_fragments: number of frames of a received message.
        deflate: what the handshake has agreed on, or None.

    Attributes:
        closing: whether `close` was called. Nothing else may be sent after that.
        receive: takes bytes from the peer; see `FrameReader.receive`.
        next_event: returns what they complete, one event at a time; None until more bytes arrive.
        reader: of the bytes from the peer.

    Threads: one at a time may receive, and one at a time may send.
    """

    __slots__ = (
        "_agreement",
        "_compressor",
        "_keys",
        "_keys_at",
        "_masked",
        "closing",
        "next_event",
        "reader",
        "receive",
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
        self._keys = b""  # random; each mask takes the next four bytes
        self._keys_at = 0
        self._agreement = deflate
        self._compressor = None if deflate is None else Compressor(deflate)
        self.reader = FrameReader(not self._masked, max_message, max_fragments, deflate)
        self.closing = False
        # Not methods of its own, as each message passes here.
        self.receive: Callable[[bytes], None] = self.reader.receive
        self.next_event: Callable[[], FrameEvent | None] = self.reader.next_event

    # receiving

    @property
    def ended(self) -> bool:
        """Whether nothing more can be received: a Close or a Failure was returned."""
        return self.reader.ended

    @property
    def buffered(self) -> int:
        """The bytes that are kept of a message which has not arrived completely."""
        return self.reader.kept

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Take bytes from the peer and return the events that they complete."""
        self.receive(data)
        events: list[FrameEvent] = []
        while (event := self.reader.next_event()) is not None:
            events.append(event)
        return events

    # sending; each method returns b"" after `close`

    def text(self, message: str | bytes) -> bytes:
        """Return the frame of a text message, which may be given in UTF-8."""
        data = message.encode() if isinstance(message, str) else message
        if self._compressor is None and not self.closing:
            return _frame(_FIN | _TEXT, data, self._next_key() if self._masked else b"")
        return self._message(_TEXT, data)

    def _next_key(self) -> bytes:
        at = self._keys_at
        if at == len(self._keys):
            self._keys, at = os.urandom(_KEYS), 0
        self._keys_at = at + 4
        return self._keys[at : at + 4]

    def _frame(self, first: int, payload: bytes) -> bytes:
        return _frame(first, payload, self._next_key() if self._masked else b"")

    def binary(self, message: bytes) -> bytes:
        """Return the frame of a binary message."""
        return self._message(_BINARY, message)

    def _message(self, opcode: int, data: bytes) -> bytes:
        if self.closing:
            return b""
        compressor = self._compressor
        if compressor is None or not compressor.wants(len(data)):
            return self._frame(_FIN | opcode, data)
        return self._frame(_FIN | _RSV1 | opcode, compressor.compress(data))

    def shared(self, message: SharedText) -> bytes:
        """Return the frame of a text message that a server sends to many clients."""
        if self.closing:
            return b""
        compressor, agreement = self._compressor, self._agreement
        if compressor is None or agreement is None or not compressor.wants(len(message.data)):
            return message.plain()
        # A compressor that stays must see all that it sends.
        return self.text(message.data) if agreement.send_takeover else message.compressed(agreement)

    def rest(self) -> None:
        """Free the memory of the compressor, as the connection is idle."""
        if self._compressor is not None:
            self._compressor.rest()

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a ping; the payload has at most 125 bytes."""
        return b"" if self.closing else self._frame(_FIN | _PING, payload[:_MAX_CONTROL])

    def pong(self, payload: bytes = b"") -> bytes:
        """Return the response to a ping."""
        return b"" if self.closing else self._frame(_FIN | _PONG, payload[:_MAX_CONTROL])

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
        return self._frame(_FIN | _CLOSE, payload)
