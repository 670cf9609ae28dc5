from __future__ import annotations

import gzip

import pytest

from portal.http.client import compression
from portal.http.client.compression import CompressingTransport
from tests.support.scripted_transport import ScriptedResponse, ScriptedTransport, request_of

BODY = b"x" * 100


def test_a_body_is_compressed_from_a_size_on() -> None:
    inner = ScriptedTransport(ScriptedResponse(), ScriptedResponse(), ScriptedResponse())
    transport = CompressingTransport(inner, 100)
    for body in (BODY, BODY[1:], None):
        transport.send(request_of(body))
    first, *others = inner.requests
    assert first.headers == {"Content-Encoding": "gzip"}
    assert first.body is not None
    assert gzip.decompress(first.body) == BODY
    assert [(request.headers, request.body) for request in others] == [({}, BODY[1:]), ({}, None)]


def test_a_server_that_rejects_gzip_gets_no_more_of_it() -> None:
    rejected = ScriptedResponse(415, {"accept-encoding": "identity"})
    accepted = ScriptedResponse()
    inner = ScriptedTransport(rejected, accepted, ScriptedResponse())
    transport = CompressingTransport(inner, 0)
    assert transport.send(request_of(BODY)) is accepted
    assert rejected.closed == 1
    transport.send(request_of(BODY))
    assert [request.body == BODY for request in inner.requests] == [False, True, True]


def test_a_415_of_the_function_is_returned() -> None:
    response = ScriptedResponse(415)
    inner = ScriptedTransport(response)
    assert CompressingTransport(inner, 0).send(request_of(BODY)) is response
    assert response.closed == 0


def test_the_set_of_servers_without_gzip_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_MAX_AUTHORITIES", 2)
    transport = CompressingTransport(ScriptedTransport(), 0)
    for port in range(1, 6):
        rejected = ScriptedResponse(415, {"accept-encoding": ""})
        transport._transport = ScriptedTransport(rejected, ScriptedResponse())
        request = request_of(BODY)
        transport.send(request._replace(address=request.address.parse(f"http://127.0.0.1:{port}/f")))
        assert len(transport._uncompressed) <= 2
