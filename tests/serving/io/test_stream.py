"""Streams on socket pairs: the kernel's time limits, and `poll` where the kernel has none. TLS is in test_tls.py."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trustme

from portal.serving.io import stream as streams
from portal.serving.io.stream import PlainStream, Stream, TLSStream, plain_stream
from tests.support.broken_tls import break_a_connection, connected

LINGER = 0.01
Make = Callable[[socket.socket, float], Stream]


@pytest.fixture(params=[PlainStream, streams._PolledStream], ids=["kernel", "poll"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10.0)
    stream = request.param(ours, LINGER)
    with theirs:
        yield stream, theirs
        stream.close()


@pytest.mark.parametrize("read", ["read_now", "read_soon"])
def test_reading_tells_nothing_yet_from_the_end(pair: tuple[Stream, socket.socket], read: str) -> None:
    stream, theirs = pair
    assert getattr(stream, read)() is None
    theirs.sendall(b"bytes")
    assert getattr(stream, read)() == b"bytes"
    theirs.shutdown(socket.SHUT_WR)
    assert getattr(stream, read)() == b""


def test_the_rest_of_what_has_arrived_is_read_later(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.sendall(b"bytes")
    assert [stream.read_now(3), stream.read_now(3), stream.read_now(3)] == [b"byt", b"es", None]


def test_send_some_sends_what_the_system_takes_and_never_waits(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    data = b"x" * 10_000_000  # more than a socket holds
    sent = stream.send_some(data)
    assert 0 < sent < len(data)
    while taken := stream.send_some(memoryview(data)[sent:]):
        sent += taken
    assert stream.count_unacknowledged() > 0 or sys.platform != "linux"
    read = 0
    while read < sent:
        read += len(theirs.recv(1_000_000))
    assert stream.count_unacknowledged() == 0
    assert stream.send_some(b"more") == 4


def test_send_some_raises_if_the_client_is_gone(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.close()
    with pytest.raises(ConnectionError):
        stream.send_some(b"bytes")


def test_an_aborted_stream_ends_for_both_sides(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    stream.abort()
    stream.abort()
    assert theirs.recv(10) == b""
    assert stream.read_now() == b""
    assert stream.is_hung_up() or sys.platform != "linux"
    with pytest.raises(ConnectionError):
        stream.send_some(b"bytes")


def test_after_shut_writing_the_client_can_still_send(pair: tuple[Stream, socket.socket]) -> None:
    stream, theirs = pair
    stream.shut_writing()
    assert theirs.recv(10) == b""
    theirs.sendall(b"bytes")
    assert stream.read_soon() == b"bytes"


@pytest.mark.parametrize(
    ("flag", "kind"), [(1, PlainStream), (0, streams._PolledStream)], ids=["MSG_DONTWAIT", "no MSG_DONTWAIT"]
)
def test_the_kind_of_stream_depends_on_the_system(flag: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_DONT_WAIT", flag)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert type(plain_stream(ours, LINGER)) is kind


def test_a_broken_tls_connection_of_the_thread_does_not_end_another() -> None:
    with connected() as (tls, _):
        stream = TLSStream(tls, 1.0, lambda _: tls)
        break_a_connection()
        assert stream.do_handshake()  # it is complete
        break_a_connection()
        assert stream.read_now() is None
        break_a_connection()
        assert stream.send_some(b"x") == 1
        sent = 1
        while sent:  # until the socket takes no more
            break_a_connection()
            sent = stream.send_some(b"x" * 100_000)


def test_a_broken_tls_connection_of_the_thread_does_not_end_a_handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        stream = TLSStream(ours, 1.0, partial(context.wrap_socket, server_side=True, do_handshake_on_connect=False))
        for _ in range(3):
            break_a_connection()
            assert not stream.do_handshake()  # nothing has arrived
        stream.close()
