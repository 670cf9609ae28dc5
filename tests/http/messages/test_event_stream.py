from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import ProtocolError
from portal.http.messages.event_stream import read_events, write_event

LIMIT = 1_000


def test_a_written_event_is_read() -> None:
    stream = write_event(b'{"n": 1}') + write_event(b"null", "complete")
    assert stream == b'data: {"n": 1}\n\nevent: complete\ndata: null\n\n'
    assert list(read_events([stream], LIMIT)) == [("", b'{"n": 1}'), ("complete", b"null")]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:1\n\n", [("", b"1")]),
        (b"data:  1\n\n", [("", b" 1")]),
        (b"data: 1\ndata: 2\n\n", [("", b"1\n2")]),
        (b"data\n\n", [("", b"")]),
        (b": comment\n\ndata: 1\n\n", [("", b"1")]),
        (b"event: x\n\n", []),
        (b"id: 7\nretry: 10\ndata: 1\n\n", [("", b"1")]),
        (b"data: 1\r\n\r\ndata: 2\r\rdata: 3\n\n", [("", b"1"), ("", b"2"), ("", b"3")]),
        (b"data: 1\n\ndata: incomplete", [("", b"1")]),
        (b"event: \xff\ndata: 1\n\n", [("\ufffd", b"1")]),
        (b"", []),
    ],
)
def test_events_of_a_stream(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert list(read_events([stream], LIMIT)) == events
    assert list(read_events([stream[at : at + 1] for at in range(len(stream))], LIMIT)) == events


@given(st.lists(st.binary(max_size=5), max_size=20))
def test_pieces_do_not_change_the_events(pieces: list[bytes]) -> None:
    assert list(read_events(pieces, LIMIT)) == list(read_events([b"".join(pieces)], LIMIT))


def test_an_event_is_yielded_when_it_is_complete() -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield b"data: 1\n\nda"
        raise AssertionError("the next piece is not needed")

    assert next(read_events(pieces(), LIMIT)) == ("", b"1")


def test_a_long_event_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="at most 1000 bytes"):
        list(read_events([b"data: " + b"x" * LIMIT], LIMIT))
    assert len(list(read_events([write_event(b"x" * 900)] * 10, LIMIT))) == 10


def test_an_event_in_small_pieces_is_scanned_once() -> None:
    body = b"data: " + b"1" * 200_000 + b"\n\n"
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    assert [len(data) for _, data in read_events(pieces, 1_000_000)] == [200_000]
