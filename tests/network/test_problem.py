"""Problem documents of Portal and of other libraries."""

from __future__ import annotations

import json

import pytest

from portal.errors import (
    AuthenticationError,
    CallTimeout,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.network.problem import PROBLEM, error_of, problem_of


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, ProtocolError),
        (401, AuthenticationError),
        (404, RegistryError),
        (422, ValidationError),
        (429, RateLimitError),
        (500, TransportError),
        (503, OverloadedError),
        (504, CallTimeout),
    ],
)
def test_a_problem_document_without_a_code_keeps_its_title_and_detail(status: int, cls: type[PortalError]) -> None:
    problem = {"type": "https://shop.example/out-of-credit", "title": "No credit", "detail": "It costs 50.", "extra": 1}
    body = json.dumps(problem).encode()
    error = error_of(status, "application/Problem+json; charset=utf-8", body, {"retry-after": "7"})
    assert type(error) is cls
    assert "No credit: It costs 50." in error.message
    assert str(status) in error.message
    assert getattr(error, "retry_after", 7.0) == 7.0
    for malformed in ({"title": 5, "detail": None}, {}, [], "No credit"):
        assert type(error_of(status, PROBLEM, json.dumps(malformed).encode(), {})) is cls


def test_delivery_and_hint_are_kept() -> None:
    sent = OverloadedError("busy", delivery="unknown", hint="ask later", retry_after=2.5)
    problem = problem_of(sent, debug=False)
    assert (problem["delivery"], problem["hint"], problem["detail"]) == ("unknown", "ask later", "busy")
    back = error_of(503, PROBLEM, json.dumps(problem).encode(), {"retry-after": "9"})
    assert isinstance(back, OverloadedError)
    assert (back.delivery, back.hint, back.message, back.retry_after) == ("unknown", "ask later", "busy", 2.5)
    assert "hint" not in problem_of(PortalError("m"), debug=False)


def test_retry_after_of_the_header_is_used_if_the_document_has_none() -> None:
    problem = problem_of(RateLimitError("slow"), debug=False)
    back = error_of(429, PROBLEM, json.dumps(problem).encode(), {"retry-after": "9"})
    assert isinstance(back, RateLimitError)
    assert back.retry_after == 9.0


def test_a_private_message_and_hint_are_sent_only_with_debug() -> None:
    sent = FunctionError("ValueError: hunter2", hint="hunter2", type="ValueError", private=True)
    assert "hunter2" not in json.dumps(problem_of(sent, debug=False))
    assert "hunter2" in json.dumps(problem_of(sent, debug=True))
