from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from portal.errors import ConfigError
from portal.http.middleware.cors import CORS
from portal.serving import Response
from tests.support.http_messages import headers_of, request_of, respond_with

A = "https://a.example"


def preflight(cors: CORS, origin: str = A, method: str = "POST", names: str = "", **more: str) -> Response:
    asked = {"Access_Control_Request_Headers": names} if names else {}
    request = request_of("OPTIONS", Origin=origin, Access_Control_Request_Method=method, **asked, **more)

    def never(request: Any) -> Response:
        raise AssertionError("a preflight request must not reach the application")

    return cors(request, never)


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ([A], A, True),
        (A, A, True),
        (["HTTPS://A.Example"], A, True),
        (["https://a.example:443"], A, True),
        (["https://a.example:0443"], A, True),
        (["https://a.example:8443"], "https://a.example:8443", True),
        (["https://a.example:8443"], A, False),
        (["http://a.example:443"], "http://a.example:443", True),
        (["http://[::1]:80"], "http://[::1]", True),
        (["http://[::1]:3000"], "http://[::1]:3000", True),
        (["capacitor://localhost"], "capacitor://localhost", True),
        ([A], "http://a.example", False),
        ([A], "https://a.example:444", False),
        ([A], "https://a.example.evil", False),
        ([A], "https://evil-a.example", False),
        ([A], "https://x.a.example", False),
        ([A], "https://A.example", False),
        ([A], "https://a.example/", False),
        ([A], "https://a.example.", False),
        ([A], f"{A}, {A}", False),
        ([A], f"{A} {A}", False),
        ([A], "null", False),
        ([A], "*", False),
        (["null"], "null", True),
        (["null"], "NULL", False),
        ([], A, False),
        (re.compile(r"https://.*\.example"), A, True),
        (re.compile(r"https://a"), A, False),
        (re.compile(r".*"), "null", False),
        (re.compile(r".*"), "https://u@a.example", False),
        (re.compile(r".*"), "https://" + "a" * 600, False),
        (lambda origin: origin == A, A, True),
        (lambda origin: origin == A, "https://b.example", False),
        (lambda origin: True, "null", False),
    ],
)
def test_who_may_call(origins: Any, origin: str, allowed: bool) -> None:
    cors = CORS(origins)
    answer = cors(request_of(Origin=origin), respond_with())
    found = headers_of(answer)
    assert answer.status == 200
    assert found.get("access-control-allow-origin") == (origin if allowed else None)
    assert ("access-control-expose-headers" in found) is allowed
    assert found["vary"] == "Origin"
    asked = preflight(cors, origin)
    found = headers_of(asked)
    assert asked.status == (204 if allowed else 403)
    assert found.get("access-control-allow-origin") == (origin if allowed else None)
    assert ("access-control-allow-methods" in found) is allowed
    assert found["vary"] == "Access-Control-Request-Method, Access-Control-Request-Headers, Origin"


