"""Each authenticator accepts its own credentials and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import Identity
from portal.auth.authentication import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    CertificateAuth,
    authenticate,
    authenticators_of,
    challenges_of,
)
from portal.auth.passwords import Password
from portal.auth.secrets import KeyTable
from portal.errors import (
    AuthenticationError,
    ConfigError,
)
from portal.http11.request_head import parse_request_head
from portal.serving.messages.request import Request
from tests.support.credentials import (
    ANN,
    BASIC,
    BEARER,
    BOB,
    CERTIFICATE,
    DEVICE,
    KEY,
    KEY_BOTH,
    KEY_QUERY,
    SECRET,
    Sent,
    anybody,
    authorized,
    basic,
    fails,
    nobody,
    refusal_of,
)

# (auth, the request, the name of the identity, or None if the request is rejected)
BYPASS: list[tuple[Any, Sent, str | None]] = [
    # nothing at all: the Go original let these calls through
    (BEARER, Sent(), None),
    (BASIC, Sent(), None),
    (KEY, Sent(), None),
    (KEY_QUERY, Sent(), None),
    (CERTIFICATE, Sent(), None),
    (nobody, Sent(), None),
    ([BEARER, BASIC, KEY, CERTIFICATE, nobody], Sent(), None),
    # bearer
    (BEARER, authorized(f"Bearer {SECRET}"), "ann"),
    (BEARER, authorized("Bearer other"), "bob"),
    (BEARER, authorized(f"bearer {SECRET}"), "ann"),
    (BEARER, authorized(f"BEARER {SECRET}"), "ann"),
    (BEARER, authorized(f"Bearer   {SECRET}"), "ann"),  # 1*SP, RFC 9110 section 11.4
    (BEARER, authorized(f"  Bearer {SECRET}\t"), "ann"),  # whitespace around a value is none of it
    (BEARER, authorized("Bearer wrong"), None),
    (BEARER, authorized(f"Bearer {SECRET.lower()}"), None),
    (BEARER, authorized(f"Bearer {SECRET[:-1]}"), None),
    (BEARER, authorized(f"Bearer {SECRET}x"), None),
    (BEARER, authorized(f"Bearer {SECRET}="), None),
    (BEARER, authorized("Bearer"), None),
    (BEARER, authorized("Bearer "), None),
    (BEARER, authorized(""), None),
    (BEARER, authorized(" "), None),
    (BEARER, authorized(SECRET), None),
    (BEARER, authorized(f"Bearer\t{SECRET}"), None),
    (BEARER, authorized(f"Bearer={SECRET}"), None),
    (BEARER, authorized(f'Bearer "{SECRET}"'), None),
    (BEARER, authorized(f"Bearer {SECRET}\x00"), None),
    (BEARER, authorized(f"Bearer \x00{SECRET}"), None),
    (BEARER, authorized(f"Bearer {SECRET}\n"), None),
    (BEARER, authorized(f"Bearer {SECRET} {SECRET}"), None),
    (BEARER, authorized(f"Bearer {SECRET}, Bearer {SECRET}"), None),
    (BEARER, authorized(f"Bearer wrong, Bearer {SECRET}"), None),
    (BEARER, authorized(f"Bearer {SECRET},"), None),
    (BEARER, authorized(f"Bearer {SECRET}é"), None),
    (BEARER, authorized(f"Bearer\u00a0{SECRET}"), None),
    (BEARER, authorized(f"Bearer{SECRET}"), None),
    (BEARER, authorized(f"Token {SECRET}"), None),
    (BEARER, authorized(basic(f"{SECRET}:")), None),
    (BEARER, authorized(f"Basic {SECRET}"), None),
    (BEARER, authorized("Bearer None"), None),
    (BEARER, authorized("Bearer null"), None),
    (BEARER, Sent({"x-api-key": SECRET}), None),
    (BEARER, Sent({"Authorization": f"Bearer {SECRET}"}), None),  # a transport gives lower-case names
    (BEARER, Sent({"proxy-authorization": f"Bearer {SECRET}"}), None),
    (BEARER, Sent({"x-user": "ann", "x-forwarded-user": "ann", "remote-user": "ann"}), None),
    (BEARER, Sent(query=f"access_token={SECRET}"), None),
    (BEARER, Sent(tls_identity=DEVICE), None),
    (BearerAuth({}), authorized("Bearer wrong"), None),
    (BearerAuth(lambda token: ANN if token == SECRET else None), authorized(f"Bearer {SECRET}"), "ann"),
    (BearerAuth(lambda token: ANN if token == SECRET else None), authorized("Bearer wrong"), None),
    (BearerAuth(fails), authorized("Bearer wrong"), None),
    (BearerAuth(lambda token: True), authorized("Bearer wrong"), None),  # type: ignore[arg-type, return-value]
    (BearerAuth(lambda token: "ann"), authorized("Bearer wrong"), None),  # type: ignore[arg-type, return-value]
    # basic
    (BASIC, authorized(basic("ann:pass:word")), "ann"),
    (BASIC, authorized(basic("bøb:pässword")), "bøb"),
    (BASIC, authorized(basic("ann:pass:word").replace("Basic", "bAsIc")), "ann"),
    (BASIC, authorized(basic("ann:pass")), None),
    (BASIC, authorized(basic("ann:")), None),
    (BASIC, authorized(basic("ann")), None),
    (BASIC, authorized(basic("")), None),
    (BASIC, authorized(basic(":")), None),
    (BASIC, authorized(basic(":pass:word")), None),
    (BASIC, authorized(basic("ANN:pass:word")), None),
    (BASIC, authorized(basic("ann:PASS:WORD")), None),
    (BASIC, authorized(basic("ann:pass:word\x00")), None),
    (BASIC, authorized(basic("ann\x00:pass:word")), None),
    (BASIC, authorized(basic("ann:pass:word\n")), None),
    (BASIC, authorized(basic(" ann:pass:word")), None),
    (BASIC, authorized(basic("bøb:pässword".encode("latin-1"))), None),
    (BASIC, authorized(basic(b"\xff\xfe:\xff")), None),
    (BASIC, authorized(basic("carl:pass:word")), None),
    (BASIC, authorized("Basic"), None),
    (BASIC, authorized("Basic !!!!"), None),
    (BASIC, authorized("Basic YW5uOnBhc3M6d29yZA"), None),  # without its padding
    (BASIC, authorized("Basic YW5uOnBhc3M6d29yZA= ="), None),
    (BASIC, authorized("Basic YW5u OnBhc3M6d29yZA=="), None),
    (BASIC, authorized("Basic ann:pass:word"), None),
    (BASIC, authorized("Basic -_-_"), None),
    (BASIC, authorized(f"{basic('ann:pass:word')}, {basic('ann:pass:word')}"), None),
    (BASIC, authorized(f"Bearer {SECRET}"), None),
    (BasicAuth({}), authorized(basic(":")), None),
    (BasicAuth(lambda user, word: Identity(user) if word == "x:y" else None), authorized(basic("eve:x:y")), "eve"),
    (BasicAuth(lambda user, word: Identity(user) if word == "x:y" else None), authorized(basic("eve:x")), None),
    (BasicAuth(fails), authorized(basic("ann:pass:word")), None),
    # keys
    (KEY, Sent({"x-api-key": SECRET}), "ann"),
    (KEY, Sent({"x-api-key": ""}), None),
    (KEY, Sent({"x-api-key": "wrong"}), None),
    (KEY, Sent({"x-api-key": f"{SECRET}, {SECRET}"}), None),
    (KEY, Sent({"x-api-key": f"wrong, {SECRET}"}), None),
    (KEY, Sent({"x-api-key": f"{SECRET}\x00"}), None),
    (KEY, Sent({"x-api-key": f"{SECRET}ÿ"}), None),
    (KEY, Sent(query=f"X-API-Key={SECRET}"), None),
    (KEY, authorized(f"Bearer {SECRET}"), None),
    (KEY_QUERY, Sent(query=f"a=1&api_key={SECRET}&b"), "ann"),
    (KEY_QUERY, Sent(query=f"api%5Fkey={SECRET.replace('.', '%2E')}"), "ann"),
    (KEY_QUERY, Sent(query="api_key="), None),
    (KEY_QUERY, Sent(query="api_key"), None),
    (KEY_QUERY, Sent(query=f"api_key={SECRET}&api_key={SECRET}"), None),
    (KEY_QUERY, Sent(query=f"api_key=wrong&api_key={SECRET}"), None),
    (KEY_QUERY, Sent(query=f"API_KEY={SECRET}"), None),
    (KEY_QUERY, Sent(query=f"api_key={SECRET}%00"), None),
    (KEY_QUERY, Sent(query="api_key=%ff%fe"), None),
    (KEY_QUERY, Sent({"x-api-key": SECRET}), None),
    (KEY_BOTH, Sent({"x-api-key": SECRET}), "ann"),
    (KEY_BOTH, Sent(query=f"api_key={SECRET}"), "ann"),
    (KEY_BOTH, Sent({"x-api-key": SECRET}, query="api_key=wrong"), None),
    (KEY_BOTH, Sent({"x-api-key": "wrong"}, query=f"api_key={SECRET}"), None),
    (ApiKeyAuth(fails), Sent({"x-api-key": SECRET}), None),
    (ApiKeyAuth({SECRET: ANN}, header="X-Key"), Sent({"x-key": SECRET}), "ann"),
    (ApiKeyAuth({SECRET: ANN}, header="X-Key"), Sent({"x-api-key": SECRET}), None),
    # certificates
    (CERTIFICATE, Sent(tls_identity=DEVICE), "device-7"),
    (CERTIFICATE, Sent({"x-client-cert": "device-7", "x-ssl-client-s-dn": "CN=device-7"}), None),
    (CertificateAuth(lambda found: Identity(found.name.upper())), Sent(tls_identity=DEVICE), "DEVICE-7"),
    (CertificateAuth(nobody), Sent(tls_identity=DEVICE), None),
    (CertificateAuth(fails), Sent(tls_identity=DEVICE), None),
    # callables
    (lambda request: BOB if request.peer == "192.0.2.1" else None, Sent(), "bob"),
    (lambda request: BOB if request.peer == "192.0.2.1" else None, Sent(peer="192.0.2.2"), None),
    (fails, Sent(), None),
    (lambda request: True, Sent(), None),
    (lambda request: "ann", Sent(), None),
    (lambda request: {"name": "ann"}, Sent(), None),
    (lambda request: request.headers["x-token"], Sent(), None),
    # several at once: the first that finds its credential decides
    ([BEARER, BASIC], authorized(f"Bearer {SECRET}"), "ann"),
    ([BEARER, BASIC], authorized(basic("bøb:pässword")), "bøb"),
    ([BEARER, BASIC], authorized(f"Basic {SECRET}"), None),
    ([BEARER, BASIC], authorized(basic("ann:pass:word").replace("Basic", "Bearer")), None),
    ([BEARER, BASIC], authorized(f"Digest {SECRET}"), None),
    ([BEARER, KEY], Sent({"x-api-key": SECRET}), "ann"),
    ([BEARER, KEY], Sent({"authorization": "Bearer wrong", "x-api-key": SECRET}), None),
    ([BEARER, KEY], Sent({"authorization": "Bearer", "x-api-key": SECRET}), None),
    ([BEARER, KEY], Sent({"authorization": "Bearer other", "x-api-key": "wrong"}), "bob"),
    ([KEY, BEARER], Sent({"authorization": "Bearer other", "x-api-key": "wrong"}), None),
    ([BEARER, anybody], Sent(), "bob"),
    ([BEARER, anybody], authorized("Bearer wrong"), None),
    ([BASIC, anybody], authorized(basic("ann:wrong")), None),
    ([KEY, anybody], Sent({"x-api-key": ""}), None),
    ([fails, anybody], Sent(), None),
    ([nobody, anybody], Sent(), "bob"),
    ([BEARER, CERTIFICATE], Sent(tls_identity=DEVICE), "device-7"),
    ([BEARER, CERTIFICATE], authorized("Bearer wrong", tls_identity=DEVICE), None),
    ([CERTIFICATE, BEARER], authorized(f"Bearer {SECRET}", tls_identity=DEVICE), "device-7"),
    ([lambda request: 0, anybody], Sent(), None),
]


@pytest.mark.parametrize(("auth", "sent", "name"), BYPASS)
def test_only_a_right_credential_gets_in(auth: Any, sent: Sent, name: str | None) -> None:
    authenticators = authenticators_of(auth)
    if name is not None:
        assert authenticate(authenticators, sent).name == name
        return
    with pytest.raises(AuthenticationError) as refusal:
        authenticate(authenticators, sent)
    error = refusal.value
    assert challenges_of(error)
    assert error.status == 401
    assert error.__cause__ is None
    for told in (str(error), repr(error), str(error.to_dict()), error.stack_trace().splitlines()[-1]):
        assert SECRET not in told
        assert "pass:word" not in told
    assert "challenges" not in error.to_dict()


def test_a_request_as_the_listener_reads_it() -> None:
    data = f"POST /api/add?api_key={SECRET} HTTP/1.1\r\nHost: h\r\nAUTHORIZATION: bEARER {SECRET}\r\n".encode()
    request = Request(parse_request_head(data + b"Content-Length: 0\r\n\r\n"), b"")
    assert authenticate([BEARER], request) is ANN
    assert authenticate([KEY_QUERY], request) is ANN
    with pytest.raises(AuthenticationError):
        authenticate([CERTIFICATE], request)


def test_scopes_are_those_of_the_credential() -> None:
    assert authenticate([BASIC], authorized(basic("ann:pass:word"))).scopes == {"orders"}
    assert authenticate([BASIC], authorized(basic("bøb:pässword"))).scopes == frozenset()
    assert authenticate([BEARER], authorized(f"Bearer {SECRET}")).scopes == {"orders"}


CASES: list[tuple[Callable[[], Any], str]] = [
    (lambda: authenticators_of([]), "auth"),
    (lambda: authenticators_of("token"), "auth"),
    (lambda: authenticators_of({"token": "ann"}), "auth"),
    (lambda: authenticators_of(1), "auth"),
    (lambda: authenticators_of([BEARER, None]), "auth"),
    (lambda: authenticators_of([[BEARER]]), "auth"),
    (lambda: authenticators_of(BearerAuth), "auth"),
    (lambda: authenticators_of(object()), "auth"),
    (lambda: authenticators_of([BEARER, BearerAuth({})]), "auth"),
    (lambda: authenticators_of([BASIC, KEY, BASIC]), "auth"),
    (lambda: BearerAuth({SECRET: 1}), "bearer.tokens"),  # type: ignore[dict-item]
    (lambda: BearerAuth({SECRET: ""}), "bearer.tokens"),
    (lambda: BearerAuth({"": "ann"}), "bearer.tokens"),
    (lambda: BearerAuth({"two words": "ann"}), "bearer.tokens"),
    (lambda: BearerAuth({"größe": "ann"}), "bearer.tokens"),
    (lambda: BearerAuth({1: "ann"}), "bearer.tokens"),  # type: ignore[dict-item]
    (lambda: BearerAuth(SECRET), "bearer.tokens"),  # type: ignore[arg-type]
    (lambda: BearerAuth([SECRET]), "bearer.tokens"),  # type: ignore[arg-type]
    (lambda: BearerAuth(Identity), "bearer.tokens"),
    (lambda: BearerAuth({}, realm='a"b'), "bearer.realm"),
    (lambda: BearerAuth({}, realm="a\r\nb"), "bearer.realm"),
    (lambda: BearerAuth({}, realm=""), "bearer.realm"),
    (lambda: ApiKeyAuth({"a b": "ann"}), "api_key.keys"),
    (lambda: ApiKeyAuth({}, header=None), "api_key.header"),
    (lambda: ApiKeyAuth({}, header="X Key"), "api_key.header"),
    (lambda: ApiKeyAuth({}, header="Host"), "api_key.header"),
    (lambda: ApiKeyAuth({}, header="Authorization"), "api_key.header"),
    (lambda: ApiKeyAuth({}, query=""), "api_key.query"),
    (lambda: ApiKeyAuth({}, query=1), "api_key.query"),  # type: ignore[arg-type]
    (lambda: ApiKeyAuth({}, realm="\\"), "api_key.realm"),
    (lambda: BasicAuth({"a:b": SECRET}), "basic.users"),
    (lambda: BasicAuth({"": SECRET}), "basic.users"),
    (lambda: BasicAuth({"a\n": SECRET}), "basic.users"),
    (lambda: BasicAuth({"a": ""}), "basic.users"),
    (lambda: BasicAuth({"a": "x\x00"}), "basic.users"),
    (lambda: BasicAuth({"a": None}), "basic.users"),  # type: ignore[dict-item]
    (lambda: BasicAuth({"a": f"scrypt:{SECRET}"}), "basic.users"),
    (lambda: BasicAuth({"a": "scrypt:3:8:1$salt$" + "00" * 64}), "basic.users"),
    (lambda: BasicAuth({"a": "scrypt:16777216:8:1$salt$" + "00" * 64}), "basic.users"),
    (lambda: BasicAuth({"a": "pbkdf2:md5:10$salt$" + "00" * 32}), "basic.users"),
    (lambda: BasicAuth({"a": "pbkdf2:sha256:0$salt$" + "00" * 32}), "basic.users"),
    (lambda: BasicAuth({"a": SECRET}, scopes={"b": ["x"]}), "basic.scopes"),
    (lambda: BasicAuth({"a": SECRET}, scopes={"a": "orders"}), "basic.scopes"),
    (lambda: BasicAuth({"a": SECRET}, scopes={"a": 1}), "basic.scopes"),  # type: ignore[dict-item]
    (lambda: BasicAuth(nobody, scopes={"a": ["x"]}), "basic.scopes"),
    (lambda: BasicAuth("ann:x"), "basic.users"),  # type: ignore[arg-type]
    (lambda: CertificateAuth(1), "certificate.identity_of"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "path"), CASES)
def test_wrong_settings(make: Callable[[], Any], path: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        make()
    assert refusal.value.path == path
    assert refusal.value.expected
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "shown",
    [BEARER, BASIC, KEY, KEY_QUERY, BasicAuth(nobody), BearerAuth(nobody), Password(SECRET), KeyTable([(SECRET, ANN)])],
)
def test_secrets_are_not_shown(shown: Any) -> None:
    for text in (repr(shown), str(shown), f"{shown}"):
        assert SECRET not in text
        assert "pass:word" not in text


def test_an_unknown_name_takes_as_long_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    fits = Password.matches
    monkeypatch.setattr(Password, "matches", lambda self, given: checked.append(given) or fits(self, given))
    cheap = "pbkdf2:sha256:1000$salt$632c2812e46d4604102ba7618e9d6d7d2f8128f6266b4a03264d2a0460b7dcb3"
    auth = BasicAuth({"carl": "clear", "bob": cheap})
    refusal_of(auth, authorized(basic("dora:password")))  # even with the password that the stand-in's hash is of
    assert checked == ["password"]
    assert Password(cheap).decoy().hashed
    assert not Password("clear").decoy().hashed


@given(st.text(max_size=40) | st.builds("Bearer {}".format, st.text(max_size=20)))
def test_no_other_text_gets_in(value: str) -> None:
    with pytest.raises(AuthenticationError):
        authenticate((BEARER, BASIC), authorized(value))


@given(st.binary(max_size=30))
def test_no_other_bytes_get_in(value: bytes) -> None:
    with pytest.raises(AuthenticationError):
        authenticate((BASIC, BEARER), authorized(basic(value)))


@given(st.text(max_size=60))
def test_no_other_query_gets_in(value: str) -> None:
    with pytest.raises(AuthenticationError):
        authenticate((KEY_QUERY,), Sent(query=f"api_key={value}"))
