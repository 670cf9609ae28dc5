"""RequestReader as a state machine: requests that arrive in any pieces are read completely and exactly.

And against a foreign reader (h11): of requests damaged by one byte, those that are taken are taken in the same bounds.
"""

from __future__ import annotations

import os
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from portal.errors import ProtocolError
from portal.http11.head_cache import HeadCache
from portal.serving.bounds.disk import DiskBudget
from portal.serving.messages import request_reader
from portal.serving.messages.request_reader import RequestReader
from portal.serving.messages.stored_body import BodyRule, BodyStore
from tests.support.clocks import Clock

CASES = int(os.environ.get("PORTAL_FUZZ_CASES", "60"))
_TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
_VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
_SPACE = st.sampled_from([b"", b" ", b"\t", b"  \t"])


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[str, str, bytes], bool]:
    """Return a valid request as bytes, its method, target and body, and whether its client waits for 100 Continue."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "BREW"]))
    target = "/" + draw(st.text("ab/%21?=&;@", max_size=12))
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: x"]
    for name, value in draw(st.lists(st.tuples(_TOKEN, _VALUE), max_size=4)):
        lines.append(f"X-{name}:".encode() + draw(_SPACE) + value.encode() + draw(_SPACE))
    waits = draw(st.booleans())
    if waits:
        lines.append(b"Expect: 100-continue")
    body = draw(st.binary(max_size=40))
    kind = draw(st.sampled_from(["none", "sized", "chunked"]))
    if kind == "sized":
        lines.append(b"Content-Length: %d" % len(body))
        after = body
    elif kind == "chunked":
        lines.append(b"transfer-encoding: Chunked")
        after = _chunks(draw, body)
    else:
        body = after = b""
    blank = draw(st.sampled_from([b"", b"", b"\r\n"]))
    return blank + b"\r\n".join([*lines, b"", after]), (method, target, body), waits and bool(after)


def _chunks(draw: st.DrawFn, body: bytes) -> bytes:
    data, extensions = b"", st.sampled_from([b"", b"", b";a=b", b' ;a="x;y"'])
    while body:
        size = draw(st.integers(1, len(body)))
        data += b"%x" % size + draw(extensions) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = draw(st.sampled_from([b"", b"X-T: v\r\n", b"Host: evil\r\nA:\r\n"]))
    return data + draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n" + trailers + b"\r\n"


class ReaderMachine(RuleBasedStateMachine):
    """A client that sends requests in a row, and a network that splits them anywhere."""

    cache = HeadCache(max_entries=3)  # of all runs: what it has seen must not matter

    def __init__(self) -> None:
        super().__init__()
        self.reader = RequestReader(4096, 4096, self.cache)
        self.sent = b""  # and not yet arrived
        self.meant: list[tuple[str, str, bytes]] = []
        self.got: list[tuple[str, str, bytes]] = []

    @rule(one=requests())
    def send(self, one: tuple[bytes, tuple[str, str, bytes], bool]) -> None:
        data, meant, _ = one
        self.sent += data
        self.meant.append(meant)

    @precondition(lambda self: self.sent)
    @rule(size=st.integers(1, 60))
    def arrive(self, size: int) -> None:
        data, self.sent = self.sent[:size], self.sent[size:]
        self.reader.feed(data)
        self.take()

    @precondition(lambda self: self.sent)
    @rule()
    def arrive_whole(self) -> None:
        data, self.sent = self.sent, b""
        self.reader.feed(data)
        self.take()
        assert self.got == self.meant
        assert self.reader.state == "idle"

    def take(self) -> None:
        while (found := self.reader.next_request()) is not None:
            head, body, _ = found
            self.got.append((head.method, head.target, body))

    @invariant()
    def what_came_was_meant(self) -> None:
        assert self.got == self.meant[: len(self.got)]
        if not self.sent:
            assert self.got == self.meant

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert not self.reader.wants_continue or self.reader.state == "body"


ReaderMachine.TestCase.settings = settings(max_examples=CASES, deadline=None, stateful_step_count=20)
TestReaderMachine = ReaderMachine.TestCase


class StoringReaderMachine(ReaderMachine):
    """The same with bodies that go to disk from 8 bytes on."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = DiskBudget(1_000_000)
        store = BodyStore(self.budget, lambda head: BodyRule(None, on_disk=True))
        self.reader = RequestReader(4096, 4096, self.cache, store=store, client="a")
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(request_reader, "IN_MEMORY", 8)

    def take(self) -> None:
        while (found := self.reader.next_request()) is not None:
            head, body, _ = found
            data = body if isinstance(body, bytes) else body.read_at(0, body.size + 1)
            self.got.append((head.method, head.target, data))

    @invariant()
    def little_is_in_memory(self) -> None:
        # What has just arrived is written when more arrives.
        assert self.reader.buffered <= 8 + 60 or not self.reader.storing

    def teardown(self) -> None:
        self.patch.undo()
        self.reader.drop()
        assert self.budget.used == 0


