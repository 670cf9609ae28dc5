"""One bounded HTTP request."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from portal.auth.fetch import fetch
from portal.errors import ProtocolError, TransportError
from tests.support.tokens import WAIT, Issuer


def test_an_answer_that_drips_is_cut_at_the_deadline(issuer: Issuer) -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while not stop.wait(0.01):
                handler.wfile.write(b"y")
        except OSError:
            pass

    issuer.answer = drip
    begun = time.monotonic()
    with pytest.raises(TransportError, match="TimeoutError") as refusal:
        fetch(issuer.url, deadline=begun + 0.2)
    stop.set()
    assert time.monotonic() - begun < WAIT / 2
    assert not refusal.value.may_have_executed


def test_a_deadline_that_has_passed(issuer: Issuer) -> None:
    with pytest.raises(TransportError):
        fetch(issuer.url, deadline=time.monotonic() - 1)
    assert issuer.fetched == 0


def test_an_answer_in_chunks_and_one_without_end(issuer: Issuer) -> None:
    def chunks(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    issuer.answer = chunks
    assert fetch(issuer.url, deadline=time.monotonic() + WAIT).body == b"abc"
    issuer.say(b"x" * 11)
    with pytest.raises(ProtocolError, match="more than 10 bytes"):
        fetch(issuer.url, deadline=time.monotonic() + WAIT, max_size=10)
    assert fetch(f"{issuer.url}?a=b", deadline=time.monotonic() + WAIT).body == b"x" * 11
