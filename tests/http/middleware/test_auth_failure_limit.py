"""A client that sends wrong credentials too often must wait."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import Any
from wsgiref.util import setup_testing_defaults

import jwt
import pytest
import requests

from portal import (
    AuthenticationError,
    BasicAuth,
    BearerAuth,
    ConfigError,
    Consumer,
    HTTPPortal,
    Identity,
    JWTAuth,
    RateLimitError,
    RequireScopes,
)
from portal.auth.authentication import CertificateAuth, authenticate
from portal.context import CallContext
from portal.http import CORS, AuthFailureLimit, RequestLog
from portal.http11.request_head import parse_request_head
from portal.serving.messages.request import Request, Response
from tests.support.clocks import Clock
from tests.support.credentials import Sent

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
        assert [post(portal, token).status_code for token in ("bad", "good", "worse", "x")] == [401, 200, 401, 401]
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


def reject(request: Request) -> Response:
    request.notes["guess"] = True
    return Response(401)


def attempts(guard: AuthFailureLimit, peer: str) -> bool:
    """Send a wrong credential; return whether it was looked at."""
    try:
        guard(request_of(peer), reject)
    except RateLimitError:
        return False
    return True


def test_an_answer_at_a_deadline_is_not_kept_back() -> None:
    guard = AuthFailureLimit("1/hour")
    assert attempts(guard, "a")
    assert not attempts(guard, "a")
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


# responses with 401 that are not guesses


def logs_in(name: str) -> str:
    raise AuthenticationError(f"{name} is not known to the shop")


def calls_a_guarded_function(address: str) -> str:
    with Consumer(auth="wrong") as consumer:
        result: str = consumer.call_at(address)
    return result


def send(url: str, body: Any = None, **headers: str) -> int:
    return requests.post(url, json=body or {}, headers=headers, timeout=WAIT).status_code


def by_cookie(request: Any) -> Identity | None:
    """Fail as an authenticator does whose database is lost."""
    raise ConnectionError("the database is lost")


def no_certificate(identity: Identity) -> None:
    """Know none of the clients with a verified certificate."""


def bare(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_401_that_is_no_guess_is_not_counted() -> None:
    guard = AuthFailureLimit("1/hour")
    with (
        HTTPPortal(auth=BearerAuth({"good": "ann"})) as other,
        HTTPPortal(auth=BearerAuth({"good": "ann"}), http_middleware=[guard]) as portal,
    ):
        inner = str(other.apply(whoami))
        own, nested, rpc = str(portal.apply(logs_in)), str(portal.apply(calls_a_guarded_function)), f"{portal.base}/rpc"
        batch = [{"jsonrpc": "2.0", "method": "logs_in", "params": {"name": "x"}, "id": number} for number in range(20)]
        for _ in range(3):
            assert send(own, {"name": "eve"}, **bare("good")) == 401
            assert send(nested, {"address": inner}, **bare("good")) == 401
            assert send(rpc, batch, **bare("good")) == 200
            assert send(rpc, batch) == 401
            assert send(own, {"name": "eve"}) == 401
            assert requests.get(own, timeout=WAIT).status_code == 401
            assert requests.options(own, timeout=WAIT).status_code == 401
            assert send(own, {}, Authorization="Digest username=ann") == 401  # no credential of a kind that is read
        assert portal.stats()["auth"] == {"blocked_clients": 0, "rejected_blocked": 0}
        assert send(rpc, batch, **bare("guess")) == 401
        assert send(own, {"name": "eve"}, **bare("good")) == 429
        assert portal.stats()["auth"] == {"blocked_clients": 1, "rejected_blocked": 1}


def test_scopes_without_an_identity_are_no_guess() -> None:
    with HTTPPortal(middleware=[RequireScopes("any")], http_middleware=[AuthFailureLimit("1/hour")]) as portal:
        address = str(portal.apply(logs_in))
        assert [send(address, {"name": "x"}, **bare("t")) for _ in range(3)] == [401, 401, 401]


SECRET = "0123456789abcdef" * 4


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "ann", "aud": "orders", "iss": "us", "exp": time.time() + 600} | claims, SECRET, "HS256")


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"aud": "others"}, {"iss": "them"}, {"nbf": time.time() + 86_400}, {"exp": None}],
    ids=["expired", "another audience", "another issuer", "not yet", "no expiry"],
)
def test_a_token_with_a_valid_signature_is_no_guess(claims: dict[str, Any]) -> None:
    auth = JWTAuth(key=SECRET, algorithms=["HS256"], audience="orders", issuer="us")
    with HTTPPortal(auth=auth, http_middleware=[AuthFailureLimit("1/hour")]) as portal:
        address = str(portal.apply(whoami))
        given = {"sub": "ann", "aud": "orders", "iss": "us", "exp": time.time() + 600} | claims
        sent = jwt.encode({name: value for name, value in given.items() if value is not None}, SECRET, "HS256")
        assert [send(address, **bare(sent)) for _ in range(3)] == [401, 401, 401]
        assert send(address, **bare(token())) == 200
        assert send(address, **bare(sent[:-2] + "AA")) == 401  # a wrong signature
        assert send(address, **bare(token())) == 429


def test_an_authenticator_that_fails_locks_nobody_out() -> None:
    with HTTPPortal(auth=by_cookie, http_middleware=[AuthFailureLimit("1/hour")]) as portal:
        address = str(portal.apply(whoami))
        assert [send(address, Cookie="session=7") for _ in range(3)] == [401, 401, 401]


def test_a_key_error_of_an_authenticator_is_a_guess() -> None:
    tokens = {"good": Identity("ann")}
    with HTTPPortal(
        auth=lambda request: tokens[request.headers["x-token"]], http_middleware=[AuthFailureLimit("2/hour")]
    ) as portal:
        address = str(portal.apply(whoami))
        assert [send(address, **{"X-Token": text}) for text in ("a", "b", "good")] == [401, 401, 429]


def test_an_unknown_certificate_is_no_guess() -> None:
    with pytest.raises(AuthenticationError) as caught:
        authenticate([CertificateAuth(no_certificate)], Sent(tls_identity=Identity("device-7")))
    assert caught.value.guess is False


def test_middleware_may_count_its_own_guesses() -> None:
    def check(request: Request, call_next: Any) -> Response:
        if request.headers.get("x-pin") != "7":
            raise AuthenticationError("wrong pin", guess="x-pin" in request.headers)
        response: Response = call_next(request)
        return response

    with HTTPPortal(http_middleware=[AuthFailureLimit("1/hour"), check]) as portal:
        address = str(portal.apply(logs_in))
        pins: list[dict[str, str]] = [{}, {}, {"X-Pin": "6"}, {"X-Pin": "7"}]
        assert [send(address, {"name": "x"}, **pin) for pin in pins] == [401, 401, 401, 429]


def test_a_guess_is_counted_under_wsgi() -> None:
    portal = HTTPPortal(auth=BearerAuth({"good": "ann"}), http_middleware=[AuthFailureLimit("1/hour")], listen=False)
    portal.apply(whoami)

    def status(**headers: str) -> str:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/whoami", "CONTENT_TYPE": "application/json"}
        environ |= {"REMOTE_ADDR": "192.0.2.1", "CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}")} | headers
        setup_testing_defaults(environ)
        found: list[str] = []
        list(portal(environ, lambda line, headers: found.append(line)))
        return found[0][:3]

    try:
        assert [status() for _ in range(3)] == ["401"] * 3
        guesses = [status(HTTP_AUTHORIZATION=f"Bearer {text}") for text in ("good", "bad", "good")]
        assert guesses == ["200", "401", "429"]
    finally:
        portal.close()
