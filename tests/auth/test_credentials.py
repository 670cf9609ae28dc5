"""Credentials of the client, and tokens from a real endpoint."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import Identity
from portal.address import Address
from portal.auth.authentication import ApiKeyAuth, BasicAuth, BearerAuth, authenticate
from portal.auth.credentials import (
    ApiKey,
    BasicCredential,
    BearerToken,
    ByAuthority,
    OAuth2ClientCredentials,
    credentials_of,
)
from portal.errors import AuthenticationError, ConfigError, RegistryError

WAIT = 10.0
SECRET = "s3cret-Token.of~ann"
HERE = Address.parse("http://127.0.0.1:8080/api/add")


def sent(credential: Any, address: Address = HERE) -> dict[str, str]:
    return dict(credential.headers(address, None))


# values


@pytest.mark.parametrize(
    ("source", "headers", "again"),
    [
        (SECRET, {"Authorization": f"Bearer {SECRET}"}, False),
        (BearerToken(SECRET), {"Authorization": f"Bearer {SECRET}"}, False),
        (BearerToken(lambda: SECRET), {"Authorization": f"Bearer {SECRET}"}, True),
        (("ann", "pass:wörd"), {"Authorization": "Basic YW5uOnBhc3M6d8O2cmQ="}, False),
        (BasicCredential("ann", ""), {"Authorization": "Basic YW5uOg=="}, False),
        (ApiKey(SECRET), {"X-API-Key": SECRET}, False),
        (ApiKey("a b", "X-Other"), {"X-Other": "a b"}, False),
        ({"X-API-Key": SECRET}, {"X-API-Key": SECRET}, False),
        ({"X-API-Key": SECRET, "X-Tenant": "ü b"}, {"X-API-Key": SECRET, "X-Tenant": "ü b"}, False),
        (ByAuthority({f"{HERE.scheme}://{HERE.authority}": {"X-A": "1"}}), {"X-A": "1"}, False),
        (lambda address: SECRET, {"Authorization": f"Bearer {SECRET}"}, True),
        (lambda address: {"X-A": address.host, "X-B": "ü"}, {"X-A": "127.0.0.1", "X-B": "ü"}, True),
        (lambda address: {}, {}, True),
        (lambda address: None, {}, True),
        (ByAuthority({}), {}, False),
    ],
)
def test_what_is_sent(source: Any, headers: Mapping[str, str], again: bool) -> None:
    credential = credentials_of(source)
    assert credential is not None
    assert sent(credential) == headers
    assert credential.rejected(HERE) is again


def test_nothing_to_send() -> None:
    assert credentials_of(None) is None


def test_an_object_is_taken_as_it_is() -> None:
    mine = SimpleNamespace(headers=lambda address, deadline: {"X-Mine": "1"}, rejected=lambda address: False)
    assert credentials_of(mine) is mine


@pytest.mark.parametrize(
    ("credential", "authenticator"),
    [
        (SECRET, BearerAuth({SECRET: "ann"})),
        (("ann", "päss:word"), BasicAuth({"ann": "päss:word"})),
        (ApiKey(SECRET), ApiKeyAuth({SECRET: Identity("ann")})),
        ({"X-API-Key": SECRET}, ApiKeyAuth({SECRET: Identity("ann")})),
    ],
)
def test_what_a_client_sends_the_server_reads(credential: Any, authenticator: Any) -> None:
    headers = {name.lower(): value for name, value in sent(credentials_of(credential)).items()}
    request = SimpleNamespace(headers=headers, query="", peer="", tls_identity=None)
    assert authenticate([authenticator], request).name == "ann"


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: credentials_of(""), "credentials.token"),
    (lambda: credentials_of(f"{SECRET}\r\nX-Evil: 1"), "credentials.token"),
    (lambda: credentials_of(f"{SECRET}\n"), "credentials.token"),
    (lambda: credentials_of(f"{SECRET} b"), "credentials.token"),
    (lambda: credentials_of(f"{SECRET}é"), "credentials.token"),
    (lambda: credentials_of(f"{SECRET}\x00"), "credentials.token"),
    (lambda: credentials_of(1), "credentials"),
    (lambda: credentials_of(b"token"), "credentials"),
    (lambda: credentials_of(["ann", SECRET]), "credentials"),
    (lambda: credentials_of(("ann", SECRET, "x")), "credentials"),
    (lambda: credentials_of({}), "credentials.headers"),
    (lambda: credentials_of({f"X-{n}": SECRET for n in range(21)}), "credentials.headers"),
    (lambda: credentials_of({"https://api.example": SECRET}), "credentials.headers"),
    (lambda: credentials_of({"X Key": SECRET}), "credentials.header"),
    (lambda: credentials_of({"Host": SECRET}), "credentials.header"),
    (lambda: credentials_of({1: SECRET}), "credentials.header"),
    (lambda: credentials_of({"X-A": f"{SECRET}\r\nHost: evil"}), "credentials.header"),
    (lambda: credentials_of({"X-A": SECRET.encode()}), "credentials.header"),
    (lambda: credentials_of(BearerToken), "credentials"),
    (lambda: BearerToken(1), "credentials.token"),  # type: ignore[arg-type]
    (lambda: credentials_of(("a:b", SECRET)), "credentials.basic"),
    (lambda: credentials_of(("", SECRET)), "credentials.basic"),
    (lambda: credentials_of(("ann", f"{SECRET}\n")), "credentials.basic"),
    (lambda: credentials_of(("ann\r", SECRET)), "credentials.basic"),
    (lambda: credentials_of(("ann", f"{SECRET}\ud800")), "credentials.basic"),
    (lambda: credentials_of(("ann", None)), "credentials.basic"),
    (lambda: ApiKey(f"{SECRET}\r\nX: 1"), "credentials.key"),
    (lambda: ApiKey(f" {SECRET}"), "credentials.key"),
    (lambda: ApiKey(f"{SECRET}€"), "credentials.key"),
    (lambda: ApiKey(""), "credentials.key"),
    (lambda: ApiKey(SECRET, "X Key"), "credentials.header"),
    (lambda: ApiKey(SECRET, "X-Key\r\nHost"), "credentials.header"),
    (lambda: ApiKey(SECRET, "Content-Length"), "credentials.header"),
    (lambda: sent(BearerToken(lambda: f"{SECRET}\n")), "credentials.token"),
    (lambda: sent(BearerToken(lambda: None)), "credentials.token"),  # type: ignore[arg-type, return-value]
    (lambda: sent(credentials_of(lambda address: "")), "credentials.token"),
    (lambda: sent(credentials_of(lambda address: 1)), "credentials.callable"),
    (lambda: sent(credentials_of(lambda address: {f"X-{n}": "1" for n in range(21)})), "credentials.callable"),
    (lambda: sent(credentials_of(lambda address: {"X-A": f"{SECRET}\r\nHost: evil"})), "credentials.header"),
    (lambda: sent(credentials_of(lambda address: {"Host": "evil"})), "credentials.header"),
    (lambda: sent(credentials_of(lambda address: {"transfer-encoding": "chunked"})), "credentials.header"),
    (lambda: sent(credentials_of(lambda address: {"X-A": 1})), "credentials.header"),
    (lambda: ByAuthority(SECRET), "credentials.authority"),  # type: ignore[arg-type]
    (lambda: ByAuthority({"api.example": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({"https://api.example/v1": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({"https://api.example?a=b": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({f"https://ann:{SECRET}@api.example": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({"local://add": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({1: SECRET}), "credentials.authority"),  # type: ignore[dict-item]
    (lambda: ByAuthority({"https://h": SECRET, "https://H:443/": SECRET}), "credentials.authority"),
    (lambda: ByAuthority({"https://h": 1}), "credentials"),
    (lambda: OAuth2ClientCredentials("ftp://h/", "shop", SECRET), "oauth2.token_url"),
    (lambda: OAuth2ClientCredentials(f"https://a:{SECRET}@h/", "shop", SECRET), "oauth2.token_url"),
    (lambda: OAuth2ClientCredentials("https://h/", "", SECRET), "oauth2.client_id"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", ""), "oauth2.client_secret"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", f"{SECRET}\n"), "oauth2.client_secret"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", SECRET, scope=""), "oauth2.scope"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", SECRET, audience=1), "oauth2.audience"),  # type: ignore[arg-type]
    (lambda: OAuth2ClientCredentials("https://h/", "shop", SECRET, refresh_before=-1), "oauth2.refresh_before"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", SECRET, timeout=0), "oauth2.timeout"),
    (lambda: OAuth2ClientCredentials("https://h/", "shop", SECRET, timeout=True), "oauth2.timeout"),
]


@pytest.mark.parametrize(("make", "path"), WRONG)
def test_what_cannot_be_sent(make: Callable[[], Any], path: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        make()
    assert refusal.value.path == path
    assert SECRET not in str(refusal.value)
    assert SECRET not in str(refusal.value.to_dict())


def test_headers_by_server_are_another_credential() -> None:
    with pytest.raises(ConfigError, match="ByAuthority"):
        credentials_of({"https://api.example": SECRET})


def test_headers_stay_what_they_were() -> None:
    given_headers = {"X-API-Key": SECRET}
    credential = credentials_of(given_headers)
    given_headers["X-API-Key"] = "other"
    assert sent(credential) == {"X-API-Key": SECRET}
    assert repr(credential) == "credentials_of(X-API-Key: ***)"


@given(st.text(max_size=20))
def test_no_text_breaks_out_of_its_header(text: str) -> None:
    for make in (BearerToken, ApiKey, lambda given: BasicCredential("ann", given)):
        try:
            headers = sent(make(text))
        except ConfigError:
            continue
        for value in headers.values():
            value.encode("latin-1")
            assert not set(value) & {"\r", "\n", "\x00"}


@pytest.mark.parametrize(
    "credential",
    [
        credentials_of(SECRET),
        credentials_of(("ann", SECRET)),
        ApiKey(SECRET),
        ByAuthority({"https://h": SECRET}),
        OAuth2ClientCredentials("https://h/", "shop", SECRET),
        BearerToken(lambda: SECRET),
        credentials_of(lambda address: SECRET),
        credentials_of({"X-API-Key": SECRET}),
    ],
)
def test_secrets_are_not_shown(credential: Any) -> None:
    for text in (repr(credential), str(credential), f"{credential}"):
        assert SECRET not in text
        assert base64.b64encode(SECRET.encode()).decode()[:10] not in text


def test_a_callable_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fails(address: Any = None) -> str:
        raise KeyError(SECRET)

    for credential in (BearerToken(fails), credentials_of(fails)):
        with caplog.at_level(logging.DEBUG, "portal.auth"), pytest.raises(AuthenticationError) as refusal:
            sent(credential)
        assert refusal.value.__cause__ is None
        assert SECRET not in refusal.value.stack_trace()
    assert SECRET not in caplog.text
    assert "KeyError in fails" in caplog.text

    def unknown(address: Address) -> str:
        raise RegistryError("no such vault")

    with pytest.raises(RegistryError):
        sent(credentials_of(unknown))


@pytest.mark.parametrize(
    ("called", "which"),
    [
        ("https://api.example/api/add", "one"),
        ("https://API.example:443/x?y=1", "one"),
        ("https://api.example:8443/x", "two"),
        ("http://[::1]:8080/x", "three"),
        ("http://api.example/x", None),
        ("http://api.example:443/x", None),
        ("https://api.example:444/x", None),
        ("https://api.example.evil.example/x", None),
        ("https://evil.example/api.example", None),
        ("https://xapi.example/", None),
        ("https://api.example./x", None),
        ("wss://api.example/x", None),
        ("local://api.example/x", None),
    ],
)
def test_a_secret_goes_only_where_it_belongs(called: str, which: str | None) -> None:
    credential = ByAuthority(
        {
            "https://api.example": BearerToken(lambda: "one"),
            "https://api.example:8443/": "two",
            "http://[::1]:8080": "three",
            "https://none.example": None,
        }
    )
    address = Address.parse(called)
    assert sent(credential, address) == ({} if which is None else {"Authorization": f"Bearer {which}"})
    assert credential.rejected(address) is (which == "one")
