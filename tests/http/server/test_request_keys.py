"""The keys of requests: which requests count for the same function and the same client."""

from __future__ import annotations

from typing import Any

import pytest

from portal import Identity, function
from portal.catalogue import Catalogue
from portal.http.server import request_keys
from portal.http.server.request_keys import RequestKeys
from portal.http11.forwarded import trusted_networks
from portal.http11.request_head import RequestHead, parse_request_head


def add(a: int, b: int) -> int:
    return a + b


def head(target: str = "/api/add", method: str = "POST", **headers: str) -> RequestHead:
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return parse_request_head("\r\n".join([*lines, "", ""]).encode())


def keys(proxies: Any = (), credentials: Any = None) -> RequestKeys:
    catalogue = Catalogue()
    catalogue.add(function(version="2")(add))
    catalogue.add(function(add), ("shop",))
    return RequestKeys("/api", catalogue, trusted_networks(proxies), credentials)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/api/add", "/api/add"),
        (f"/api/add/{function(version='2')(add).schema.fingerprint}", "/api/add"),
        ("/api/add@2", "/api/add"),
        ("/api/add?version=%3E1", "/api/add"),
        ("/api/shop/add", "/api/shop/add"),
        ("/api/add@x", None),
        ("/api/ad", None),
        ("/api/rpc", None),
        ("/other/add", None),
    ],
)
def test_a_request_counts_for_the_function_at_its_path(target: str, name: str | None) -> None:
    found = dict(keys().of(head(target), "192.0.2.1", None))
    assert found.get("function") == name
    assert found["client"] == "network:192.0.2.1"


def test_a_description_does_not_count_for_the_function() -> None:
    assert "function" not in dict(keys().of(head(method="GET"), "192.0.2.1", None))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", {}, "network:192.0.2.1"),
        ("2001:db8::1", {}, "network:2001:db8::/64"),
        ("10.0.0.1", {}, None),  # the proxy itself
        ("10.0.0.1", {"X_Forwarded_For": "192.0.2.9, 10.0.0.2"}, "network:192.0.2.9"),
        ("192.0.2.1", {"X_Forwarded_For": "192.0.2.9"}, "network:192.0.2.1"),  # anybody can send that
        ("unix:", {}, "network:unix:"),
    ],
)
def test_a_client_without_a_credential(peer: str, forwarded: dict[str, str], client: str | None) -> None:
    assert dict(keys(["10.0.0.0/8"]).of(head(**forwarded), peer, None)).get("client") == client


def client(keys: RequestKeys, peer: str = "192.0.2.1", target: str = "/api/add", **headers: str) -> str | None:
    return dict(keys.of(head(target, **headers), peer, None)).get("client")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/api/add", {"X_Token": "one"}),
        ("/api/add", {"Authorization": "one"}),
        ("/api/add", {"Cookie": "one"}),
        ("/api/add?key=one", {}),
    ],
)
def test_requests_with_an_accepted_credential_are_of_its_identity(target: str, headers: dict[str, str]) -> None:
    found = keys(credentials=frozenset({"x-token", "key"}))
    assert client(found, target=target, **headers) == "network:192.0.2.1"  # anybody can make one up
    found.accept(head(target, **headers), None, "ann")
    assert client(found, target=target, **headers) == client(found, "192.0.2.2", target, **headers) == "identity:ann"
    assert client(found, target=target, X_API_Key="other", **headers) == "network:192.0.2.1"
    assert client(found) == "network:192.0.2.1"
    found.accept(head(target, **headers), None, "bob")
    assert client(found, target=target, **headers) == "identity:bob"


def test_a_certificate_is_a_credential() -> None:
    found = keys(credentials=frozenset())
    ann, bob = Identity("ann"), Identity("bob")
    found.accept(head(), ann, "ann")
    assert dict(found.of(head(), "192.0.2.1", ann))["client"] == "identity:ann"
    assert dict(found.of(head(), "192.0.2.1", bob))["client"] == "network:192.0.2.1"


def test_a_bounded_number_of_credentials_is_kept_without_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keys, "_MAX_ACCEPTED", 3)
    found = keys(credentials=frozenset())
    for number in range(10):
        found.accept(head(Cookie=f"secret-{number}"), None, "ann")
        assert len(found._accepted) <= 3
        assert "secret" not in str(found._accepted)


def test_requests_of_a_trusted_proxy_itself_are_told_apart_by_their_credentials() -> None:
    found = keys(["10.0.0.0/8"], frozenset({"x-token"}))
    one, other = (client(found, "10.0.0.1", X_Token=text) for text in ("one", "other"))
    assert None not in (one, other)
    assert one != other


def test_a_portal_without_authentication_reads_no_credential() -> None:
    assert dict(keys().of(head(Authorization="Bearer x"), "192.0.2.1", None))["client"] == "network:192.0.2.1"