def test_all_may_call_without_credentials() -> None:
    for origin in (A, "null"):
        found = headers_of(CORS("*")(request_of(Origin=origin), respond_with()))
        assert found["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in found
        assert "vary" not in found
    with pytest.raises(ConfigError, match="credentials"):
        CORS("*", credentials=True)
    with pytest.raises(ConfigError, match="credentials"):
        CORS(["*"], credentials=True)


def test_only_listed_origins_may_send_credentials() -> None:
    cors = CORS([A], credentials=True)
    for response in (cors(request_of(Origin=A), respond_with()), preflight(cors)):
        found = headers_of(response)
        assert (found["access-control-allow-origin"], found["access-control-allow-credentials"]) == (A, "true")
    assert "access-control-allow-credentials" not in headers_of(
        cors(request_of(Origin="https://b.example"), respond_with())
    )


def test_a_response_without_an_origin_varies_too() -> None:
    assert headers_of(CORS([A])(request_of(), respond_with(Vary="Accept")))["vary"] == "Accept, Origin"


def test_errors_may_be_read_too() -> None:
    response = CORS([A])(request_of(Origin=A), respond_with(401))
    assert (response.status, headers_of(response)["access-control-allow-origin"]) == (401, A)


@pytest.mark.parametrize(
    ("method", "names", "status", "granted"),
    [
        ("POST", "", 204, None),
        ("POST", "content-type", 204, "Content-Type"),
        ("POST", "authorization,content-type", 204, "Authorization, Content-Type"),
        ("POST", "AUTHORIZATION , Content-Type", 204, "Authorization, Content-Type"),
        ("POST", "content-type,content-type", 204, "Content-Type"),
        ("POST", ",content-type,", 204, "Content-Type"),
        ("POST", "x-evil", 403, None),
        ("POST", "content-type,x-evil", 403, None),
        ("POST", "*", 403, None),
        ("POST", "content type", 403, None),
        ("DELETE", "", 403, None),
        ("post", "", 403, None),
        ("*", "", 403, None),
    ],
)
def test_a_preflight_grants_listed_methods_and_headers(
    method: str, names: str, status: int, granted: str | None
) -> None:
    response = preflight(CORS([A], max_age=60), A, method, names)
    found = headers_of(response)
    assert response.status == status
    assert found.get("access-control-allow-headers") == granted
    assert found.get("access-control-max-age") == ("60" if status == 204 else None)
    assert found.get("access-control-allow-methods") == ("GET, HEAD, POST" if status == 204 else None)
    if status == 403:
        assert json.loads(bytes(response.body))["code"] == "authorization_error"  # type: ignore[arg-type]


def test_private_networks_are_not_granted() -> None:
    response = preflight(CORS([A]), Access_Control_Request_Private_Network="true")
    assert not [name for name, _ in response.headers if "private" in name.lower()]


@pytest.mark.parametrize("headers", [{"Origin": A}, {"Access_Control_Request_Method": "POST"}, {}])
def test_other_options_requests_go_through(headers: dict[str, str]) -> None:
    assert CORS([A])(request_of("OPTIONS", **headers), respond_with(299)).status == 299


def test_a_callable_that_fails_rejects_the_origin(caplog: pytest.LogCaptureFixture) -> None:
    def failing(origin: str) -> bool:
        raise OSError("no list")

    with caplog.at_level(logging.ERROR, "portal.http"):
        assert preflight(CORS(failing)).status == 403
    assert A in caplog.text


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"origins": ["a.example"]}, "origins"),
        ({"origins": ["https://a.example/path"]}, "origins"),
        ({"origins": ["https://u@a.example"]}, "origins"),
        ({"origins": ["https://*.example"]}, "origins"),
        ({"origins": ["https://a.example:99999"]}, "origins"),
        ({"origins": ["https://ä.example"]}, "origins"),
        ({"origins": ["*", A]}, "origins"),
        ({"origins": [3]}, "origins"),
        ({"origins": 3}, "origins"),
        ({"origins": re.compile(b"x")}, "origins"),
        ({"credentials": "yes"}, "credentials"),
        ({"methods": ["GET POST"]}, "methods"),
        ({"methods": 3}, "methods"),
        ({"headers": ["*"]}, "headers"),
        ({"headers": ["X-A\r\nX-B"]}, "headers"),
        ({"expose": "*"}, "expose"),
        ({"max_age": -1}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": True}, "max_age"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CORS(**{"origins": [A], **settings})
    assert caught.value.path == f"cors.{name}"


def test_nothing_to_expose_and_names_given_as_text() -> None:
    cors = CORS([A], expose=(), methods="put", headers="X-Own")
    assert "access-control-expose-headers" not in headers_of(cors(request_of(Origin=A), respond_with()))
    assert headers_of(preflight(cors, A, "PUT", "x-own"))["access-control-allow-headers"] == "X-Own"
