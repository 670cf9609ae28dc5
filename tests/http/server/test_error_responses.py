from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from portal import (
    AuthenticationError,
    BearerAuth,
    CallContext,
    FunctionError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
)
from portal.http.server.error_responses import ErrorResponses
from portal.serving import Response
from tests.support.http_messages import headers_of, request_of

PLAIN = ErrorResponses([], debug=False)


def document(response: Response) -> dict[str, Any]:
    assert isinstance(response.body, bytes)
    found: dict[str, Any] = json.loads(response.body)
    return found


def test_an_error_is_a_problem_document_with_its_status() -> None:
    request = request_of()
    response = PLAIN.respond(request, RegistryError("no function ad", name="ad"), CallContext(request_id="r-1"))
    assert response.status == 404
    assert headers_of(response)["content-type"] == "application/problem+json"
    found = document(response)
    assert (found["code"], found["status"], found["request_id"]) == ("registry_error", 404, "r-1")
    assert request.notes["code"] == "registry_error"


def test_without_a_context_the_response_gets_a_request_id() -> None:
    first, second = (document(PLAIN.respond(request_of(), PortalError("no"), None))["request_id"] for _ in range(2))
    assert first
    assert first != second


def test_a_rejected_method_has_the_allowed_ones() -> None:
    error = ProtocolError("no", status=405)
    assert headers_of(PLAIN.respond(request_of(), error, None))["allow"] == "GET, HEAD, OPTIONS, POST"
    response = PLAIN.respond(request_of(), error, None, {"Allow": "GET"})
    assert headers_of(response)["allow"] == "GET"


def test_a_missing_credential_has_the_challenges() -> None:
    responses = ErrorResponses([BearerAuth({"t0ken": "ann"})], debug=False)
    response = responses.respond(request_of(), AuthenticationError("no"), None)
    assert headers_of(response)["www-authenticate"].startswith("Bearer")
    assert "www-authenticate" not in headers_of(PLAIN.respond(request_of(), RegistryError("no"), None))


def test_a_rate_limit_has_retry_after() -> None:
    response = PLAIN.respond(request_of(), RateLimitError("no", retry_after=1.2), None)
    assert (response.status, headers_of(response)["retry-after"]) == (429, "2")


def test_an_internal_error_does_not_show_its_cause() -> None:
    response = PLAIN.internal(request_of(), ValueError("password hunter2"), None)
    assert response.status == 500
    assert b"hunter2" not in (response.body or b"")  # type: ignore[operator]


@pytest.mark.parametrize("debug", [False, True])
def test_a_function_error_is_logged_and_shown_only_with_debug(debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    error = FunctionError("hunter2 is wrong", type="ValueError", private=True)
    error.context["operation"] = "login"
    error.__cause__ = ValueError("hunter2")
    with caplog.at_level(logging.ERROR, "portal.http"):
        response = ErrorResponses([], debug=debug).respond(request_of(), error, CallContext(request_id="r-1"))
    assert ("hunter2" in str(document(response))) is debug
    assert [record.getMessage() for record in caplog.records] == ["login failed, request r-1: hunter2 is wrong"]


def test_a_compressed_body_may_be_sent_uncompressed() -> None:
    response = PLAIN.unsupported_coding(request_of(content_encoding="br"), CallContext())
    assert (response.status, headers_of(response)["accept-encoding"]) == (415, "identity")
    assert "'br'" in document(response)["detail"]
