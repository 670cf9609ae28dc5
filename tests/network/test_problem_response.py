"""The response for an error."""

from __future__ import annotations

import json

from portal.errors import OverloadedError, RegistryError
from portal.network.problem_response import problem_response


def test_the_body_is_a_problem_document() -> None:
    response = problem_response(RegistryError("nothing there"), "r1", [("X-More", "1")])
    headers = dict(response.headers)
    assert isinstance(response.body, bytes)
    assert (response.status, json.loads(response.body)["request_id"]) == (404, "r1")
    assert headers == {"Content-Type": "application/problem+json", "X-Request-ID": "r1", "X-More": "1"}


def test_the_time_to_wait_is_a_header_unless_one_is_given() -> None:
    error = OverloadedError("full", retry_after=2.5)
    assert dict(problem_response(error, "r1").headers)["Retry-After"] == "3"
    assert dict(problem_response(error, "r1", [("retry-after", "9")]).headers)["retry-after"] == "9"
    assert "Retry-After" not in dict(problem_response(error, "r1", [("retry-after", "9")]).headers)
