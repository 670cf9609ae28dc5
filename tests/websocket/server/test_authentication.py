"""Who a client is: by the handshake, and the moment at which a credential expires."""

from __future__ import annotations

from time import monotonic, time
from typing import Any

import pytest

from portal import ApiKeyAuth, BearerAuth, Identity
from portal.auth.authentication import authenticators_of
from portal.errors import AuthenticationError, AuthorizationError, RateLimitError
from portal.http11.request_head import parse_request_head
from portal.serving import Request, Response
from portal.websocket.server.authentication import Authentication, expiry_of


def request(headers: str = "", target: str = "/ws") -> Request:
    return Request(
        parse_request_head(f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()), b"", None, "192.0.2.1"
    )


def by_cookie(request: Any) -> Identity | None:
    return Identity("ann") if request.headers.get("cookie") == "key=k" else None


def authentication(auth: Any, *middleware: Any) -> Authentication:
    return Authentication(authenticators_of(auth), middleware)


@pytest.mark.parametrize(
    ("auth", "headers", "target"),
    [
        (BearerAuth({"t": Identity("ann")}), "Authorization: Bearer t\r\n", "/ws"),
        (ApiKeyAuth({"k": Identity("ann")}), "X-API-Key: k\r\n", "/ws"),
        (ApiKeyAuth({"k": Identity("ann")}, query="key"), "", "/ws?key=k"),
        (by_cookie, "Cookie: key=k\r\n", "/ws"),
        (lambda request: Identity("ann"), "", "/ws"),
    ],
)
def test_every_authenticator_reads_the_handshake(auth: Any, headers: str, target: str) -> None:
    found = authentication(auth).of_request(request(headers, target))
    assert found is not None
    assert found.name == "ann"


def test_a_message_does_not_inherit_the_other_credentials_of_the_handshake() -> None:
    """A wrong token of a message must not be outweighed by the key of the handshake."""
    both = authentication([BearerAuth({"t": Identity("ann")}), ApiKeyAuth({"k": Identity("bob")})])
    with pytest.raises(AuthenticationError):
        both.of_message(request("X-API-Key: k\r\n"), Identity("bob"), {"authorization": "Bearer wrong"})
    key_in_query = authentication(ApiKeyAuth({"k": Identity("ann")}, query="key"))
    with pytest.raises(AuthenticationError):
        key_in_query.of_message(request("", "/ws?key=k"), Identity("ann"), {"headers": {"x": "1"}})


def test_a_message_of_an_unknown_client_is_rejected() -> None:
    with pytest.raises(AuthenticationError):
        authentication(BearerAuth({"t": Identity("ann")})).of_message(request(), None, None)


def test_middleware_may_reject() -> None:
    def forbid(request: Request, call_next: Any) -> Response:
        return Response(403)

    def limit(request: Request, call_next: Any) -> Response:
        raise RateLimitError("too many")

    auth = BearerAuth({"t": Identity("ann")})
    with pytest.raises(AuthorizationError, match="403"):
        authentication(auth, forbid).of_request(request("Authorization: Bearer t\r\n"))
    with pytest.raises(RateLimitError):
        authentication(auth, limit).of_request(request("Authorization: Bearer t\r\n"))


@pytest.mark.parametrize("claims", [{}, {"exp": "1"}, {"exp": True}, {"exp": None}])
def test_without_a_claim_nothing_expires(claims: Any) -> None:
    assert expiry_of(Identity("ann", claims=claims)) is None
    assert expiry_of(None) is None


def test_the_claim_of_a_token_is_its_expiry() -> None:
    found = expiry_of(Identity("ann", claims={"exp": time() + 60}))
    assert found is not None
    assert 50 < found - monotonic() < 70
