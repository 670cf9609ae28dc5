"""FrameReader: the events of one WebSocket connection from the bytes of its peer, without I/O.

It bounds what a peer may send: the length of a message, also when it is decompressed, and the number of its fragments.
Text is decoded as it arrives, so that an invalid byte ends the connection at once.

Source: RFC 6455 sections 5 to 8.
"""

from __future__ import annotations

import zlib
from codecs import getincrementaldecoder
from typing import Any, NamedTuple

from .close_codes import CloseCode, is_sendable
from .deflate import Agreement, Decompressor, TooLarge

__all__ = ["BinaryMessage", "Close", "Failure", "FrameEvent", "FrameReader", "Ping", "Pong", "TextMessage"]

_GROUP = 256  # parts of a message that are joined, so that a message of many fragments takes little more than its text
_MAX_CONTROL = 125  # bytes of the payload of a control frame
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_KNOWN = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_FIN, _RESERVED, _RSV1, _MASKED = 0x80, 0x70, 0x40, 0x80
_WHOLE_TEXT = _FIN | _TEXT  # the first byte of a text frame that is a whole message without compression
_new_decoder = getincrementaldecoder("utf-8")


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


class _Broken(Exception):
    """The peer has broken the protocol or a bound."""

    def __init__(self, reason: str, code: int = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


class FrameReader:
    """Reads the frames of a peer.

    Args:
        masked: whether the peer masks its frames: a client does, and a server does not.
        max_message: bytes of a message, also when it is decompressed.
        max_fragments: number of frames of a message.
        agreement: what the handshake has agreed on compression, or None.

    Attributes:
        ended: whether nothing more can be received: a Close or a Failure was returned.

    Threads: one at a time.
    """

    __slots__ = (
        *("_at", "_buffer", "_decoder", "_decompressor", "_fin", "_fragments", "_groups", "_inside", "_is_compressed"),
        *("_key", "_left", "_length", "_mask", "_max_fragments", "_max_message", "_message", "_opcode", "_parts"),
        *("_received", "ended"),
    )

    def __init__(self, masked: bool, max_message: int, max_fragments: int, agreement: Agreement | None) -> None:
        self._mask = _MASKED if masked else 0
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._decompressor = None if agreement is None else Decompressor(agreement)
        self._buffer = b""
        self._at = 0  # what is before it was read
        self.ended = False
        # the present frame
        self._inside = False  # whether its head was read
        self._fin = False
        self._opcode = 0
        self._left = 0  # bytes of its payload
        self._key = b""
        # the present message
        self._message = 0  # its opcode, or 0
        self._is_compressed = False
        self._decoder: Any = None  # of text, from the second part on
        self._parts: list[Any] = []
        self._groups: list[Any] = []  # joined from the parts
        self._received = self._length = self._fragments = 0  # the length when decompressed

    @property
    def kept(self) -> int:
        """Bytes of the present message, decompressed if it is compressed."""
        return self._length if self._is_compressed else self._received

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer. After the end they are dropped."""
        if self.ended:
            return
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def next_event(self) -> FrameEvent | None:
        """Return the next event, or None until more bytes arrive."""
        if self._at == len(self._buffer):  # also after the end
            return None
        if not (self._inside or self._message) and (text := self._take_short_text()) is not None:
            return TextMessage(text)
        try:
            while self._inside or self._read_head():
                payload = self._take_payload()
                if payload is None:
                    return None
                event = self._on_control(payload) if self._opcode & 8 else self._on_data(payload)
                if event is not None:
                    return event
        except _Broken as error:
            self._end()
            return Failure(int(error.code), str(error))
        return None

    def _end(self) -> None:
        self.ended = True
        self._buffer, self._at = b"", 0
        self._groups, self._parts = [], []

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived of which `next_event` has made nothing yet."""
        return self._at < len(self._buffer)

    # frames

    def _take_short_text(self) -> str | None:
        """Return the next message if it is one short text frame that has arrived completely; None for another one.

        Nearly all messages are. It checks what the methods below check, in one step.
        """
        buffer, at, mask = self._buffer, self._at, self._mask
        available = len(buffer) - at
        if available < 2 or buffer[at] != _WHOLE_TEXT:
            return None
        length, start = buffer[at + 1] ^ mask, at + 2
        if length > 125:
            if length != 126 or available < 4:
                return None
            length, start = buffer[start] << 8 | buffer[start + 1], at + 4
            if length < 126:
                return None
        end = start + (4 if mask else 0) + length
        if end > len(buffer) or length > self._max_message:
            return None
        payload = buffer[end - length : end]
        if mask and length:
            repeated = int.from_bytes((buffer[start : start + 4] * (length // 4 + 1))[:length], "little")
            payload = (int.from_bytes(payload, "little") ^ repeated).to_bytes(length, "little")
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return None
        self._at = end
        return text

    def _read_head(self) -> bool:
        """Read the head of the next frame, if all of it has arrived."""
        buffer, at = self._buffer, self._at
        size = len(buffer) - at
        if size < 2:
            return False
        first, second = buffer[at], buffer[at + 1]
        opcode, length, head = first & 15, second & 127, 2
        self._check_start(first, opcode, second)
        if length == 126:
            head = 4
            if size < head:
                return False
            length = int.from_bytes(buffer[at + 2 : at + 4], "big")
            if length < 126:
                raise _Broken("the length of a frame must have its shortest form")
        elif length == 127:
            head = 10
            if size < head:
                return False
            length = int.from_bytes(buffer[at + 2 : at + 10], "big")
            if length < 65536 or length >> 63:
                raise _Broken("the length of a frame must have its shortest form")
        end = head
        if self._mask:
            end = head + 4
            if size < end:
                return False
            self._key = buffer[at + head : at + end]
        if not opcode & 8:
            self._begin_data(first, opcode, length)
        self._at = at + end
        self._inside = True
        self._fin = first & _FIN != 0
        self._opcode = opcode
        self._left = length
        return True

    def _check_start(self, first: int, opcode: int, second: int) -> None:
        if opcode not in _KNOWN:
            raise _Broken(f"the opcode {opcode} is not defined")
        if second & _MASKED != self._mask:
            raise _Broken("a client must mask its frames" if self._mask else "a server must not mask its frames")
        reserved = first & _RESERVED
        if reserved and (reserved != _RSV1 or self._decompressor is None or opcode not in (_TEXT, _BINARY)):
            raise _Broken("a reserved bit must not be set")
        if opcode & 8:
            if not first & _FIN:
                raise _Broken("a control frame must not be fragmented")
            if second & 127 > _MAX_CONTROL:
                raise _Broken(f"a control frame must have at most {_MAX_CONTROL} bytes")
        elif (opcode == _CONTINUATION) != (self._message != 0):
            words = "a message must end before the next one" if self._message else "there is no message to continue"
            raise _Broken(words)

    def _begin_data(self, first: int, opcode: int, length: int) -> None:
        if opcode:
            self._message = opcode
            self._is_compressed = first & _RSV1 != 0
        # Compression never makes a message much longer.
        slack = self._max_message // 1000 + 64 if self._is_compressed else 0
        if self._received + length > self._max_message + slack:
            raise self._too_big()

    def _too_big(self) -> _Broken:
        return _Broken(f"a message must have at most {self._max_message} bytes", CloseCode.MESSAGE_TOO_BIG)

    def _take_payload(self) -> bytes | None:
        """Return the rest of the payload, or what has arrived of a long one; None if more bytes are needed."""
        buffer, at, left = self._buffer, self._at, self._left
        available = len(buffer) - at
        if available >= left:
            payload = buffer[at : at + left]
        elif self._opcode & 8 or not available:
            return None
        else:
            payload = buffer[at:]
        size = len(payload)
        self._at = at + size
        self._left = left - size
        self._inside = self._left > 0
        if not self._mask or not size:
            return payload
        key = self._key
        repeated = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        if self._inside:
            turn = size % 4
            self._key = key[turn:] + key[:turn]
        return (int.from_bytes(payload, "little") ^ repeated).to_bytes(size, "little")

    # messages

    def _on_data(self, payload: bytes) -> FrameEvent | None:
        self._received += len(payload)
        is_last = self._fin and not self._inside
        if self._is_compressed:
            payload = self._decompress(payload, is_last)
        if not self._inside:
            self._fragments += 1
            if self._fragments > self._max_fragments:
                words = f"a message must have at most {self._max_fragments} fragments"
                raise _Broken(words, CloseCode.POLICY_VIOLATION)
        is_text = self._message == _TEXT
        if is_last and not (self._parts or self._groups) and self._decoder is None:
            whole: Any = self._decode(payload) if is_text else payload
        else:
            self._keep(self._decode_part(payload, is_last) if is_text else payload)
            if not is_last:
                return None
            empty: Any = "" if is_text else b""
            whole = empty.join([*self._groups, *self._parts])
            self._groups, self._parts, self._decoder = [], [], None
        self._message = self._received = self._length = self._fragments = 0
        self._is_compressed = False
        return TextMessage(whole) if is_text else BinaryMessage(whole)

    def _decompress(self, payload: bytes, is_last: bool) -> bytes:
        decompressor = self._decompressor
        assert decompressor is not None
        try:
            data = decompressor.decompress(payload, self._max_message - self._length)
            self._length += len(data)
            if is_last:
                data += decompressor.finish(self._max_message - self._length)
        except TooLarge:
            raise self._too_big() from None
        except zlib.error:
            raise _Broken("a message must be valid DEFLATE data", CloseCode.INVALID_DATA) from None
        return data

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise _Broken("text must be valid UTF-8", CloseCode.INVALID_DATA) from None

    def _decode_part(self, data: bytes, is_last: bool) -> str:
        if self._decoder is None:
            self._decoder = _new_decoder()
        try:
            part: str = self._decoder.decode(data, is_last)
        except UnicodeDecodeError:
            raise _Broken("text must be valid UTF-8", CloseCode.INVALID_DATA) from None
        return part

    def _keep(self, part: Any) -> None:
        if part:
            self._parts.append(part)
            if len(self._parts) == _GROUP:
                self._groups.append(part[:0].join(self._parts))
                self._parts = []

    # control frames

    def _on_control(self, payload: bytes) -> FrameEvent:
        if self._opcode == _PING:
            return Ping(payload)
        if self._opcode == _PONG:
            return Pong(payload)
        code, reason = int(CloseCode.NO_STATUS), ""
        if payload:
            code = int.from_bytes(payload[:2], "big")
            if len(payload) == 1 or not is_sendable(code):
                raise _Broken("the code of a close frame must be one that may be sent")
            reason = self._decode(payload[2:])
        self._end()
        return Close(code, reason)
