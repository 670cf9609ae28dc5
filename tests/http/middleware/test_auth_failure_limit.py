"""A client that sends wrong credentials too often must wait."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import requests

from portal import BasicAuth, BearerAuth, ConfigError, Consumer, HTTPPortal, RateLimitError
from portal.context import CallContext
from portal.http import CORS, AuthFailureLimit, RequestLog
from portal.http11.request_head import parse_request_head
from portal.serving.request import Request, Response
from tests.support.clocks import Clock

WAIT = 10.0


def whoami(context: CallContext) -> str:
    assert context.identity is not None
    return context.identity.name


def post(portal: HTTPPortal, token: str | None, **headers: str) -> requests.Response:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(f"http://127.0.0.1:{portal.port}/api/whoami", json={}, headers=headers, timeout=WAIT)


def test_after_too_many_failures_a_client_waits_even_with_the_right_token() -> None:
    clock = Clock()
    with HTTPPortal(
        auth=BearerAuth({"good": "ann"}), http_middleware=[AuthFailureLimit("3/minute", clock=clock)]
    ) as portal:
        portal.apply(whoami)
        assert [post(portal, token).status_code for token in ("bad", "good", "worse", None)] == [401, 200, 401, 401]
        refused = post(portal, "good")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "20")
        assert refused.json()["code"] == "rate_limited"
        clock.now += 20.5  # one has come back
        assert [post(portal, token).status_code for token in ("good", "bad", "good")] == [200, 401, 429]
        clock.now += 60
        assert [post(portal, token).status_code for token in ("bad", "bad", "bad", "bad")] == [401, 401, 401, 429]


def test_passwords_are_not_computed_for_a_client_that_waits() -> None:
    asked: list[str] = []

    def somebody(user: str, password: str) -> None:
        asked.append(password)

    with HTTPPortal(auth=BasicAuth(somebody), http_middleware=[AuthFailureLimit("2/hour")]) as portal:
        address = str(portal.apply(whoami))
        found = [requests.post(address, json={}, auth=("ann", str(n)), timeout=WAIT).status_code for n in range(5)]
    assert found == [401, 401, 429, 429, 429]
    assert asked == ["0", "1"]


def test_clients_wait_by_themselves_where_the_proxy_is_trusted() -> None:
    guard = AuthFailureLimit("1/hour")
    auth = BearerAuth({"good": "ann"})
    with HTTPPortal(auth=auth, http_middleware=[guard], trusted_proxies=["127.0.0.1"]) as portal:
        portal.apply(whoami)
        assert post(portal, "bad", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 401
        assert post(portal, "good", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 429
        assert post(portal, "good", **{"X-Forwarded-For": "192.0.2.2"}).status_code == 200


def test_it_is_logged_and_allowed_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    around = [RequestLog(lines.append), CORS("*"), AuthFailureLimit("1/hour")]
    with HTTPPortal(auth=BearerAuth({"good": "ann"}), http_middleware=around) as portal:
        address = portal.apply(whoami)
        with caplog.at_level(logging.WARNING, "portal.auth"):
            post(portal, "bad")
        assert "127.0.0.1" in caplog.text
        assert "bad" not in caplog.text
        assert post(portal, "good", Origin="https://a.example").headers["Access-Control-Allow-Origin"] == "*"
        with Consumer(auth="good") as consumer, pytest.raises(RateLimitError) as caught:
            consumer.call_at(address)
        assert 3500 < (caught.value.retry_after or 0) <= 3600
    rows = [json.loads(line) for line in lines]
    assert [row["status"] for row in rows[:2]] == [401, 429]
    assert [row["code"] for row in rows[:2]] == ["authentication_error", "rate_limited"]


def request_of(peer: str) -> Request:
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    return Request(head, b"", None, peer)


def attempts(guard: AuthFailureLimit, peer: str) -> bool:
    """Send a wrong credential; return whether it was looked at."""
    try:
        guard(request_of(peer), lambda _: Response(401))
    except RateLimitError:
        return False
    return True


def test_an_answer_at_a_deadline_is_not_kept_back() -> None:
    guard = AuthFailureLimit("1/hour")
    assert attempts(guard, "a")
    late = request_of("a")
    late.notes["late"] = True
    assert guard(late, lambda _: Response(504)).status == 504


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"rate": "often"}, "auth_failure_limit.rate"),
        ({"rate": "1/s", "max_entries": 0}, "auth_failure_limit.max_entries"),
        ({"rate": "1/s", "store": "http://x"}, "auth_failure_limit.store"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AuthFailureLimit(**settings)
    assert caught.value.path == path
