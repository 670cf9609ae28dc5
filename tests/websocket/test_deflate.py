"""permessage-deflate: settings, negotiation by RFC 7692 section 7.1, and bounds of decompression."""

from __future__ import annotations

import zlib

import pytest

from portal import ConfigError
from portal.errors import ProtocolError
from portal.http11.parameters import parse_elements
from portal.websocket.deflate import (
    Agreement,
    Compressor,
    Decompressor,
    Deflate,
    TooLarge,
    accept,
    offer,
    read_response,
)

STAYING = Deflate(context_takeover=True, window_bits=11)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_size", -1),
        ("window_bits", 8),
        ("window_bits", 16),
        ("memory_level", 0),
        ("level", 10),
        ("context_takeover", 1),
    ],
)
def test_wrong_settings(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"deflate\.{name} must be"):
        Deflate(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offers", "response"),
    [
        ("permessage-deflate", "server_max_window_bits=11"),
        ("permessage-deflate; client_max_window_bits", "server_max_window_bits=11; client_max_window_bits=11"),
        ("permessage-deflate; client_max_window_bits=9", "server_max_window_bits=11; client_max_window_bits=9"),
        ("permessage-deflate; client_max_window_bits=15", "server_max_window_bits=11; client_max_window_bits=11"),
        ("permessage-deflate; server_max_window_bits=9", "server_max_window_bits=9"),
        ('permessage-deflate; server_max_window_bits="10"', "server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=8", "server_max_window_bits=8"),
        ("permessage-deflate; server_no_context_takeover", "server_max_window_bits=11; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "server_max_window_bits=11; client_no_context_takeover"),
        # an offer with a fault is skipped
        ("permessage-deflate; foo, permessage-deflate; client_no_context_takeover=1, permessage-deflate; "
         "server_max_window_bits=9", "server_max_window_bits=9"),
        ("PerMessage-Deflate", "server_max_window_bits=11"),
    ],
)  # fmt: skip
def test_offers_that_are_accepted(offers: str, response: str) -> None:
    found = accept(STAYING, parse_elements(offers))
    assert found is not None
    assert found[0] == f"permessage-deflate; {response}"


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=+9",
        "client_max_window_bits=0",
        "client_max_window_bits=x",
        "server_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=9; server_max_window_bits=9",
        "unknown",
    ],
)
def test_offers_that_are_not_accepted(parameters: str) -> None:
    assert accept(Deflate(), parse_elements(f"permessage-deflate; {parameters}")) is None


def test_a_client_that_may_be_bounded_by_default_keeps_nothing() -> None:
    found = accept(Deflate(), parse_elements(offer(Deflate())))
    assert found is not None
    assert (found[1].send_takeover, found[1].receive_takeover) == (False, False)
    assert (found[1].send_bits, found[1].receive_bits) == (12, 12)


def test_the_response_to_an_offer() -> None:
    settings = Deflate(context_takeover=True)
    plain = read_response(settings, parse_elements("permessage-deflate"))
    assert plain == Agreement(settings, 12, 15, True, True)
    bounded = "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; client_no_context_takeover"
    assert read_response(settings, parse_elements(bounded)) == Agreement(settings, 9, 10, False, True)


@pytest.mark.parametrize(
    "response",
    [
        "x-other",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_responses_that_do_not_fit_the_offer(response: str) -> None:
    with pytest.raises(ProtocolError, match="the server"):
        read_response(Deflate(), parse_elements(response))


def agreement(**changes: object) -> Agreement:
    return Agreement(Deflate(), 12, 12, True, True)._replace(**changes)


def test_messages_go_round_trip_with_and_without_takeover() -> None:
    for stays in (True, False):
        agreed = agreement(send_takeover=stays, receive_takeover=stays)
        sender, receiver = Compressor(agreed), Decompressor(agreed)
        sizes = []
        for message in [b'{"level": 12345, "sku": "PEN-0815"}'] * 3 + [b"", b"x", b"abc" * 5000]:
            packed = sender.compress(message)
            sizes.append(len(packed))
            assert receiver.decompress(packed, 20_000) + receiver.finish(20_000) == message
        assert (sizes[1] < sizes[0]) is stays


def test_a_window_of_8_bits_is_not_compressed_for() -> None:
    assert not Compressor(agreement(send_bits=8)).wants(10_000)
    assert Compressor(agreement()).wants(1024)
    assert not Compressor(agreement()).wants(1023)


@pytest.mark.parametrize("limit", [0, 1, 999, 1000, 10_000])
def test_decompression_stops_at_the_limit(limit: int) -> None:
    packed = Compressor(agreement()).compress(b"\0" * 10_000)
    receiver = Decompressor(agreement())
    if limit < 10_000:
        with pytest.raises(TooLarge):
            receiver.decompress(packed, limit)
    else:
        assert len(receiver.decompress(packed, limit)) == 10_000


def test_a_gigabyte_of_zeros_is_never_built() -> None:
    """1 MB of the bomb would become 1 GB; the decompressor gives up after the first bytes above the limit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(50)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge):
        Decompressor(agreement(receive_bits=15)).decompress(bomb, 1000)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x07", b"not deflate at all"])
def test_data_that_is_not_deflate(data: bytes) -> None:
    receiver = Decompressor(agreement())
    with pytest.raises(zlib.error):
        receiver.decompress(data, 1000) + receiver.finish(1000)


def test_a_stream_may_end_in_a_message_but_not_often() -> None:
    """RFC 7692 section 7.2.3.4. Each end costs a new decompressor, so a message of nothing else would be expensive."""
    one = b"\xf3\x48\xcd\xc9\xc9\x07\x00"
    receiver = Decompressor(agreement())
    assert receiver.decompress(one + b"\x00", 100) + receiver.finish(100) == b"Hello"
    assert receiver.decompress(one * 10 + b"\x00", 100) + receiver.finish(100) == b"Hello" * 10
    with pytest.raises(zlib.error, match="too many streams"):
        receiver.decompress(b"\x03\x00" * 1000, 100)


def test_a_compressor_that_rests_goes_on_for_the_same_decompressor() -> None:
    _, agreement = accept(STAYING, parse_elements("permessage-deflate; client_max_window_bits")) or pytest.fail("none")
    client = read_response(STAYING, parse_elements("permessage-deflate; server_max_window_bits=11"))
    sender, receiver = Compressor(agreement), Decompressor(client)
    message = b"the same words again and again, " * 8
    sizes = []
    for rests in (False, False, True, False):
        if rests:
            sender.rest()
        packed = sender.compress(message)
        sizes.append(len(packed))
        assert receiver.decompress(packed, 10_000) + receiver.finish(10_000) == message
    assert sizes[1] < sizes[0], "it refers to the message before"
    assert sizes[2] == sizes[0], "it has forgotten that"
    assert sizes[3] == sizes[1]
