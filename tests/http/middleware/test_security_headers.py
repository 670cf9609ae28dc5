from __future__ import annotations

from typing import Any

import pytest

from portal.errors import ConfigError
from portal.http.middleware.security_headers import SecurityHeaders
from portal.serving import Request
from tests.support.http_messages import headers_of, request_of, respond_with


class SecureRequest(Request):
    @property
    def secure(self) -> bool:
        return True


def over_tls() -> Request:
    return SecureRequest(request_of().head, b"")


def test_the_headers_by_default() -> None:
    found = headers_of(SecurityHeaders()(request_of(), respond_with()))
    del found["content-type"]
    assert found == {
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({}, "max-age=31536000"),
        ({"hsts": 60, "subdomains": True}, "max-age=60; includeSubDomains"),
        ({"hsts": 0}, None),
    ],
)
def test_hsts_is_sent_over_tls_only(settings: dict[str, Any], value: str | None) -> None:
    layer = SecurityHeaders(**settings)
    assert headers_of(layer(over_tls(), respond_with())).get("strict-transport-security") == value
    assert "strict-transport-security" not in headers_of(layer(request_of(), respond_with()))


@pytest.mark.parametrize(
    "name", ["content-security-policy", "X-FRAME-OPTIONS", "Referrer-Policy", "Strict-Transport-Security"]
)
def test_headers_of_the_app_are_kept(name: str) -> None:
    response = SecurityHeaders()(over_tls(), respond_with(**{name.replace("-", "_"): "own"}))
    assert headers_of(response)[name.lower()] == "own"


def test_each_can_be_left_out() -> None:
    layer = SecurityHeaders(hsts=0, csp="", frame_options="", referrer_policy="", nosniff=False)
    assert list(headers_of(layer(over_tls(), respond_with(500)))) == ["content-type"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hsts", -1), ("hsts", True), ("hsts", 1.5), ("subdomains", 1), ("csp", "a\r\nb"), ("csp", None), ("csp", "ä"),
        ("frame_options", "ALLOW"), ("referrer_policy", "never"), ("nosniff", "yes"),
    ],
)  # fmt: skip
def test_wrong_settings(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        SecurityHeaders(**{name: value})
    assert caught.value.path == f"security_headers.{name}"
