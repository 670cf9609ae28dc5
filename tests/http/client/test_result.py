from __future__ import annotations

from contextlib import nullcontext

import pytest

from portal import AuthorizationError, ProtocolError, RegistryError
from portal.http.client.result import (
    ReceivedResponse,
    decode_result,
    read_error,
    read_response,
    require_success,
    require_type,
)
from tests.support.scripted_transport import ADDRESS, ScriptedResponse, request_of

PROBLEM = {"content-type": "application/problem+json"}


def test_a_body_in_pieces_is_decoded_to_one_result() -> None:
    received = read_response(ScriptedResponse(200, {"etag": '"1"'}, b"[1", b"]"), request_of(), 100)
    assert received == (200, {"etag": '"1"'}, b"[1]")
    assert decode_result(require_success(received, ADDRESS), ADDRESS) == [1]


def test_a_304_is_a_success_without_a_result() -> None:
    received = ReceivedResponse(304, {}, b"")
    assert require_success(received, ADDRESS) is received
    with pytest.raises(ProtocolError, match="responded with 304"):
        decode_result(received, ADDRESS)


@pytest.mark.parametrize("status", [300, 302, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with pytest.raises(ProtocolError, match=f"{ADDRESS} responded with {status}; redirects are not followed"):
        require_success(ReceivedResponse(status, {"location": "/"}, b""), ADDRESS)


def test_a_body_must_be_json() -> None:
    with pytest.raises(ProtocolError, match=f"the response from {ADDRESS} must be JSON"):
        decode_result(ReceivedResponse(200, {}, b"<html>"), ADDRESS)


@pytest.mark.parametrize(
    "kind", ["text/html", "TEXT/HTML; charset=utf-8", "application/xml", "application/octet-stream"]
)
def test_a_body_of_another_media_type_is_said_to_be_one(kind: str) -> None:
    media = kind.partition(";")[0].lower()
    with pytest.raises(ProtocolError, match=f"{ADDRESS} must be application/json, got '{media}'"):
        decode_result(ReceivedResponse(200, {"content-type": kind}, b"<html>"), ADDRESS)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/problem+json", "text/json"])
def test_a_body_of_json_that_is_malformed(kind: str) -> None:
    with pytest.raises(ProtocolError, match=f"the response from {ADDRESS} must be JSON"):
        decode_result(ReceivedResponse(200, {"content-type": kind}, b"{"), ADDRESS)


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ({}, True),
        ({"content-type": "text/event-stream"}, True),
        ({"content-type": " Text/Event-Stream ;charset=utf-8"}, True),
        ({"content-type": "application/json"}, False),
        ({"content-type": "application/x-ndjson"}, False),
        ({"content-type": ""}, False),
    ],
)
def test_the_media_type_of_a_stream(headers: dict[str, str], fits: bool) -> None:
    with nullcontext() if fits else pytest.raises(ProtocolError, match="must be text/event-stream, got"):
        require_type(headers, "text/event-stream", ADDRESS)


def test_an_error_has_the_class_of_the_server_and_the_address_that_was_called() -> None:
    body = b'{"code": "not_found", "detail": "no such function"}'
    with pytest.raises(RegistryError):
        require_success(ReceivedResponse(404, {}, b"<html>"), ADDRESS)
    error = read_error(ScriptedResponse(403, PROBLEM, body), request_of(), 1000)
    assert (error.address, error.scheme) == (str(ADDRESS), "http")
    assert isinstance(read_error(ScriptedResponse(403), request_of(), 1000), AuthorizationError)
