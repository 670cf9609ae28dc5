"""A table of the cases of the Autobahn test suite, against an echo server on the listener.

`make autobahn` runs the suite itself, if a CPython 2.7 is at hand. The numbers are those of its cases.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator

import pytest

from portal.serving import Listener
from portal.websocket.deflate import Deflate
from portal.websocket.frames import BinaryMessage, Close, FrameEvent, FrameProtocol, Pong, TextMessage
from portal.websocket.handshake import Agreed, ClientHandshake
from tests.conformance.autobahn.echo import start_server

WAIT = 10.0
KEY = b"\x12\x34\x56\x78"
FIN, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 1, 2, 8, 9, 10

Frame = tuple[int, bytes]


def masked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + KEY + bytes(one ^ KEY[index % 4] for index, one in enumerate(payload))


def text(*parts: bytes) -> list[Frame]:
    """A text message in as many fragments as parts."""
    return [
        ((TEXT if index == 0 else 0) | (FIN if index == len(parts) - 1 else 0), part)
        for index, part in enumerate(parts)
    ]


#: Case, frames of the client, echoed events, and the close code, or None where the test closes with 1000.
CASES: list[tuple[str, list[Frame], list[FrameEvent], int | None]] = [
    *(
        (f"1.1 text of {size}", text(b"*" * size), [TextMessage("*" * size)], None)
        for size in (0, 125, 126, 127, 128, 65535, 65536)
    ),
    *(
        (f"1.2 binary of {size}", [(FIN | BINARY, b"\xfe" * size)], [BinaryMessage(b"\xfe" * size)], None)
        for size in (0, 125, 126, 127, 128, 65535, 65536)
    ),
    ("2.1 ping", [(FIN | PING, b"")], [Pong(b"")], None),
    ("2.3 binary ping", [(FIN | PING, b"\x00\xff\xfe")], [Pong(b"\x00\xff\xfe")], None),
    ("2.4 ping of 125", [(FIN | PING, b"\xfe" * 125)], [Pong(b"\xfe" * 125)], None),
    ("2.5 ping of 126", [(FIN | PING, b"\xfe" * 126)], [], 1002),
    ("2.7 unasked pong", [(FIN | PONG, b"")], [], None),
    ("2.9 pong, ping", [(FIN | PONG, b"x"), (FIN | PING, b"y")], [Pong(b"y")], None),
    ("2.10 ten pings", [(FIN | PING, b"%d" % number) for number in range(10)],
     [Pong(b"%d" % number) for number in range(10)], None),
    *((f"3.{bits} reserved bits", [(FIN | bits << 4 | TEXT, b"x")], [], 1002) for bits in range(1, 8)),
    ("3.2 after a message", [*text(b"ok"), (FIN | 0x20 | TEXT, b"x")], [TextMessage("ok")], 1002),
    ("3.6 ping with reserved bits", [(FIN | 0x50 | PING, b"x")], [], 1002),
    ("3.7 close with reserved bits", [(FIN | 0x70 | CLOSE, b"")], [], 1002),
    *((f"4 opcode {opcode}", [(FIN | opcode, b"x")], [], 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("5.1 fragmented ping", [(PING, b"a"), (FIN, b"b")], [], 1002),
    ("5.2 fragmented pong", [(PONG, b"a"), (FIN, b"b")], [], 1002),
    ("5.3 two fragments", text(b"one", b"two"), [TextMessage("onetwo")], None),
    ("5.6 a ping between", [(TEXT, b"a"), (FIN | PING, b"p"), (FIN, b"b")], [Pong(b"p"), TextMessage("ab")], None),
    ("5.9 continuation of nothing", [(FIN, b"x"), *text(b"y")], [], 1002),
    ("5.10 open continuation of nothing", [(0, b"x"), *text(b"y")], [], 1002),
    ("5.15 after a whole message", [*text(b"a", b"b"), (0, b"c"), *text(b"d")], [TextMessage("ab")], 1002),
    ("5.18 text in text", [(TEXT, b"a"), (FIN | TEXT, b"b")], [], 1002),
    ("5.19 pings in five fragments",
     [(TEXT, b"1"), (0, b"2"), (FIN | PING, b"p"), (0, b"3"), (0, b"4"), (FIN | PING, b"q"), (FIN, b"5")],
     [Pong(b"p"), Pong(b"q"), TextMessage("12345")], None),
    ("6.1 empty fragments", text(b"", b"", b""), [TextMessage("")], None),
    ("6.2 a character a fragment", text(*(bytes([one]) for one in "Hello-\u00b5@\u00df\U0001f600".encode())),
     [TextMessage("Hello-\u00b5@\u00df\U0001f600")], None),
    *(
        (f"6.5 valid UTF-8 {valid!r}", text(valid.encode()), [TextMessage(valid)], None)
        for valid in ("\u03ba\u1f79\u03c3\u03bc\u03b5", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000",
                      "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "\ufffe", "\U0001fffe")
    ),
    *(
        (f"6.3 invalid UTF-8 {wrong!r}", text(wrong), [], 1007)
        for wrong in (
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\x80", b"\xbf", b"\x80\xbf\x80",
            b"\xc0 ", b"\xe0 ", b"\xf0 ", b"\xf8 ", b"\xfc ", b"\xc0", b"\xe0\x80", b"\xf0\x80\x80",
            b"\xf8\x80\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff",
            b"\xc0\xaf", b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xed\xa0\x80",
            b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf",
        )
    ),
    ("6.4 invalid in the first of two fragments", [(TEXT, b"\xce\xba\xed\xa0\x80")], [], 1007),
    ("7.1.1 close", [*text(b"a"), (FIN | CLOSE, b"\x03\xe8")], [TextMessage("a")], 1000),
    ("7.1.2 two closes", [(FIN | CLOSE, b"\x03\xe8"), (FIN | CLOSE, b"\x03\xe8")], [], 1000),
    ("7.1.3 ping after close", [(FIN | CLOSE, b"\x03\xe8"), (FIN | PING, b"x")], [], 1000),
    ("7.1.5 close between fragments", [(TEXT, b"a"), (FIN | CLOSE, b"\x03\xe8"), (FIN, b"b")], [], 1000),
    ("7.3.1 close without a code", [(FIN | CLOSE, b"")], [], 1005),
    ("7.3.2 close with one byte", [(FIN | CLOSE, b"\x03")], [], 1002),
    ("7.3.5 longest reason", [(FIN | CLOSE, b"\x03\xe8" + b"*" * 123)], [], 1000),
    ("7.3.6 reason too long", [(FIN | CLOSE, b"\x03\xe8" + b"*" * 124)], [], 1002),
    ("7.5.1 reason with invalid UTF-8", [(FIN | CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80")], [], 1007),
    *(
        (f"7.7 close {code}", [(FIN | CLOSE, code.to_bytes(2, "big"))], [], code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    ),
    *(
        (f"7.9 close {code}", [(FIN | CLOSE, code.to_bytes(2, "big"))], [], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    ("9.1 a megabyte", text(b"*" * 1_048_576), [TextMessage("*" * 1_048_576)], None),
    ("9.3 a megabyte in fragments", text(*[b"*" * 4096] * 256), [TextMessage("*" * 1_048_576)], None),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    listener = start_server()
    yield listener
    listener.stop(0.5)


def connect(server: Listener, deflate: Deflate | None = None) -> tuple[socket.socket, FrameProtocol]:
    handshake = ClientHandshake("localhost", "/", deflate=deflate)
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
    sock.sendall(handshake.request())
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += sock.recv(1)
    agreed = handshake.read_response(data[:-4])
    assert isinstance(agreed, Agreed)
    return sock, FrameProtocol("client", max_message=1 << 25, max_fragments=1 << 20, deflate=agreed.deflate)


def events_until_close(sock: socket.socket, protocol: FrameProtocol) -> list[FrameEvent]:
    events: list[FrameEvent] = []
    while not (events and isinstance(events[-1], Close)):
        data = sock.recv(65536)
        assert data, events
        events += protocol.feed(data)
    return events


@pytest.mark.parametrize("pieces", [None, 1, 997])
@pytest.mark.parametrize(("case", "frames", "events", "code"), CASES, ids=[row[0] for row in CASES])
def test_a_case(
    server: Listener, case: str, frames: list[Frame], events: list[FrameEvent], code: int | None, pieces: int | None
) -> None:
    """The client sends its frames whole, byte by byte, or in pieces."""
    data = b"".join(masked(*frame) for frame in frames)
    if code is None:
        data += masked(FIN | CLOSE, b"\x03\xe8")
    if pieces == 1 and len(data) > 2000:
        pytest.skip("too many pieces")
    sock, protocol = connect(server)
    with sock:
        try:
            for at in range(0, len(data), pieces or len(data)):
                sock.sendall(data[at : at + (pieces or len(data))])
        except OSError:
            pass  # the server has seen enough
        found = events_until_close(sock, protocol)
    assert [(type(event), *event) for event in found[:-1]] == [(type(event), *event) for event in events]
    assert isinstance(found[-1], Close)
    assert found[-1].code == (1000 if code is None else code)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("size", [0, 16, 1024, 131_072])
def test_compressed_messages(server: Listener, size: int, bits: int, takeover: bool) -> None:
    """12 and 13: what is sent compressed comes back, with windows of several sizes."""
    sock, protocol = connect(server, Deflate(min_size=0, window_bits=bits, context_takeover=takeover))
    with sock:
        message = ("0123456789abcdef" * (size // 16))[:size]
        for number in range(5):
            sock.sendall(protocol.text(f"{number}{message}"))
            events: list[FrameEvent] = []
            while not events:
                events = protocol.feed(sock.recv(65536))
            assert events == [TextMessage(f"{number}{message}")]


def test_a_compressed_message_that_is_not_deflate(server: Listener) -> None:
    sock, protocol = connect(server, Deflate())
    with sock:
        sock.sendall(masked(FIN | 0x40 | TEXT, b"\xff\xff\xff\xff"))
        assert events_until_close(sock, protocol)[-1][0] == 1007


def test_a_compressed_message_in_fragments_with_a_ping_between(server: Listener) -> None:
    sock, protocol = connect(server, Deflate())
    packer = zlib.compressobj(wbits=-9)
    packed = (packer.compress(b"Hello" * 100) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with sock:
        sock.sendall(masked(0x40 | TEXT, packed[:5]) + masked(FIN | PING, b"p") + masked(FIN, packed[5:]))
        found: list[FrameEvent] = []
        while len(found) < 2:
            found += protocol.feed(sock.recv(65536))
        assert found == [Pong(b"p"), TextMessage("Hello" * 100)]
