from __future__ import annotations

import sys
import tracemalloc
from itertools import cycle
from typing import Any

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


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, size = [], 0, cycle(sizes)
    while at < len(data):
        pieces.append(data[at : at + next(size)])
        at += len(pieces[-1])
    return pieces


def decode_counted(wire: bytes, limit: int) -> tuple[bytes, int]:
    """Decode a body as it arrives in pieces of 64 KiB; return it and the number of calls, of Python and C code."""
    decoder, calls, body = ChunkedDecoder(limit), 0, bytearray()

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    for at in range(0, len(wire), 65_536):
        piece = wire[at : at + 65_536]
        sys.setprofile(count)
        try:
            body += decoder.feed(piece)
        finally:
            sys.setprofile(None)
    assert decoder.complete
    return bytes(body), calls


DATA = bytes(range(256)) * 1024


@pytest.mark.parametrize("sizes", [[1], [2], [1, 2, 3], [15, 1], [7, 14], [3, 1, 4, 1, 5, 9, 2, 6, 5], [10]])
def test_small_chunks_take_no_more_steps_than_large_ones(sizes: list[int]) -> None:
    """The calls grow with the bytes that arrive, not with the chunks."""
    wire = encode(cut(DATA, sizes))
    body, calls = decode_counted(wire, len(DATA))
    assert body == DATA
    pieces = len(wire) // 65_536 + 1
    _, calls_of_large_chunks = decode_counted(encode(cut(DATA * 8, [65_000])), 8 * len(DATA))
    assert calls / pieces <= 3 * calls_of_large_chunks / (len(DATA) * 8 / 65_536)


@pytest.mark.parametrize("sizes", [[1], [1, 17], [16], [40, 3]])
def test_small_chunks_take_no_more_memory_than_their_bytes(sizes: list[int]) -> None:
    wire = encode(cut(DATA, sizes))
    decoder = ChunkedDecoder(len(DATA))
    tracemalloc.start()
    try:
        for at in range(0, len(wire), 65_536):
            decoder.feed(wire[at : at + 65_536])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000


@pytest.mark.parametrize("line", [b"1;", b"01", b"0000000000000001", b"1 ", b"1\t;a", b"02;"])
def test_lines_that_are_longer_than_they_need_to_be_are_limited(line: bytes) -> None:
    """They are decoded one by one, so a body of small chunks must not consist of them."""
    chunk = line + b"\r\n" + b"x" * int(line.partition(b";")[0], 16) + b"\r\n"
    decoder = ChunkedDecoder(1 << 20)
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(chunk * 20_000)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "wire", [b"1\r\nab\r\n", b"2\r\na\r\n1\r\n", b"1\r\na\r\n2\r\nabc\r\n", b"11\r\n" + b"a" * 18 + b"\r\n"]
)
def test_a_wrong_size_is_found_among_small_chunks(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedDecoder(100).feed(b"1\r\na\r\n" * 3 + wire + b"0\r\n\r\n")


def test_the_limit_applies_to_many_small_chunks() -> None:
    for sizes in ([1], [2, 1], [16]):
        decoder = ChunkedDecoder(1000)
        with pytest.raises(ProtocolError) as caught:
            decoder.feed(encode(cut(DATA[:1001], sizes)))
        assert caught.value.status == 413
        assert ChunkedDecoder(1001).feed(encode(cut(DATA[:1001], sizes))) == DATA[:1001]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 50))
def test_chunks_of_any_sizes_in_pieces_of_any_size(sizes: list[int], step: int) -> None:
    data = b"1\r\n2\r\n\r\nf" * 20
    wire = encode(cut(data, sizes))
    decoder = ChunkedDecoder(len(data))
    assert b"".join(decoder.feed(wire[at : at + step]) for at in range(0, len(wire), step)) == data
    assert decoder.complete
    assert ChunkedDecoder(len(data)).feed(wire) == data
