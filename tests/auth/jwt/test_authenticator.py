"""JWTAuth: an attack table, and key sets from a real endpoint."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from jwt.algorithms import RSAAlgorithm

from portal.auth.authentication import authenticate, authenticators_of, challenges_of
from portal.auth.jwt.authenticator import JWTAuth
from portal.context import Identity
from portal.errors import AuthenticationError, ConfigError
from tests.support.clocks import Clock
from tests.support.tokens import (
    CLAIMS,
    EC256,
    ED,
    RSA_KEY,
    RSA_OTHER,
    RSA_WEAK,
    SECRET,
    SPKI,
    Issuer,
    auth,
    authorized,
    b64,
    by_issuer,
    certificate,
    jwk,
    pem,
    private_pem,
    raw,
    refused,
    signed,
    token,
)


def test_an_identity_has_scopes_and_claims() -> None:
    checked = auth()
    assert checked.identity_of(token(scope="read  write")).scopes == {"read", "write"}
    assert checked.identity_of(token(scope=["a b", "c"])).scopes == {"a b", "c"}
    assert checked.identity_of(token()).scopes == frozenset()
    assert checked.identity_of(token(team="blue")).claims["team"] == "blue"
    own = auth(scopes_claim="permissions", name_claim="client_id")
    identity = own.identity_of(token(client_id="shop", permissions=["x"], scope="y"))
    assert (identity.name, identity.scopes) == ("shop", {"x"})


def test_settings_that_let_more_in() -> None:
    assert auth(audience=["stock", "orders"]).identity_of(token(aud=["orders", "other"])).name == "ann"
    assert auth(issuer=["https://id.example"]).identity_of(token()).name == "ann"
    several = auth(issuer=["https://id.example", "https://other.example"])
    names = [several.identity_of(token(iss=f"https://{host}.example")).name for host in ("id", "other")]
    assert names == ["https://id.example#ann", "https://other.example#ann"]  # two people
    assert auth(issuer=None).identity_of(token(iss=...)).name == "ann"
    assert auth(audience=None).identity_of(token(aud=...)).name == "ann"
    assert auth(require=()).identity_of(token(exp=...)).name == "ann"
    now = int(time.time())
    assert auth(leeway=60).identity_of(token(exp=now - 20, nbf=now + 20, iat=now + 20)).name == "ann"
    assert auth().identity_of(token(exp=now + 600.5, nbf=now - 5)).name == "ann"
    assert auth(algorithms=("RS256", "PS256")).identity_of(token(algorithm="PS256")).name == "ann"


def test_no_token_of_this_kind() -> None:
    assert auth().authenticate(authorized("Basic eDp5")) is None
    with pytest.raises(AuthenticationError) as refusal:
        authenticate(authenticators_of(auth()), authorized("Basic eDp5"))
    assert challenges_of(refusal.value) == ('Bearer realm="portal"',)


NOW = int(time.time())
DAY = 86_400  # longer than any run of the suite
RS = {"alg": "RS256", "typ": "JWT"}
JWK_OF_ATTACKER = json.loads(RSAAlgorithm.to_jwk(RSA_OTHER.public_key()))
GOOD_PARTS = token().split(".")

ATTACKS: dict[str, str] = {
    **{
        f"alg {spelled!r}": f"{b64({'alg': spelled})}.{b64(CLAIMS)}.{signature}"
        for spelled in ("none", "None", "NONE", "nOnE", "", " none", "none ", None, 0, True, [], ["none"], ["RS256"])
        for signature in ("", GOOD_PARTS[2])
    },
    "no alg": raw({"typ": "JWT"}, CLAIMS),
    "unknown alg": raw({"alg": "XX256"}, CLAIMS),
    "alg in lower case": raw({"alg": "rs256"}, CLAIMS),
    "alg not allowed": token(algorithm="RS512"),
    "HS with the public key": raw({"alg": "HS256"}, CLAIMS, pem(RSA_KEY)),
    "HS with the public key without its line end": raw({"alg": "HS256"}, CLAIMS, pem(RSA_KEY).strip()),
    "HS with the key in DER": raw(
        {"alg": "HS256"}, CLAIMS, RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, SPKI)
    ),
    "HS with nothing": raw({"alg": "HS256"}, CLAIMS, b""),
    "HS signed, RS named": raw(RS, CLAIMS, pem(RSA_KEY)),
    "another key": token(RSA_OTHER),
    "its own key in the header": token(RSA_OTHER, header={"jwk": JWK_OF_ATTACKER}),
    "address of its key": token(RSA_OTHER, header={"jku": "http://127.0.0.1:9/keys"}),
    "address of its certificate": token(RSA_OTHER, header={"x5u": "http://127.0.0.1:9/x"}),
    "its own certificate": token(RSA_OTHER, header={"x5c": ["AAAA"]}),
    "kid of a file": token(RSA_OTHER, header={"kid": "../../../../dev/null"}),
    "kid of a query": token(RSA_OTHER, header={"kid": "' UNION SELECT 'x"}),
    "kid that is no text": raw({**RS, "kid": 1}, CLAIMS),
    "kid that is a list": raw({**RS, "kid": ["a"]}, CLAIMS),
    "crit": raw({**RS, "crit": ["exp"]}, CLAIMS),
    "crit of nothing": raw({**RS, "crit": []}, CLAIMS),
    "crit b64": raw({**RS, "crit": ["b64"], "b64": False}, CLAIMS),
    "b64": raw({**RS, "b64": True}, CLAIMS),
    "expired": token(exp=NOW - 1),
    "expired long ago": token(exp=0),
    "exp below nothing": token(exp=-(10**30)),
    "no exp": token(exp=...),
    "exp null": raw(RS, CLAIMS | {"exp": None}),
    "exp is text": raw(RS, CLAIMS | {"exp": str(NOW + 600)}),
    "exp is true": raw(RS, CLAIMS | {"exp": True}),
    "exp is a list": raw(RS, CLAIMS | {"exp": [NOW + 600]}),
    "exp is endless": raw(RS, CLAIMS | {"exp": float("inf")}),
    "exp is too big for a float": raw(RS, json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), "1e999")),
    "exp is no number": raw(RS, CLAIMS | {"exp": float("nan")}),
    "exp is very long": raw(RS, json.dumps(CLAIMS).replace(str(CLAIMS["exp"]), "9" * 5000)),
    "not yet": token(nbf=NOW + DAY, exp=NOW + 2 * DAY),
    "nbf is text": raw(RS, CLAIMS | {"nbf": "0"}),
    "made in the future": token(iat=NOW + DAY, exp=NOW + 2 * DAY),
    "iat is text": raw(RS, CLAIMS | {"iat": "0"}),
    "another audience": token(aud="stock"),
    "other audiences": token(aud=["stock", "orders2"]),
    "audience in another case": token(aud="Orders"),
    "no audience": token(aud=...),
    "audience of nothing": token(aud=[]),
    "audience null": raw(RS, CLAIMS | {"aud": None}),
    "audience is a number": raw(RS, CLAIMS | {"aud": 1}),
    "audience is an object": raw(RS, CLAIMS | {"aud": {"orders": 1}}),
    "another issuer": token(iss="https://evil.example"),
    "issuer with more": token(iss="https://id.example/"),
    "issuer is part of it": token(iss="https://id"),
    "no issuer": token(iss=...),
    "issuer is a list": raw(RS, CLAIMS | {"iss": ["https://id.example"]}),
    "no sub": token(sub=...),
    "sub empty": token(sub=""),
    "sub null": raw(RS, CLAIMS | {"sub": None}),
    "sub is a number": raw(RS, CLAIMS | {"sub": 1}),
    "sub is a list": raw(RS, CLAIMS | {"sub": ["ann"]}),
    "scope is a number": token(scope=1),
    "scope holds numbers": token(scope=["a", 1]),
    "scope is an object": token(scope={"orders": True}),
    "alg twice": raw('{"alg":"none","alg":"RS256"}', CLAIMS),
    "alg twice, differently spelled": raw('{"alg":"RS256","\\u0061lg":"RS256"}', CLAIMS),
    "sub twice": raw(RS, json.dumps(CLAIMS)[:-1] + ',"sub":"root"}'),
    "a name twice inside": raw(RS, json.dumps(CLAIMS)[:-1] + ',"act":{"sub":"a","sub":"b"}}'),
    "claims are a list": raw(RS, json.dumps([CLAIMS])),
    "claims are null": raw(RS, "null"),
    "claims are no JSON": raw(RS, "{"),
    "claims are empty": raw(RS, ""),
    "claims are no UTF-8": raw(RS, b'{"sub":"\xff"}'),
    "claims are deep": raw(RS, "[" * 2500 + "]" * 2500),
    "header is a list": raw("[]", CLAIMS),
    "header is text": raw('"RS256"', CLAIMS),
    "header is no JSON": raw("{", CLAIMS),
    "header is deep": raw('{"alg":' + "[" * 2500, CLAIMS),
    "header is empty": raw("", CLAIMS),
    "claims changed": f"{GOOD_PARTS[0]}.{b64(CLAIMS | {'sub': 'root'})}.{GOOD_PARTS[2]}",
    "header changed": f"{b64({**RS, 'kid': 'x'})}.{GOOD_PARTS[1]}.{GOOD_PARTS[2]}",
    "no signature": f"{GOOD_PARTS[0]}.{GOOD_PARTS[1]}.",
    "signature cut": ".".join(GOOD_PARTS)[:-4],
    "signature of zeros": f"{GOOD_PARTS[0]}.{GOOD_PARTS[1]}.{b64(bytes(256))}",
    "two parts": f"{GOOD_PARTS[0]}.{GOOD_PARTS[1]}",
    "four parts": f"{'.'.join(GOOD_PARTS)}.{GOOD_PARTS[2]}",
    "five parts, as if encrypted": ".".join([*GOOD_PARTS, "AA", "AA"]),
    "one part": GOOD_PARTS[0],
    "dots": "..",
    "padded": f"{GOOD_PARTS[0]}==.{GOOD_PARTS[1]}.{GOOD_PARTS[2]}",
    "plain base64": ".".join(GOOD_PARTS).replace("-", "+").replace("_", "/") + "+",
    "huge": f"{GOOD_PARTS[0]}.{b64(CLAIMS | {'x': 'y' * 9000})}.{GOOD_PARTS[2]}",
    "twice": f"{'.'.join(GOOD_PARTS)}, Bearer {'.'.join(GOOD_PARTS)}",
    "in quotation marks": f'"{".".join(GOOD_PARTS)}"',
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_or_malformed_token_is_rejected_without_a_reason(attack: str) -> None:
    error = refused(auth(), ATTACKS[attack])
    assert challenges_of(error) == ('Bearer realm="portal", error="invalid_token"',)
    assert error.__cause__ is None
    assert ATTACKS[attack][:30] not in str(error.to_dict())


def test_what_keeps_a_good_token_good() -> None:
    """The attacks differ from this by one thing each."""
    assert auth().identity_of(raw(RS, CLAIMS)).name == "ann"
    assert auth().identity_of(token(header={"kid": "any", "jku": "http://127.0.0.1:9/", "jwk": JWK_OF_ATTACKER})).name


def test_a_client_is_told_that_its_token_has_expired() -> None:
    assert str(refused(auth(), ATTACKS["expired"])) == "the token has expired"
    assert str(refused(auth(), ATTACKS["huge"])) == "the token is too long"
    assert str(refused(auth(), ATTACKS["another key"])) == "the token is not valid"
    assert auth(max_length=20_000).identity_of(token(x="y" * 9000)).name == "ann"


def test_audience_of_somebody_else() -> None:
    refused(auth(audience=None), token())


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"algorithms": []}, "jwt.algorithms"),
    ({"algorithms": None}, "jwt.algorithms"),
    ({"algorithms": "RS256"}, "jwt.algorithms"),
    ({"algorithms": ["none"]}, "jwt.algorithms"),
    ({"algorithms": ["RS256", "none"]}, "jwt.algorithms"),
    ({"algorithms": ["None"]}, "jwt.algorithms"),
    ({"algorithms": ["rs256"]}, "jwt.algorithms"),
    ({"algorithms": [None]}, "jwt.algorithms"),
    ({"algorithms": ["ES256K"]}, "jwt.algorithms"),
    ({"algorithms": {"RS256": 1}}, "jwt.algorithms"),
    ({"algorithms": ["HS256"]}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": pem(RSA_KEY).decode()}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": b"\n" + pem(RSA_KEY)}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": private_pem(RSA_KEY)}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": certificate(RSA_KEY)}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, SPKI)}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": b"ssh-rsa " + b"A" * 99}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": json.dumps(JWK_OF_ATTACKER)}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": RSA_KEY.public_key()}, "jwt.key"),
    ({"algorithms": ["HS256"], "key": SECRET[:31]}, "jwt.key"),
    ({"algorithms": ["HS384"], "key": SECRET[:47]}, "jwt.key"),
    ({"algorithms": ["HS256", "HS512"], "key": SECRET[:63]}, "jwt.key"),
    ({"algorithms": ["HS256", "RS256"]}, "jwt.key"),
    ({"algorithms": ["HS256", "RS256"], "key": SECRET}, "jwt.key"),
    ({"key": SECRET}, "jwt.key"),
    ({"key": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}, "jwt.key"),
    ({"key": private_pem(RSA_KEY)}, "jwt.key"),
    ({"key": RSA_KEY}, "jwt.key"),
    ({"key": pem(RSA_WEAK)}, "jwt.key"),
    ({"key": pem(EC256)}, "jwt.key"),
    ({"key": 1}, "jwt.key"),
    ({"key": pem(EC256), "algorithms": ["ES384"]}, "jwt.key"),
    ({"key": pem(EC256), "algorithms": ["ES256", "ES384"]}, "jwt.key"),
    ({"key": pem(EC256), "algorithms": ["EdDSA"]}, "jwt.key"),
    ({"key": pem(ED), "algorithms": ["ES256"]}, "jwt.key"),
    ({"key": None}, "jwt.key"),
    ({"jwks_url": "https://id.example/keys"}, "jwt.key"),
    ({"key": None, "jwks_url": "https://id.example/keys", "algorithms": ["HS256"]}, "jwt.algorithms"),
    ({"key": None, "jwks_url": "https://id.example/keys", "algorithms": ["RS256", "HS256"]}, "jwt.algorithms"),
    ({"key": None, "jwks_url": "file:///etc/keys"}, "jwt.jwks_url"),
    ({"key": None, "jwks_url": "ftp://id.example/keys"}, "jwt.jwks_url"),
    ({"key": None, "jwks_url": "https://ann:word@id.example/keys"}, "jwt.jwks_url"),
    ({"key": None, "jwks_url": "id.example/keys"}, "jwt.jwks_url"),
    ({"key": None, "jwks_url": 1}, "jwt.jwks_url"),
    ({"key": None, "jwks_url": "http://h/", "jwks_seconds": 0}, "jwt.jwks_seconds"),
    ({"key": None, "jwks_url": "http://h/", "jwks_min_interval": -1}, "jwt.jwks_min_interval"),
    ({"key": None, "jwks_url": "http://h/", "jwks_keep": True}, "jwt.jwks_keep"),
    ({"key": None, "jwks_url": "http://h/", "jwks_timeout": "1"}, "jwt.jwks_timeout"),
    ({"audience": ""}, "jwt.audience"),
    ({"audience": []}, "jwt.audience"),
    ({"audience": ["a", 1]}, "jwt.audience"),
    ({"audience": 1}, "jwt.audience"),
    ({"issuer": {"a": 1}}, "jwt.issuer"),
    ({"issuer": b"a"}, "jwt.issuer"),
    ({"leeway": -1}, "jwt.leeway"),
    ({"leeway": True}, "jwt.leeway"),
    ({"leeway": float("inf")}, "jwt.leeway"),
    ({"max_length": 0}, "jwt.max_length"),
    ({"max_length": 1.5}, "jwt.max_length"),
    ({"max_cached_tokens": -1}, "jwt.max_cached_tokens"),
    ({"max_cached_tokens": True}, "jwt.max_cached_tokens"),
    ({"require": "exp"}, "jwt.require"),
    ({"require": [1]}, "jwt.require"),
    ({"require": None}, "jwt.require"),
    ({"scopes_claim": ""}, "jwt.scopes_claim"),
    ({"name_claim": None}, "jwt.name_claim"),
    ({"realm": '"'}, "jwt.realm"),
]


@pytest.mark.parametrize(("changes", "path"), SETTINGS)
def test_wrong_settings(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        auth(**changes)
    assert refusal.value.path == path
    assert refusal.value.expected
    assert SECRET[:31] not in str(refusal.value)
    assert "word" not in str(refusal.value).replace("password", "")


def count_checks(checked: JWTAuth, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    verified = checked._verified
    monkeypatch.setattr(checked, "_verified", lambda text: seen.append(text) or verified(text))
    return seen


def test_a_good_token_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, good = auth(), token(scope="read", exp=int(time.time()) + 600)
    seen = count_checks(checked, monkeypatch)
    first = checked.identity_of(good)
    second = checked.identity_of(good)
    assert (second, second.claims) == (first, first.claims)
    assert seen == [good]
    first.claims.clear()  # type: ignore[attr-defined]
    second.claims.clear()  # type: ignore[attr-defined]
    assert checked.identity_of(good).claims["scope"] == "read"
    assert good not in str(checked._cache)
    monkeypatch.setattr(checked, "_now", lambda: time.time() + 599)
    checked.identity_of(good)
    assert seen == [good]
    monkeypatch.setattr(checked, "_now", lambda: time.time() + 601)
    checked.identity_of(good)
    assert seen == [good, good]
    for _ in range(2):
        refused(checked, ATTACKS["another key"])
    assert seen[2:] == [ATTACKS["another key"]] * 2


@pytest.mark.parametrize(
    ("claims", "leeway", "back", "checks"),
    [
        ({"nbf": NOW - 5}, 0.0, 60, 2),
        ({"iat": NOW - 5}, 0.0, 60, 2),
        ({"nbf": NOW - 50.5, "iat": NOW - 5}, 0.0, 60, 2),
        ({"nbf": NOW - 5, "iat": ...}, 30.0, 60, 2),
        ({"nbf": NOW - 5}, 300.0, 60, 1),
        ({"iat": ...}, 0.0, DAY, 1),
    ],
)
def test_a_remembered_token_is_checked_again_when_the_clock_steps_back_to_before_its_start(
    monkeypatch: pytest.MonkeyPatch, claims: dict[str, Any], leeway: float, back: float, checks: int
) -> None:
    checked, good = auth(leeway=leeway), token(**{"iat": NOW - 5, "exp": NOW + DAY} | claims)
    seen = count_checks(checked, monkeypatch)
    checked.identity_of(good)
    monkeypatch.setattr(checked, "_now", lambda: NOW - back)
    checked.identity_of(good)
    assert len(seen) == checks


def test_a_set_that_comes_while_a_token_is_checked(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good, other = by_issuer(issuer, clock), signed("one"), signed("two", RSA_OTHER)
    refused(checked, other)  # the set is there
    verified = checked._verified

    def replaced_meanwhile(text: str) -> dict[str, Any]:
        found = verified(text)
        clock.now += 10
        issuer.publish(jwk(RSA_OTHER, "two"))
        verified(other)
        return found

    monkeypatch.setattr(checked, "_verified", replaced_meanwhile)
    assert checked.identity_of(good).name == "ann"
    monkeypatch.setattr(checked, "_verified", verified)
    refused(checked, good)


def test_the_cache_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = auth(max_cached_tokens=2)
    for number in range(5):
        checked.identity_of(token(sub=f"user-{number}"))
        assert len(checked._cache) <= 2
    off = auth(max_cached_tokens=0)
    seen = count_checks(off, monkeypatch)
    good = token()
    assert off.identity_of(good) == off.identity_of(good)
    assert len(seen) == 2


def test_a_remembered_token_ends_with_its_key(issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    seen = count_checks(checked, monkeypatch)
    for _ in range(4):
        checked.identity_of(good)
    assert len(seen) == 2  # the first has the set fetched, and may have been checked by an older one
    clock.now += 10
    issuer.publish(jwk(RSA_OTHER, "two"))
    checked.identity_of(signed("two", RSA_OTHER))  # it has the set fetched, where the first key is no more
    refused(checked, good)
    clock.now += 300
    issuer.say(b"", 500)
    refused(checked, good)
    for _ in range(2):  # by an old set, every time is checked
        checked.identity_of(signed("two", RSA_OTHER))
    assert len(seen) == 7


def test_secrets_are_not_shown() -> None:
    checked = auth(key=SECRET, algorithms=["HS256"])
    assert SECRET not in repr(checked)
    assert "HS256" in repr(checked)


def test_why_a_token_is_refused_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "portal.auth"):
        refused(auth(), ATTACKS["another audience"])
    assert "InvalidAudienceError" in caplog.text
    assert ATTACKS["another audience"] not in caplog.text


def test_a_remembered_identity_is_an_identity_like_any_other() -> None:
    auth = JWTAuth(key="k" * 32, algorithms=["HS256"])
    claims = {"sub": "ann", "exp": int(time.time()) + 60, "scope": "read", "roles": ["clerk"]}
    token = jwt.encode(claims, "k" * 32, algorithm="HS256")
    first, second = auth.identity_of(token), auth.identity_of(token)
    plain = Identity("ann", frozenset({"read"}), claims)
    assert (first, second) == (plain, plain)
    assert plain == first
    assert {first, second, plain} == {plain}
    assert repr(first) == repr(plain)
    for copied in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first), dataclasses.replace(first)):
        assert (copied, copied.claims) == (plain, claims)
    assert dataclasses.replace(first, name="bob").name == "bob"
    first.claims["roles"].append("boss")
    assert second.claims["roles"] == ["clerk"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.name = "bob"  # type: ignore[misc]