StoringReaderMachine.TestCase.settings = settings(max_examples=CASES, deadline=None, stateful_step_count=20)
TestStoringReaderMachine = StoringReaderMachine.TestCase


@settings(max_examples=CASES, deadline=None)
@given(requests())
def test_100_continue_is_sent_once_and_only_before_the_body(one: tuple[bytes, Any, bool]) -> None:
    data, meant, waits = one
    head, blank, body = data.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    reader = RequestReader(4096, 4096, HeadCache())
    reader.feed(head + blank)
    found = reader.next_request()
    if not body:
        assert found is not None
        assert not reader.wants_continue
        return
    assert found is None
    assert reader.wants_continue is waits
    reader.feed(body)
    found = reader.next_request()
    assert found is not None
    assert found[1] == meant[2]
    assert not reader.wants_continue


# against h11


def ours(data: bytes) -> list[tuple[str, str, bytes]]:
    reader = RequestReader(65536, 65536, HeadCache())
    reader.feed(data)
    found: list[tuple[str, str, bytes]] = []
    try:
        while (one := reader.next_request()) is not None:
            found.append((one[0].method, one[0].target, one[1]))
            if not one[0].keep_alive:
                break  # the connection is closed after it
    except ProtocolError:
        pass
    return found


def theirs(data: bytes) -> tuple[list[tuple[str, str, bytes]], bool]:
    """Return the requests, and whether the reader read to the end of the data."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    reader.receive_data(data)
    found: list[tuple[str, str, bytes]] = []
    method, target, body = "", "", b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            return found, False
        if event is h11.NEED_DATA:
            return found, True
        if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return found, False
        if isinstance(event, h11.Request):
            method, target, body = event.method.decode(), event.target.decode(), b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            found.append((method, target, body))
            reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            reader.send(h11.EndOfMessage())
            if reader.our_state is not h11.DONE:
                return found, False
            reader.start_next_cycle()


@settings(max_examples=CASES * 3, deadline=None)
@given(
    st.lists(requests(), min_size=1, max_size=3),
    st.floats(0, 1),
    st.one_of(st.none(), st.sampled_from(b"\r\n\0 :;,\t-+0x"), st.integers(0, 255)),
)
def test_another_parser_finds_the_same_ends_in_damaged_requests(
    sent: list[Any], place: float, byte: int | None
) -> None:
    data = b"".join(one[0].removeprefix(b"\r\n") for one in sent)
    if byte is not None:
        at = int(place * (len(data) - 1))
        data = data[:at] + bytes([byte]) + data[at + 1 :]
    mine, (other, whole) = ours(data), theirs(data)
    # Either may refuse what the other takes, but what both take is the same, and none takes more than the other saw.
    shared = min(len(mine), len(other))
    assert mine[:shared] == other[:shared]
    if whole:
        assert len(mine) <= len(other)
    if byte is None:
        assert mine == [one[1] for one in sent]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
def test_pipelined_requests_of_every_kind(size: int) -> None:
    data = (
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\n"
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;e\r\nab\r\n1\r\nc\r\n0\r\nT: v\r\n\r\n"
        b"HEAD /d HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    reader, got = RequestReader(4096, 4096, HeadCache()), []
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
        while (one := reader.next_request()) is not None:
            got.append((one[0].target, one[1]))
    assert got == [("/a", b""), ("/b", b"abc"), ("/c", b"abc"), ("/d", b"")]


def test_a_request_arrives_with_the_end_of_its_head() -> None:
    clock = Clock(10.0)
    reader = RequestReader(4096, 4096, HeadCache(), clock)
    head, body = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"{}"
    for now, data in ((10.0, head[:9]), (11.0, head[9:]), (12.0, body[:1])):
        clock.now = now
        reader.feed(data)
        assert reader.next_request() is None
    clock.now = 13.0
    reader.feed(body[1:] + head + body)  # the second request arrives with the end of the first
    arrived = []
    for now in (14.0, 15.0):
        clock.now = now
        found = reader.next_request()
        assert found is not None
        arrived.append(found[2])
    assert arrived == [11.0, 13.0]
