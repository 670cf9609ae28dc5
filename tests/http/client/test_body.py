from __future__ import annotations

import gzip
from collections.abc import Iterator
from time import monotonic

import pytest

from portal import CallContext, CallTimeout, ProtocolError, TransportError
from portal.http.client.body import iter_body, read_body
from tests.support.scripted_transport import ADDRESS, ScriptedResponse, request_of

PACKED = gzip.compress(b"x" * 1000)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (ScriptedResponse(200, {}, b"12", buffered=True), b"12"),
        (ScriptedResponse(200, {}, b"1", b"2"), b"12"),
        (ScriptedResponse(200, {}), b""),
        (ScriptedResponse(200, {"content-encoding": "gzip"}, PACKED, buffered=True), b"x" * 1000),
        (ScriptedResponse(200, {"content-encoding": "gzip"}, PACKED[:9], PACKED[9:]), b"x" * 1000),
    ],
)
def test_a_body_is_read_to_its_end(response: ScriptedResponse, expected: bytes) -> None:
    assert read_body(response, request_of(), 1000) == expected
    assert response.closed == (0 if response.buffered and not response.headers else 1)


@pytest.mark.parametrize(
    "response",
    [
        ScriptedResponse(200, {}, b"x" * 1000, buffered=True),
        ScriptedResponse(200, {}, b"x" * 500, b"x" * 500),
        ScriptedResponse(200, {"content-encoding": "gzip"}, PACKED, buffered=True),
    ],
)
def test_a_body_over_the_limit_is_rejected(response: ScriptedResponse) -> None:
    with pytest.raises(ProtocolError, match=f"the response from {ADDRESS} must have at most 999 bytes"):
        read_body(response, request_of(), 999)


def test_a_body_after_the_deadline_is_a_timeout() -> None:
    response = ScriptedResponse(200, {}, b"1", b"2")
    pieces = iter_body(response, request_of(context=CallContext(deadline=monotonic() - 1.0)))
    assert next(pieces) == b"1"
    with pytest.raises(CallTimeout):
        next(pieces)
    assert response.closed == 1


@pytest.mark.parametrize(
    ("failure", "expected", "words"),
    [
        (ProtocolError("bad chunk"), ProtocolError, "http://127.0.0.1:1/api/add: bad chunk"),
        (ConnectionResetError("reset"), TransportError, "lost the connection to 127.0.0.1:1: reset"),
    ],
)
def test_a_failure_in_the_body_is_a_portal_error(failure: Exception, expected: type[Exception], words: str) -> None:
    class Broken(ScriptedResponse):
        def iter_body(self) -> Iterator[bytes]:
            yield b"1"
            raise failure

    response = Broken()
    with pytest.raises(expected, match=words):
        read_body(response, request_of(), 10)
    assert response.closed == 1
