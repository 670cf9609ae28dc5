"""FrameProtocol: frames by RFC 6455 section 5 and RFC 7692 section 7, and the bounds on what a peer may send."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.http11.parameters import parse_elements
from portal.websocket.close_codes import CloseCode
from portal.websocket.deflate import Agreement, Deflate, accept, read_response
from portal.websocket.frames import (
    BinaryMessage,
    Close,
    Failure,
    FrameEvent,
    FrameProtocol,
    Ping,
    Pong,
    SharedText,
    TextMessage,
)

CASES = int(os.environ.get("PORTAL_FUZZ_CASES", "60"))
STAYING = Agreement(Deflate(min_size=0, context_takeover=True), 15, 15, True, True)
FRESH = Agreement(Deflate(min_size=0), 12, 12, False, False)


def frame(first: int, payload: bytes = b"", *, mask: bytes | None = None, length: bytes | None = None) -> bytes:
    """Return a frame as the tests build it: with any first byte and any form of the length."""
    if length is None:
        size = len(payload)
        if size < 126:
            length = bytes([size])
        else:
            length = b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    if mask is None:
        return bytes([first]) + length + payload
    masked = bytes(one ^ mask[index % 4] for index, one in enumerate(payload))
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + masked


def server_frame(first: int, payload: bytes = b"", *, length: bytes | None = None) -> bytes:
    """Return a frame as a client sends it to the server."""
    return frame(first, payload, mask=b"\x37\xfa\x21\x3d", length=length)


#: Name, what the peer sends unmasked, and the events. A server gets the same frames masked.
CASES_OF_FRAMES: list[tuple[str, list[tuple[int, bytes]], list[FrameEvent]]] = [
    ("text", [(0x81, b"Hello")], [TextMessage("Hello")]),
    ("empty text", [(0x81, b"")], [TextMessage("")]),
    ("binary", [(0x82, b"\x00\xff")], [BinaryMessage(b"\x00\xff")]),
    ("empty binary", [(0x82, b"")], [BinaryMessage(b"")]),
    ("126 bytes", [(0x82, b"x" * 126)], [BinaryMessage(b"x" * 126)]),
    ("65536 bytes", [(0x82, b"x" * 65536)], [BinaryMessage(b"x" * 65536)]),
    ("two fragments", [(0x01, b"Hel"), (0x80, b"lo")], [TextMessage("Hello")]),
    ("empty fragments", [(0x01, b""), (0x00, b""), (0x80, b"")], [TextMessage("")]),
    ("a character cut in two", [(0x01, b"\xc3"), (0x80, b"\xa9")], [TextMessage("\u00e9")]),
    ("binary fragments", [(0x02, b"a"), (0x00, b"b"), (0x80, b"c")], [BinaryMessage(b"abc")]),
    ("a ping between", [(0x01, b"He"), (0x89, b"p"), (0x80, b"y")], [Ping(b"p"), TextMessage("Hey")]),
    ("a pong between", [(0x02, b"He"), (0x8A, b""), (0x80, b"y")], [Pong(b""), BinaryMessage(b"Hey")]),
    ("ping of 125", [(0x89, b"x" * 125)], [Ping(b"x" * 125)]),
    ("close", [(0x88, b"")], [Close(1005, "")]),
    ("close with a code", [(0x88, b"\x03\xe8")], [Close(1000, "")]),
    ("close with a reason", [(0x88, b"\x03\xe9bye")], [Close(1001, "bye")]),
    ("close of an application", [(0x88, b"\x11\x31")], [Close(4401, "")]),
    ("close with 123 bytes", [(0x88, b"\x03\xe8" + b"x" * 123)], [Close(1000, "x" * 123)]),
    ("nothing after a close", [(0x88, b"\x03\xe8"), (0x81, b"late")], [Close(1000, "")]),
    ("ping of 126", [(0x89, b"x" * 126)], [Failure(1002, "")]),
    ("fragmented ping", [(0x09, b"")], [Failure(1002, "")]),
    ("fragmented close", [(0x08, b"\x03\xe8")], [Failure(1002, "")]),
    ("opcode 3", [(0x83, b"")], [Failure(1002, "")]),
    ("opcode 7", [(0x87, b"x")], [Failure(1002, "")]),
    ("opcode 11", [(0x8B, b"")], [Failure(1002, "")]),
    ("opcode 15", [(0x8F, b"x")], [Failure(1002, "")]),
    ("rsv1", [(0xC1, b"x")], [Failure(1002, "")]),
    ("rsv2", [(0xA1, b"x")], [Failure(1002, "")]),
    ("rsv3", [(0x91, b"x")], [Failure(1002, "")]),
    ("rsv1 of a ping", [(0xC9, b"")], [Failure(1002, "")]),
    ("rsv7 of a close", [(0xF8, b"")], [Failure(1002, "")]),
    ("a continuation of nothing", [(0x80, b"x")], [Failure(1002, "")]),
    ("an open continuation of nothing", [(0x00, b"x")], [Failure(1002, "")]),
    ("text in text", [(0x01, b"a"), (0x81, b"b")], [Failure(1002, "")]),
    ("binary in text", [(0x01, b"a"), (0x82, b"b")], [Failure(1002, "")]),
    ("a message, then a failure", [(0x81, b"ok"), (0x83, b""), (0x81, b"x")], [TextMessage("ok"), Failure(1002, "")]),
    ("invalid UTF-8", [(0x81, b"\xce\xba\xff")], [Failure(1007, "")]),
    ("overlong UTF-8", [(0x81, b"\xc0\xaf")], [Failure(1007, "")]),
    ("a surrogate", [(0x81, b"\xed\xa0\x80")], [Failure(1007, "")]),
    ("above U+10FFFF", [(0x81, b"\xf4\x90\x80\x80")], [Failure(1007, "")]),
    ("half a character at the end", [(0x81, b"\xe2\x82")], [Failure(1007, "")]),
    ("half a character at the end of fragments", [(0x01, b"a"), (0x80, b"\xe2\x82")], [Failure(1007, "")]),
    ("invalid in the first fragment", [(0x01, b"\xff")], [Failure(1007, "")]),
    ("half a character is not invalid yet", [(0x01, b"\xe2\x82")], []),
    ("close with one byte", [(0x88, b"\x03")], [Failure(1002, "")]),
    ("close with invalid UTF-8", [(0x88, b"\x03\xe8\xce\xba\xff")], [Failure(1007, "")]),
    *(
        (f"close {code}", [(0x88, code.to_bytes(2, "big"))], [Failure(1002, "")])
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    *(
        (f"close {code}", [(0x88, code.to_bytes(2, "big"))], [Close(code, "")])
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)
    ),
]


def named(events: Iterable[FrameEvent]) -> list[tuple[object, ...]]:
    """Return the events with their classes, as tuples of two classes may be equal."""
    return [(type(event).__name__, *event) for event in events]


def without_words(events: list[FrameEvent]) -> list[tuple[object, ...]]:
    """Return the events without the words of failures, which are for people."""
    assert all(event.reason for event in events if isinstance(event, Failure))
    return named(Failure(event.code, "") if isinstance(event, Failure) else event for event in events)


def feed_whole(protocol: FrameProtocol, data: bytes) -> list[FrameEvent]:
    return protocol.feed(data)


def feed_bytes(protocol: FrameProtocol, data: bytes) -> list[FrameEvent]:
    return [event for at in range(len(data)) for event in protocol.feed(data[at : at + 1])]


def feed_chunks(protocol: FrameProtocol, data: bytes) -> list[FrameEvent]:
    return [event for at in range(0, len(data), 997) for event in protocol.feed(data[at : at + 997])]


@pytest.mark.parametrize("feed", [feed_whole, feed_bytes, feed_chunks])
@pytest.mark.parametrize(
    ("frames", "events"), [row[1:] for row in CASES_OF_FRAMES], ids=[row[0] for row in CASES_OF_FRAMES]
)
def test_what_a_peer_sends(
    frames: list[tuple[int, bytes]],
    events: list[FrameEvent],
    feed: Callable[[FrameProtocol, bytes], list[FrameEvent]],
) -> None:
    if feed is feed_bytes and sum(len(payload) for _, payload in frames) > 10_000:
        feed = feed_chunks
    client, server = FrameProtocol("client"), FrameProtocol("server")
    assert without_words(feed(client, b"".join(frame(*one) for one in frames))) == named(events)
    assert without_words(feed(server, b"".join(server_frame(*one) for one in frames))) == named(events)
    ends = bool(events) and isinstance(events[-1], Close | Failure)
    assert client.ended is server.ended is ends


def test_frames_must_be_masked_by_clients_and_by_no_server() -> None:
    assert without_words(FrameProtocol("server").feed(frame(0x81, b"Hello"))) == named([Failure(1002, "")])
    assert without_words(FrameProtocol("client").feed(server_frame(0x81, b"Hello"))) == named([Failure(1002, "")])


@pytest.mark.parametrize(
    ("length", "payload"),
    [(b"\x7e\x00\x05", b"Hello"), (b"\x7f" + (5).to_bytes(8, "big"), b"Hello"), (b"\x7f\x80" + bytes(7), b"")],
)
def test_the_length_has_its_shortest_form(length: bytes, payload: bytes) -> None:
    events = FrameProtocol("client").feed(frame(0x81, payload, length=length))
    assert without_words(events) == named([Failure(1002, "")])


def test_the_examples_of_rfc_6455() -> None:
    assert FrameProtocol("server").text("Hello") == bytes.fromhex("81 05 48 65 6c 6c 6f")
    assert FrameProtocol("server").feed(bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")) == [TextMessage("Hello")]
    assert FrameProtocol("client").feed(bytes.fromhex("01 03 48 65 6c 80 02 6c 6f")) == [TextMessage("Hello")]
    assert FrameProtocol("server").ping(b"Hello") == bytes.fromhex("89 05 48 65 6c 6c 6f")
    assert FrameProtocol("server").feed(bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")) == [Pong(b"Hello")]
    assert FrameProtocol("server").binary(bytes(256))[:4] == bytes.fromhex("82 7e 01 00")
    assert FrameProtocol("server").binary(bytes(65536))[:10] == bytes.fromhex("82 7f 00 00 00 00 00 01 00 00")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("one frame", "c1 07 f2 48 cd c9 c9 07 00"),
        ("two fragments", "41 03 f2 48 cd 80 04 c9 c9 07 00"),
        ("a block without compression", "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"),
        ("the last block of a stream", "c1 08 f3 48 cd c9 c9 07 00 00"),
        ("two blocks", "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"),
        ("not compressed", "81 05 48 65 6c 6c 6f"),
        ("a ping between the fragments", "41 03 f2 48 cd 89 00 80 04 c9 c9 07 00"),
        ("a pong before it", "8a 00 c1 07 f2 48 cd c9 c9 07 00"),
    ],
)
def test_the_examples_of_rfc_7692(name: str, data: str) -> None:
    for feed in (feed_whole, feed_bytes):
        events = feed(FrameProtocol("client", deflate=STAYING), bytes.fromhex(data))
        assert [event for event in events if isinstance(event, TextMessage)] == [TextMessage("Hello")], name
        assert not any(isinstance(event, Failure) for event in events)


def test_a_window_stays_between_messages_only_if_that_was_agreed() -> None:
    """The second message of RFC 7692 section 7.2.3.2 refers to the first one."""
    both = bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00")
    assert FrameProtocol("client", deflate=STAYING).feed(both) == [TextMessage("Hello")] * 2
    events = FrameProtocol("client", deflate=FRESH).feed(both)
    assert without_words(events) == named([TextMessage("Hello"), Failure(1007, "")])


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("rsv1 of a continuation", "41 03 f2 48 cd c0 04 c9 c9 07 00", 1002),
        ("rsv1 of a ping", "c9 00", 1002),
        ("rsv2", "e1 07 f2 48 cd c9 c9 07 00", 1002),
        ("not deflate", "c1 04 ff ff ff ff", 1007),
        ("invalid UTF-8 inside", "c1 03 fa 0f 00", 1007),
    ],
)
def test_compressed_messages_that_break_the_protocol(name: str, data: str, code: int) -> None:
    events = FrameProtocol("client", deflate=STAYING).feed(bytes.fromhex(data))
    assert without_words(events) == named([Failure(code, "")]), name


# bounds


def test_a_message_is_too_big_by_its_declared_length() -> None:
    """The head of the frame is enough; nothing of the message is waited for."""
    protocol = FrameProtocol("server", max_message=100)
    assert protocol.feed(server_frame(0x81, b"x" * 100)) == [TextMessage("x" * 100)]
    head = server_frame(0x81, b"", length=b"\x7f" + (1 << 40).to_bytes(8, "big"))
    assert protocol.feed(head) == [Failure(1009, "a message must have at most 100 bytes")]


def test_fragments_count_together() -> None:
    protocol = FrameProtocol("server", max_message=100)
    assert protocol.feed(server_frame(0x01, b"x" * 60)) == []
    assert protocol.feed(server_frame(0x80, b"x" * 41)) == [Failure(1009, "a message must have at most 100 bytes")]


def test_bytes_count_and_not_characters() -> None:
    assert FrameProtocol("server", max_message=100).feed(server_frame(0x81, "\u20ac".encode() * 34)) == [
        Failure(1009, "a message must have at most 100 bytes")
    ]


@pytest.mark.parametrize("size", [99, 100, 101, 100_000])
def test_a_compressed_message_is_bounded_when_it_is_decompressed(size: int) -> None:
    sender = FrameProtocol("client", deflate=FRESH)
    receiver = FrameProtocol("server", max_message=100, deflate=FRESH)
    (event,) = receiver.feed(sender.text("x" * size))
    if size <= 100:
        assert event == TextMessage("x" * size)
    else:
        assert event == Failure(1009, "a message must have at most 100 bytes")


def test_a_message_after_a_large_one_has_the_whole_bound() -> None:
    for deflate in (None, FRESH, STAYING):
        sender = FrameProtocol("client", deflate=deflate)
        receiver = FrameProtocol("server", max_message=100, deflate=deflate)
        for _ in range(3):
            assert receiver.feed(sender.text("x" * 100)) == [TextMessage("x" * 100)]


def test_the_number_of_fragments_is_bounded() -> None:
    protocol = FrameProtocol("server", max_fragments=3)
    whole = [(0x01, b"a"), (0x00, b"b"), (0x80, b"c")]
    assert protocol.feed(b"".join(server_frame(*one) for one in whole * 2)) == [TextMessage("abc")] * 2
    endless = [(0x02, b""), (0x00, b""), (0x00, b""), (0x00, b"")]
    assert protocol.feed(b"".join(server_frame(*one) for one in endless)) == [
        Failure(CloseCode.POLICY_VIOLATION, "a message must have at most 3 fragments")
    ]


def test_many_fragments_take_little_more_than_their_text() -> None:
    protocol = FrameProtocol("server")
    protocol.feed(server_frame(0x01, b"x"))
    piece = server_frame(0x00, b"\xc3\xa9" * 5)
    tracemalloc.start()
    for _ in range(15_000):
        protocol.feed(piece)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 600_000  # the text has 150,000 bytes; a list of its parts would have 1.5 MB
    assert protocol.feed(server_frame(0x80)) == [TextMessage("x" + "\u00e9" * 75_000)]


@pytest.mark.parametrize("deflate", [None, FRESH])
def test_the_bytes_of_an_incomplete_message_are_known(deflate: Agreement | None) -> None:
    protocol = FrameProtocol("server", deflate=deflate)
    data = FrameProtocol("client", deflate=deflate).text("x" * 1000)
    assert protocol.feed(data[:-1]) == []
    assert protocol.buffered >= 990
    assert protocol.feed(data[-1:]) == [TextMessage("x" * 1000)]
    assert protocol.buffered == 0


def test_events_can_be_taken_one_at_a_time() -> None:
    """A reader that stops at a limit does not pay for the rest."""
    protocol = FrameProtocol("server")
    protocol.receive(server_frame(0x89, b"1") + server_frame(0x81, b"2") + server_frame(0x81, b"")[:3])
    assert protocol.next_event() == Ping(b"1")
    assert protocol.next_event() == TextMessage("2")
    assert protocol.next_event() is None
    protocol.receive(server_frame(0x81, b"")[3:])
    assert protocol.next_event() == TextMessage("")


# sending


def test_nothing_is_sent_after_a_close() -> None:
    protocol = FrameProtocol("server", deflate=FRESH)
    assert FrameProtocol("client").feed(protocol.close(CloseCode.SLOW_CONSUMER, "slow")) == [Close(4413, "slow")]
    assert protocol.closing
    messages = [protocol.text("x"), protocol.binary(b"x"), protocol.shared(SharedText("x"))]
    assert [*messages, protocol.ping(), protocol.pong(), protocol.close()] == [b""] * 6


def test_a_close_frame_fits_a_control_frame() -> None:
    data = FrameProtocol("server").close(1000, "\u20ac" * 100)
    assert len(data) == 2 + 2 + 123
    assert FrameProtocol("client").feed(data) == [Close(1000, "\u20ac" * 41)]


@pytest.mark.parametrize("code", [1005, 1006, 1015, 0, 99999])
def test_a_code_that_is_never_sent_is_left_out(code: int) -> None:
    assert FrameProtocol("server").close(code, "x") == b"\x88\x00"


def test_small_messages_are_not_compressed() -> None:
    protocol = FrameProtocol("server", deflate=FRESH._replace(settings=Deflate(min_size=10)))
    assert protocol.text("x" * 9)[0] == 0x81
    assert protocol.text("x" * 10)[0] == 0xC1
    assert protocol.ping(b"x" * 50)[0] == 0x89


def test_a_shared_message_is_encoded_once() -> None:
    message = SharedText("x" * 1000)
    plain = [FrameProtocol("server").shared(message) for _ in range(3)]
    fresh = [FrameProtocol("server", deflate=FRESH).shared(message) for _ in range(3)]
    assert plain[0] is plain[1] is plain[2]
    assert fresh[0] is fresh[1] is fresh[2]
    assert len(fresh[0]) < 100 < len(plain[0])
    assert FrameProtocol("client", deflate=FRESH).feed(fresh[0]) == [TextMessage("x" * 1000)]


def test_a_shared_message_fits_a_compressor_that_stays() -> None:
    sender, receiver = FrameProtocol("server", deflate=STAYING), FrameProtocol("client", deflate=STAYING)
    for text in ("first", "second first", "third second first"):
        assert receiver.feed(sender.shared(SharedText(text))) == [TextMessage(text)]
        assert receiver.feed(sender.text(text)) == [TextMessage(text)]


def test_each_frame_of_a_client_has_its_own_mask() -> None:
    protocol = FrameProtocol("client")
    frames = {protocol.text("same") for _ in range(1000)}  # more than one draw of random bytes is enough for
    assert len(frames) > 990  # 4 random bytes are seldom equal
    server = FrameProtocol("server")
    assert {event for frame in frames for event in server.feed(frame)} == {TextMessage("same")}


_MESSAGES = st.lists(
    st.one_of(
        st.text(max_size=300).map(TextMessage),
        st.binary(max_size=300).map(BinaryMessage),
        st.binary(max_size=125).map(Ping),
        st.integers(0, 70_000).map(lambda size: TextMessage("ab\u00e9" * (size // 4))),
    ),
    max_size=6,
)


@settings(max_examples=CASES, deadline=None)
@given(_MESSAGES, st.sampled_from([None, FRESH, STAYING]), st.booleans(), st.integers(1, 5000))
def test_what_one_side_sends_the_other_receives(
    messages: list[FrameEvent], deflate: Agreement | None, by_client: bool, step: int
) -> None:
    sender = FrameProtocol("client" if by_client else "server", deflate=deflate)
    receiver = FrameProtocol("server" if by_client else "client", deflate=deflate)
    data = b"".join(
        sender.text(one.text) if isinstance(one, TextMessage)
        else sender.binary(one.data) if isinstance(one, BinaryMessage)
        else sender.ping(one.payload)  # type: ignore[union-attr]
        for one in messages
    )  # fmt: skip
    found = [event for at in range(0, len(data), step) for event in receiver.feed(data[at : at + step])]
    assert named(found) == named(messages)


@settings(max_examples=CASES, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([None, FRESH, STAYING]), st.integers(1, 50))
def test_any_bytes_give_events_or_one_failure(data: bytes, deflate: Agreement | None, step: int) -> None:
    for side in ("server", "client"):
        protocol = FrameProtocol(side, max_message=100, deflate=deflate)  # type: ignore[arg-type]
        events = [event for at in range(0, len(data), step) for event in protocol.feed(data[at : at + step])]
        ends = [isinstance(event, Close | Failure) for event in events]
        assert not any(ends[:-1])
        assert protocol.ended is (True in ends)


@pytest.mark.parametrize("count", [255, 256, 257, 258, 512, 513])
@pytest.mark.parametrize("opcode", [1, 2], ids=["text", "binary"])
def test_no_fragment_of_many_is_lost(opcode: int, count: int) -> None:
    client = FrameProtocol("client")
    heads = [opcode, *[0] * (count - 2), 0x80]
    (event,) = client.feed(b"".join(frame(head, b"%04d" % index) for index, head in enumerate(heads)))
    whole = b"".join(b"%04d" % index for index in range(count))
    assert event == (TextMessage(whole.decode()) if opcode == 1 else BinaryMessage(whole))


#: The offers of the Autobahn test suite, sections 12 and 13; the last one offers three ways.
OFFERS = {
    "12, 13.1": "permessage-deflate",
    "13.2": "permessage-deflate; server_no_context_takeover",
    "13.3": "permessage-deflate; server_max_window_bits=9",
    "13.4": "permessage-deflate; server_max_window_bits=15",
    "13.5": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    "13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
    "13.7": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, "
    "permessage-deflate; server_no_context_takeover, permessage-deflate",
}
#: (bytes of a message, bytes of a fragment or 0 for one frame), as cases 1 to 18 of each of their parts.
SIZES = [
    *((size, 0) for size in (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072)),
    *((8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256)),
    *((131072, fragment) for fragment in (1024, 4096, 32768)),
]


def in_fragments(whole: bytes, size: int) -> bytes:
    """Return the frame of a server in fragments: the first one says that the message is compressed."""
    head = 2 if whole[1] < 126 else 4 if whole[1] == 126 else 10
    first, payload = whole[0], whole[head:]
    if not size or len(payload) <= size:
        return whole
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    heads = [first & 0x7F, *[0] * (len(parts) - 2), 0x80]
    return b"".join(frame(head, part) for head, part in zip(heads, parts, strict=True))


@pytest.mark.parametrize("content", ["text", "random"])
@pytest.mark.parametrize("offers", OFFERS.values(), ids=list(OFFERS))
def test_compressed_messages_of_all_sizes_and_fragments(offers: str, content: str) -> None:
    settings = Deflate(min_size=0, window_bits=15, memory_level=8, context_takeover=True)
    response, agreement = accept(settings, parse_elements(offers)) or pytest.fail("not accepted")
    seen = read_response(settings, parse_elements(response))
    server = FrameProtocol("server", deflate=agreement)
    client = FrameProtocol("client", deflate=seen)
    source = random.Random(7)
    for size, fragment in SIZES:
        words = "The quick brown fox jumps over the lazy dog. " * (size // 40 + 1)
        data = words[:size].encode() if content == "text" else source.randbytes(size)
        event = TextMessage(data.decode()) if content == "text" else BinaryMessage(data)
        for _ in range(2):  # the second one may refer to the first
            sent = server.text(data) if content == "text" else server.binary(data)
            assert client.feed(in_fragments(sent, fragment)) == [event], (size, fragment)
            back = client.text(data) if content == "text" else client.binary(data)
            assert server.feed(back) == [event], (size, fragment)
