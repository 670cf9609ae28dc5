from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from portal import ConfigError, HTTPPortal, Identity
from portal.auth import needs_body
from portal.auth.request_view import AnyCase, RequestView


def test_headers_in_any_case() -> None:
    headers = AnyCase({"x-event": "push", "cookie": "a=b"})
    assert headers["X-Event"] == headers["x-EVENT"] == headers.get("x-event") == "push"
    assert headers.get("Missing") is None
    assert "Cookie" in headers
    assert dict(headers) == {"x-event": "push", "cookie": "a=b"}
    assert len(headers) == 2
    assert "push" not in repr(headers)


def test_a_view_has_every_attribute_of_the_request() -> None:
    request: Any = SimpleNamespace(headers={"a": "b"}, body=b"{}", peer="192.0.2.1", query="x=1")
    view = RequestView(request, has_body=True)
    assert (view.peer, view.query, view.body, view.headers["A"]) == ("192.0.2.1", "x=1", b"{}", "b")
    with pytest.raises(AttributeError):
        view.missing  # noqa: B018


def test_a_body_that_was_not_read_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    view = RequestView(SimpleNamespace(headers={}, body=b""), has_body=False)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs_body"):
        view.body  # noqa: B018
    assert "needs_body" in caplog.text


def test_a_callable_of_a_portal(caplog: pytest.LogCaptureFixture) -> None:
    def received(event: str) -> str:
        return event

    def by_cookie(request: Any) -> Identity | None:
        return Identity("ann") if request.headers.get("Cookie") == "user=ann" else None

    @needs_body
    def by_body(request: Any) -> Identity | None:
        return Identity("bob") if b"push" in request.body else None

    def forgetful(request: Any) -> Identity | None:
        return Identity("bob") if b"push" in request.body else None

    statuses = {}
    for auth in (by_cookie, by_body, forgetful):
        with HTTPPortal(auth=auth) as http:
            url = str(http.apply(received))
            cookie = {"Cookie": "user=ann"} if auth is by_cookie else {}
            # The body follows the head: an authenticator that needs the head alone is asked in between.
            answer = requests.post(url, json={"event": "push" * 60_000}, headers=cookie, timeout=30)
            statuses[auth.__name__] = answer.status_code
    assert statuses["by_cookie"] == statuses["by_body"] == 200
    assert statuses["forgetful"] in (200, 401)
    assert caplog.records == [] or "needs_body" in caplog.text


def test_the_callable_itself_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Any) -> Identity | None:
        raise RuntimeError("secret")

    def received() -> None:
        pass

    with caplog.at_level(logging.ERROR), HTTPPortal(auth=broken) as http:
        assert requests.post(str(http.apply(received)), json={}, timeout=30).status_code == 401
    assert "broken" in caplog.text
    assert "secret" not in caplog.text
