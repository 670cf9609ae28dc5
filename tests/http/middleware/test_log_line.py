from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http.middleware.log_line import MAX_VALUE, log_line, quoted

ARGUMENTS: dict[str, Any] = {
    "moment": 1_700_000_000.25,
    "headers": [("Content-Type", "application/json"), ("X-Request-ID", "r-1")],
    "method": "POST",
    "path": "/api/add",
    "function": "add",
    "peer": "192.0.2.1",
    "identity": "ann",
    "status": 200,
    "code": None,
    "seconds": 0.0125,
    "request_bytes": 13,
    "response_bytes": 3,
    "timeout": "1500",
    "more": None,
}


def parsed(**changes: Any) -> dict[str, Any]:
    line = log_line(**ARGUMENTS | changes)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_has_these_members() -> None:
    assert parsed() == {
        "time": "2023-11-14T22:13:20.250Z",
        "request_id": "r-1",
        "method": "POST",
        "path": "/api/add",
        "function": "add",
        "peer": "192.0.2.1",
        "identity": "ann",
        "status": 200,
        "code": None,
        "duration_ms": 12.5,
        "request_bytes": 13,
        "response_bytes": 3,
        "timeout_ms": 1500,
    }


def test_absent_values_are_null() -> None:
    line = parsed(headers=[], function=None, identity=None, timeout=None)
    assert [line[name] for name in ("request_id", "function", "identity", "timeout_ms")] == [None] * 4


@pytest.mark.parametrize("timeout", ["", "x", "-1", "1.5", "1" * 16, "\u0663"])
def test_a_timeout_that_is_not_milliseconds_is_null(timeout: str) -> None:
    assert parsed(timeout=timeout)["timeout_ms"] is None


def test_headers_of_the_request_are_an_object() -> None:
    assert parsed(more='"user-agent":"curl"')["headers"] == {"user-agent": "curl"}
    assert parsed(code="rate_limited", status=429)["code"] == "rate_limited"


@given(*[st.text(max_size=400)] * 5)
def test_no_value_adds_a_line_or_a_member(method: str, path: str, name: str, peer: str, identity: str) -> None:
    line = parsed(method=method, path=path, function=name, peer=peer, identity=identity)
    assert list(line) == list(parsed())
    for member, value in (("method", method), ("path", path), ("function", name), ("identity", identity)):
        assert line[member] == value


def test_long_values_are_cut() -> None:
    assert quoted("x" * (MAX_VALUE + 1)) == f'"{"x" * MAX_VALUE}..."'
    assert parsed(path="/" + "x" * 10_000)["path"] == "/" + "x" * (MAX_VALUE - 1) + "..."


def test_quoted_text_is_ascii_without_lone_surrogates() -> None:
    assert quoted("ä\n\u2028") == '"\\u00e4\\n\\u2028"'
    assert quoted("\ud800") == '"\\ufffd"'
    assert (quoted(None), quoted(7)) == ("null", '"7"')
