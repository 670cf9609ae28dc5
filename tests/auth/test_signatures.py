"""Signatures of webhooks, with the examples that the specifications publish."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from portal import AuthenticationError, ConfigError, HTTPPortal, Identity
from portal.auth import SignatureAuth, verify_signature

GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_TIME = 1614265330
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_TIME),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_BODY = b'{"test": 2432232314}'


def request_of(headers: dict[str, str], body: bytes) -> Any:
    return SimpleNamespace(headers=headers, body=body)


def stripe(body: bytes, secret: str = "whsec_secret", seconds: int = 1000, *, more: str = "") -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={seconds},v1={digest},v0=ff{more}"}


def test_github() -> None:
    auth = verify_signature(GITHUB_SECRET, "github")
    assert auth.authenticate(request_of(GITHUB, b"Hello, World!")) == Identity("github")
    assert auth.authenticate(request_of({}, b"Hello, World!")) is None
    for headers, body in (
        (GITHUB, b"Hello, world!"),
        ({"x-hub-signature-256": GITHUB["x-hub-signature-256"].replace("sha256", "sha1")}, b"Hello, World!"),
        ({"x-hub-signature-256": "sha256=zz"}, b"Hello, World!"),
        ({"x-hub-signature-256": ""}, b"Hello, World!"),
    ):
        with pytest.raises(AuthenticationError, match="not valid"):
            auth.authenticate(request_of(headers, body))


def test_standard_webhooks() -> None:
    auth = verify_signature(STANDARD_SECRET, "standard", clock=lambda: STANDARD_TIME + 10)
    assert auth.authenticate(request_of(STANDARD, STANDARD_BODY)) == Identity("standard")
    several = STANDARD | {"webhook-signature": f"v1a,AAAA v1,AAAA {STANDARD['webhook-signature']}"}
    assert auth.authenticate(request_of(several, STANDARD_BODY)) == Identity("standard")
    for change in (
        {"webhook-id": ""},
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "01614265330"},
        {"webhook-timestamp": "x"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,***"},
    ):
        with pytest.raises(AuthenticationError):
            auth.authenticate(request_of(STANDARD | change, STANDARD_BODY))


def test_stripe() -> None:
    auth = verify_signature("whsec_secret", "stripe", clock=lambda: 1000.0, identity=Identity("stripe", scopes=["pay"]))
    found = auth.authenticate(request_of(stripe(b"{}"), b"{}"))
    assert found is not None
    assert found.scopes == {"pay"}
    assert auth.authenticate(request_of(stripe(b"{}", more=",v1=00"), b"{}")) is not None
    for headers in (stripe(b"[]"), stripe(b"{}", "another secret"), {"stripe-signature": "v1=00"}):
        with pytest.raises(AuthenticationError):
            auth.authenticate(request_of(headers, b"{}"))
    twice = {"stripe-signature": "t=999," + stripe(b"{}")["stripe-signature"]}
    with pytest.raises(AuthenticationError, match="time"):
        auth.authenticate(request_of(twice, b"{}"))


@pytest.mark.parametrize(("now", "accepted"), [(1000, True), (1300, True), (700, True), (1301, False), (699, False)])
def test_the_tolerance_of_time(now: float, accepted: bool) -> None:
    auth = verify_signature("whsec_secret", "stripe", clock=lambda: now)
    request = request_of(stripe(b"{}"), b"{}")
    if accepted:
        assert auth.authenticate(request) is not None
    else:
        with pytest.raises(AuthenticationError, match="clocks"):
            auth.authenticate(request)
    anything = verify_signature("whsec_secret", "stripe", tolerance=None, clock=lambda: now)
    assert anything.authenticate(request) is not None


def test_a_wrong_signature_does_not_learn_of_the_time() -> None:
    auth = verify_signature("whsec_secret", "stripe", clock=lambda: 5000.0)
    with pytest.raises(AuthenticationError, match="not valid"):
        auth.authenticate(request_of(stripe(b"{}", "another secret"), b"{}"))


def test_several_secrets_while_one_is_changed() -> None:
    auth = verify_signature(["the new secret", GITHUB_SECRET], "github")
    assert auth.authenticate(request_of(GITHUB, b"Hello, World!")) is not None


def test_all_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return compare(one, other)

    monkeypatch.setattr("portal.auth.signatures.hmac.compare_digest", count)
    auth = verify_signature(["whsec_secret", "another secret"], "stripe", clock=lambda: 1000.0)
    assert auth.authenticate(request_of(stripe(b"{}", more=",v1=00,v1=01"), b"{}")) is not None
    assert len(compared) == 6
    compared.clear()
    many = {"stripe-signature": "t=1000," + "v1=00," * 500}
    with pytest.raises(AuthenticationError):
        auth.authenticate(request_of(many, b"{}"))
    assert len(compared) == 32


@pytest.mark.parametrize(
    ("secret", "options", "path"),
    [
        ("short", {}, "signature.secret"),
        ([], {}, "signature.secret"),
        ([3], {}, "signature.secret"),
        (None, {}, "signature.secret"),
        (8, {}, "signature.secret"),
        ("whsec_***", {}, "signature.secret"),
        ("long enough", {"scheme": "sha"}, "signature.scheme"),
        ("long enough", {"tolerance": -1}, "signature.tolerance"),
        ("long enough", {"identity": 3}, "signature.identity"),
    ],
)
def test_wrong_settings_are_rejected(secret: Any, options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        verify_signature(secret, **({"scheme": "standard"} | options))
    assert caught.value.path == path
    assert "short" not in str(caught.value)


def test_the_secret_is_not_shown_where_the_arguments_are_swapped() -> None:
    with pytest.raises(ConfigError, match="after the secret") as caught:
        verify_signature("github", "the secret of the hub")  # type: ignore[arg-type]
    assert caught.value.path == "signature.scheme"
    assert "hub" not in str(caught.value.to_dict()).replace("github", "")


def test_the_secret_is_not_shown() -> None:
    auth = verify_signature("long enough", "github", identity="hub")
    assert isinstance(auth, SignatureAuth)
    assert repr(auth) == "<SignatureAuth of hub>"


def test_a_portal_accepts_only_signed_requests() -> None:
    def received() -> str:
        return "ok"

    with HTTPPortal(auth=verify_signature(GITHUB_SECRET, "github")) as http:
        url = str(http.apply(received))
        body = json.dumps({}).encode()
        digest = hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
        assert requests.post(url, data=body, headers=headers, timeout=30).json() == "ok"
        assert requests.post(url, data=b"{ }", headers=headers, timeout=30).status_code == 401
        assert requests.post(url, data=body, timeout=30).status_code == 401


def test_an_old_message_does_not_get_a_new_time_by_other_ends_of_its_parts() -> None:
    """Identifier, time and body are signed as one text, and full stops separate them."""
    secret, body = b"0123456789abcdef", b"[1]"
    digest = hmac.new(secret, b"m.1000.9000." + body, "sha256").digest()  # body of the old message: "9000.[1]"
    headers = {
        "webhook-id": "m.1000",
        "webhook-timestamp": "9000",
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    auth = verify_signature(secret, "standard", clock=lambda: 9000.0)
    with pytest.raises(AuthenticationError, match="must not end in a full stop and digits"):
        auth.authenticate(request_of(headers, body))
