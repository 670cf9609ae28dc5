"""TLSConnection, over a socket pair; with a listener in tests/serving/io/test_tls.py."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic

import pytest

from portal import ProtocolError
from portal.http.client.tls_connection import TLSState, start_tls
from portal.network.dial import StaleConnection
from tests.support.tls_pair import WAIT, Pair, contexts, in_background, tls_pair

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def is_open(pair: Pair) -> bool:
    return pair.connection._sock.fileno() >= 0


def test_a_request_gets_its_response_over_tls() -> None:
    with tls_pair() as pair:
        pair.server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        response = pair.connection.exchange(b"request", monotonic() + WAIT)
        assert response.read_buffered() == b"ok"
        assert pair.server.recv(100) == b"request"
        assert not pair.connection.is_dropped()


def test_large_requests_and_responses_arrive_whole() -> None:
    body = bytes(range(256)) * 8_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    received = []
    with tls_pair() as pair:

        def serve() -> None:
            left = len(body)
            while left:
                received.append(pair.server.recv(min(left, 65536)))
                left -= len(received[-1])
            pair.server.sendall(head + body)

        thread = in_background(serve)
        response = pair.connection.exchange(body, monotonic() + WAIT)
        assert b"".join(response.iter_body()) == body
        thread.join(WAIT)
        assert b"".join(received) == body
        assert not pair.connection.is_dropped()


def test_a_record_that_arrives_byte_by_byte_does_not_outlast_the_deadline() -> None:
    """OpenSSL would wait for the whole record, each time for as long as a read may take."""
    over = threading.Event()
    with tls_pair() as pair:

        def drip() -> None:
            pair.bare.send(b"\x17\x03\x03\x40\x00")  # the head of a record of 16 KiB
            with suppress(OSError):
                while not over.wait(0.01):
                    pair.bare.send(b"x")

        thread = in_background(drip)
        with pytest.raises(TimeoutError):
            pair.connection.exchange(b"request", monotonic() + 0.5)
        over.set()
        thread.join(WAIT)
        assert not is_open(pair)


def test_a_silent_server_times_out_after_the_read_timeout() -> None:
    with tls_pair(read_timeout=0.05) as pair, pytest.raises(TimeoutError):
        pair.connection.exchange(b"request", monotonic() + WAIT)


@pytest.mark.parametrize("version", VERSIONS)
def test_session_tickets_do_not_drop_an_idle_connection(version: ssl.TLSVersion) -> None:
    with tls_pair(maximum=version) as pair:
        assert not pair.connection.is_dropped()  # TLS 1.3 has sent tickets
        assert not pair.connection.is_dropped()
        pair.server.sendall(EMPTY)
        assert pair.connection.exchange(b"request", monotonic() + WAIT).read_buffered() == b""


def test_what_drops_an_idle_connection() -> None:
    with tls_pair() as pair:
        pair.server.sendall(b"unasked")
        assert pair.connection.is_dropped()
    with tls_pair() as pair:
        pair.bare.shutdown(socket.SHUT_WR)
        assert pair.connection.is_dropped()
    with tls_pair() as pair:
        pair.server.settimeout(0.0)
        with suppress(ssl.SSLError):
            pair.server.unwrap()
        assert pair.connection.is_dropped()
    with tls_pair() as pair:
        pair.bare.send(b"not a record of TLS")
        assert pair.connection.is_dropped()


def test_a_response_that_nobody_asked_for_drops_the_connection() -> None:
    """It arrived with the response before it, in a record of its own."""
    with tls_pair() as pair:
        pair.server.sendall(EMPTY)
        pair.server.sendall(EMPTY)
        response = pair.connection.exchange(b"request", monotonic() + WAIT)
        assert response.read_buffered() == b""
        assert pair.connection.is_dropped()


@pytest.mark.parametrize("announced", [True, False])
def test_only_a_kept_connection_is_stale(announced: bool) -> None:
    with tls_pair() as pair:
        pair.server.sendall(EMPTY)
        pair.connection.exchange(b"first", monotonic() + WAIT).read_buffered()
        end(pair, announced)
        with pytest.raises(StaleConnection):
            pair.connection.exchange(b"second", monotonic() + WAIT)
    with tls_pair() as pair:
        end(pair, announced)
        with pytest.raises(ConnectionResetError):
            pair.connection.exchange(b"first", monotonic() + WAIT)


def end(pair: Pair, announced: bool) -> None:
    """End the server's output, with or without close_notify."""
    if announced:
        pair.server.settimeout(0.0)
        with suppress(ssl.SSLError):
            pair.server.unwrap()
    pair.bare.shutdown(socket.SHUT_WR)


def test_a_body_that_ends_with_the_connection_must_end_with_close_notify() -> None:
    for announced in (True, False):
        with tls_pair() as pair:
            pair.server.sendall(b"HTTP/1.1 200 OK\r\n\r\n32")
            response = pair.connection.exchange(b"request", monotonic() + WAIT)
            end(pair, announced)
            if announced:
                assert b"".join(response.iter_body()) == b"32"
                continue
            with pytest.raises(ConnectionResetError, match="without close_notify"):
                list(response.iter_body())


def test_another_protocol_on_the_port_is_not_a_response() -> None:
    with tls_pair() as pair:
        pair.server.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        with pytest.raises(ProtocolError, match="does not speak HTTP"):
            pair.connection.exchange(b"request", monotonic() + WAIT)
        assert not is_open(pair)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed_by_the_next_connection(version: ssl.TLSVersion) -> None:
    with tls_pair(maximum=version) as pair:
        assert not pair.connection.resumed
        pair.server.sendall(EMPTY * 2)
        pair.connection.exchange(b"request", monotonic() + WAIT)
        pair.connection.release(True)
        pair.connection.close()
        (session,) = pair.owner.sessions
    with tls_pair(maximum=version, session=session) as pair:
        assert pair.connection.resumed


def test_a_server_with_another_name_gets_an_alert_and_no_request() -> None:
    client, context = contexts()
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT)
    theirs.settimeout(WAIT)
    alerts: list[ssl.SSLError] = []
    with ours, context.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False) as server:

        def serve() -> None:
            try:
                server.do_handshake()
                server.recv(1)
            except ssl.SSLError as error:
                alerts.append(error)

        thread = in_background(serve)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"Hostname mismatch.*'other\.example'"):
            start_tls(ours, TLSState(client, "other.example", None), monotonic() + WAIT)
        thread.join(WAIT)
    assert "ALERT" in (alerts[0].reason or "")


def test_a_handshake_has_a_limit() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        start_tls(ours, TLSState(contexts()[0], "localhost", None), monotonic() + 0.05)


def test_a_server_that_sends_tickets_without_end_does_not_hold_its_caller() -> None:
    """Whatever is read, more has arrived by then: the look at an idle connection has no deadline."""
    with tls_pair() as pair:
        state, reads = pair.connection._state, []

        class Endless:
            has_input = False

            def feed(self, data: bytes) -> None:
                assert data
                reads.append(len(data))
                if len(reads) < 1000:
                    pair.bare.send(b"x")

            def decrypt(self) -> None:
                """Return None: a ticket is no data."""

        pair.connection._state = Endless()  # type: ignore[assignment]
        pair.bare.send(b"x")
        assert pair.connection.is_dropped()
        assert len(reads) < 20
        pair.connection._state = state
