from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.errors import ProtocolError
from portal.http11.chunked import ChunkedDecoder


def encode(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n" + trailers + b"\r\n"


def test_data_trailers_and_remainder() -> None:
    decoder = ChunkedDecoder(100)
    data = b"3;name=value\r\nabc\r\n02 \r\nde\r\n0\r\nX-A: b\r\nHost: evil\r\n\r\nGET /"
    assert decoder.feed(data) == b"abcde"
    assert decoder.complete
    assert decoder.trailers == {"x-a": "b"}
    assert decoder.remainder == b"GET /"
    assert decoder.feed(b" HTTP") == b""
    assert decoder.remainder == b"GET / HTTP"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n", 400),
        (b"g\r\n", 400),
        (b"-1\r\n", 400),
        (b"+1\r\n", 400),
        (b"0x1\r\n", 400),
        (b" 1\r\n", 400),
        (b"1_0\r\n", 400),
        (b"11111111111111111\r\n", 400),
        (b"1\n", 400),
        (b"1\r", 0),
        (b"1;" + b"a" * 400 + b"\r\n", 0),
        (b"1\r\nabc", 400),
        (b"1\r\naX", 400),
        (b"1\r\na\rX", 400),
        (b"1\r\na\nX", 400),
        (b"1;\x00\r\n", 400),
        (b"1;" + b"a" * 600, 431),
        (b"1;" + b"a" * 600 + b"\r\n", 400),
        (b"ff\r\n", 413),
        (b"0\r\nbad\r\n", 400),
        (b"0\r\n a: b\r\n", 400),
        (b"0\r\n" + b"a" * 9000, 431),
        (b"0\r\n" + b"a: b\r\n" * 2500, 431),
    ],
)
def test_malformed_chunks_are_rejected(data: bytes, status: int) -> None:
    decoder = ChunkedDecoder(100)
    if not status:
        assert decoder.feed(data) == b""
        assert not decoder.complete
        return
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(data)
    assert caught.value.status == status


def test_the_limit_of_extensions_grows_with_the_data() -> None:
    decoder = ChunkedDecoder(1_000_000)
    chunk = b"1;" + b"a" * 400 + b"\r\nx\r\n"
    assert decoder.feed(chunk * 40) == b"x" * 40
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(chunk)
    assert caught.value.status == 400
    decoder = ChunkedDecoder(1_000_000)
    chunk = b"1f4;" + b"a" * 400 + b"\r\n" + b"x" * 500 + b"\r\n"
    assert decoder.feed(chunk * 100) == b"x" * 50_000


def test_the_limit_applies_to_the_whole_body() -> None:
    decoder = ChunkedDecoder(4)
    assert decoder.feed(b"3\r\nabc\r\n") == b"abc"
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(b"2\r\n")
    assert caught.value.status == 413


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(0, 120), st.binary(max_size=5))
def test_a_body_in_pieces_of_any_size_is_decoded(pieces: list[bytes], at: int, rest: bytes) -> None:
    data = encode(pieces, b"X-T: v\r\n") + rest
    decoder = ChunkedDecoder(1000)
    got = decoder.feed(data[:at]) + decoder.feed(data[at:])
    assert got == b"".join(pieces)
    assert decoder.complete
    assert decoder.remainder == rest
    single = ChunkedDecoder(1000)
    assert b"".join(single.feed(data[n : n + 1]) for n in range(len(data))) == got


@given(st.binary(max_size=60))
def test_any_bytes_stay_within_the_limit(data: bytes) -> None:
    decoder = ChunkedDecoder(50)
    try:
        size = len(decoder.feed(data))
    except ProtocolError:
        size = 0
    assert size <= 50


@pytest.mark.parametrize(
    "data",
    [
        b"1;" + b"a" * 510 + b"\r\nx\r\n0\r\n\r\n",  # the longest allowed line
        b"0\r\nA: " + b"b" * 8189 + b"\r\n\r\n",
    ],
)
def test_the_longest_line_may_arrive_byte_by_byte(data: bytes) -> None:
    whole = ChunkedDecoder(100)
    body = whole.feed(data)
    assert whole.complete
    single = ChunkedDecoder(100)
    assert b"".join(single.feed(data[at : at + 1]) for at in range(len(data))) == body
    assert single.complete
