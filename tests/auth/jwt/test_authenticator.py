"""JWTAuth: an attack table, and key sets from a real endpoint."""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
import hmac
import json
import logging
import os
import pickle
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from portal.auth.fetch import fetch
from portal.auth.jwt.authenticator import JWTAuth
from portal.auth.jwt.key_set import KeySet
from portal.auth.jwt.keys import key_of_jwk
from portal.auth.server import authenticate, authenticators_of, challenges_of
from portal.context import CallContext, Identity
from portal.errors import AuthenticationError, ConfigError, OverloadedError, ProtocolError, TransportError
from tests.support.clocks import Clock

WAIT = 10.0
SECRET = "0123456789abcdef" * 4
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC256, EC384, EC521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ED, ED4 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def authorized(value: str) -> Any:
    return SimpleNamespace(headers={"authorization": value}, query="", peer="192.0.2.1", tls_identity=None)


def pem(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(PEM, SPKI)
    return data


def ssh(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return data


def private_pem(key: Any) -> bytes:
    no_password = serialization.NoEncryption()
    data: bytes = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password)
    return data


def certificate(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(PEM)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": "ann", "exp": now + 600, "iat": now - 5, "aud": "orders", "iss": "https://id.example"} | changes
    return {name: value for name, value in made.items() if value is not ...}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers=header)


def b64(data: bytes | str | dict[str, Any]) -> str:
    if isinstance(data, dict):
        data = json.dumps(data)
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def raw(header: Any, payload: Any, key: bytes | None = None) -> str:
    """A token of any content: signed by RS256, by HS256 where a secret is given."""
    signed = f"{b64(header)}.{b64(payload)}".encode()
    if key is not None:
        return f"{signed.decode()}.{b64(hmac.digest(key, signed, 'sha256'))}"
    return f"{signed.decode()}.{b64(RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, RSA_KEY))}"


def auth(**changes: Any) -> JWTAuth:
    settings: dict[str, Any] = {
        "key": pem(RSA_KEY),
        "algorithms": ["RS256"],
        "audience": "orders",
        "issuer": "https://id.example",
    }
    return JWTAuth(**(settings | changes))


def refused(checked: JWTAuth, text: str) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as refusal:
        authenticate(authenticators_of(checked), authorized(f"Bearer {text}"))
    return refusal.value


# what is accepted


GOOD: list[tuple[str, Any, Any]] = [
    ("HS256", SECRET, SECRET[:32]),
    ("HS384", SECRET, SECRET[:48]),
    ("HS512", SECRET, SECRET),
    *[(name, RSA_KEY, pem(RSA_KEY)) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
    ("ES256", EC256, pem(EC256)),
    ("ES384", EC384, pem(EC384)),
    ("ES512", EC521, pem(EC521)),
    ("EdDSA", ED, pem(ED)),
    ("EdDSA", ED4, pem(ED4).decode()),
    ("RS256", RSA_KEY, RSA_KEY.public_key()),
    ("RS256", RSA_KEY, certificate(RSA_KEY)),
    (
        "ES256",
        EC256,
        ssh(EC256),
    ),
]


@pytest.mark.parametrize(("algorithm", "signing", "key"), GOOD)
def test_every_algorithm(algorithm: str, signing: Any, key: Any) -> None:
    checked = auth(key=key, algorithms=[algorithm])
    good = token(key if algorithm.startswith("HS") else signing, algorithm)
    assert checked.identity_of(good).name == "ann"
    head, payload, signature = good.split(".")
    changed = signature[:8] + ("A" if signature[8] != "A" else "B") + signature[9:]
    refused(checked, f"{head}.{payload}.{changed}")


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


# what is refused


NOW = int(time.time())
DAY = 86_400  # longer than any run of the suite
RS = {"alg": "RS256", "typ": "JWT"}
CLAIMS = claims()
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
def test_attacks(attack: str) -> None:
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
    checked, good = auth(), token(scope="read")
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


def test_few_tokens_are_cache(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(ConfigError, match="pip install"):
        auth()
    assert auth(key=SECRET, algorithms=["HS256"]).identity_of(token(SECRET, "HS256")).name == "ann"


# key sets


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        made = json.loads(RSAAlgorithm.to_jwk(public))
    else:
        made = json.loads((ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else OKPAlgorithm).to_jwk(public))
    made.pop("key_ops", None)
    return made | ({} if kid is None else {"kid": kid}) | more


class Issuer:
    """A real endpoint that publishes keys, or fails in one of the ways that endpoints do."""

    def __init__(self) -> None:
        self.fetched = 0
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.gate.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                issuer.asked.set()
                issuer.gate.wait(WAIT)
                issuer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave early here
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def publish(self, *rows: Any) -> None:
        self.say(json.dumps({"keys": rows}).encode())

    def say(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(WAIT)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def by_issuer(issuer: Issuer, clock: Clock, **changes: Any) -> JWTAuth:
    settings: dict[str, Any] = {"algorithms": ["RS256", "PS256", "ES256", "EdDSA"], "key": None}
    return auth(**(settings | {"jwks_url": issuer.url, "clock": clock} | changes))


def signed(kid: str | None, key: Any = RSA_KEY, algorithm: str = "RS256") -> str:
    return token(key, algorithm, None if kid is None else {"kid": kid})


def test_keys_are_fetched_when_they_are_needed(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"), jwk(EC256, "two"), jwk(ED, "three"))
    checked = by_issuer(issuer, clock)
    assert issuer.fetched == 0
    assert checked.identity_of(signed("one")).name == "ann"
    assert checked.identity_of(signed("two", EC256, "ES256")).name == "ann"
    assert checked.identity_of(signed("three", ED, "EdDSA")).name == "ann"
    assert issuer.fetched == 1
    clock.now += 299
    assert checked.identity_of(signed("one")).name == "ann"
    assert issuer.fetched == 1
    clock.now += 1
    assert checked.identity_of(signed("one")).name == "ann"
    assert issuer.fetched == 2


def test_rotation(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "old"))
    checked = by_issuer(issuer, clock)
    old, new = signed("old"), signed("new", RSA_OTHER)
    assert checked.identity_of(old).name == "ann"
    clock.now += 10
    issuer.publish(jwk(RSA_OTHER, "new"))
    assert checked.identity_of(new).name == "ann"  # an unknown id has the set fetched at once
    refused(checked, old)  # what was taken out is out
    assert issuer.fetched == 2
    clock.now += 10
    issuer.publish()
    clock.now += 300
    refused(checked, new)


def test_unknown_ids_do_not_hammer_the_issuer(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked = by_issuer(issuer, clock)
    for number in range(20):
        refused(checked, signed(f"unknown-{number}"))
    assert issuer.fetched == 1
    clock.now += 10
    for number in range(20):
        refused(checked, signed(f"unknown-{number}"))
    assert issuer.fetched == 2
    assert checked.identity_of(signed("one")).name == "ann"


def test_which_key_of_the_set(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(
        jwk(RSA_KEY, "rsa", alg="RS256"),
        jwk(RSA_KEY, "enc", use="enc"),
        jwk(RSA_KEY, "ops", key_ops=["sign"]),
        jwk(RSA_WEAK, "weak"),
        jwk(EC256, "ec"),
        {"kty": "oct", "k": b64(SECRET), "kid": "oct"},
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
        {"kty": "RSA", "kid": "bad", "n": "!", "e": []},
        {"kty": ["RSA"], "kid": "list"},
        jwk(RSA_KEY, kid=7),  # type: ignore[arg-type]
        jwk(RSA_KEY, "alg", alg=1),
        "no key",
        None,
    )
    checked = by_issuer(issuer, clock)
    assert checked.identity_of(signed("rsa")).name == "ann"
    assert checked.identity_of(signed("ec", EC256, "ES256")).name == "ann"
    assert checked.identity_of(signed(None)).name == "ann"  # the only one for RS256
    refused(checked, signed("rsa", algorithm="PS256"))
    for kid in ("enc", "ops", "half", "bad", "list", "alg", "ec", "oct", ""):
        refused(checked, signed(kid))
    refused(checked, raw({"alg": "HS256", "kid": "oct"}, CLAIMS, SECRET.encode()))
    refused(checked, raw({"alg": "HS256", "kid": "rsa"}, CLAIMS, pem(RSA_KEY)))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = signed("weak", RSA_WEAK)
    refused(checked, weak)


def test_no_id_among_several_keys(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"), jwk(RSA_OTHER, "two"))
    refused(by_issuer(issuer, clock), signed(None))


def test_a_private_key_that_was_published_is_taken_as_its_public_part() -> None:
    row = json.loads(RSAAlgorithm.to_jwk(RSA_KEY))
    row.pop("key_ops")
    found = key_of_jwk(row)
    assert found is not None
    assert isinstance(found.key, rsa.RSAPublicKey)


BAD_ANSWERS: dict[str, Callable[[Issuer], None]] = {
    "500": lambda issuer: issuer.say(b'{"keys":[]}', 500),
    "404": lambda issuer: issuer.say(b"no", 404),
    "redirect": lambda issuer: issuer.say(b"", 302, Location="file:///etc/passwd"),
    "redirect to http": lambda issuer: issuer.say(b"", 307, Location=issuer.url + "2"),
    "no JSON": lambda issuer: issuer.say(b"<html>"),
    "a list": lambda issuer: issuer.say(b"[]"),
    "no keys": lambda issuer: issuer.say(b"{}"),
    "keys are an object": lambda issuer: issuer.say(b'{"keys":{}}'),
    "too many keys": lambda issuer: issuer.publish(*[{}] * 101),
    "too long": lambda issuer: issuer.say(b" " * (1024 * 1024 + 1)),
    "cut off": lambda issuer: issuer.say(b'{"keys":[]}', length=50),
    "deep": lambda issuer: issuer.say(b"[" * 100_000),
    "no HTTP": lambda issuer: setattr(issuer, "answer", lambda handler: handler.wfile.write(b"SSH-2.0\r\n\r\n")),
    "silence": lambda issuer: setattr(issuer, "answer", lambda handler: None),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_the_last_good_set_stays(bad: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    good = signed("one")
    checked = by_issuer(issuer, clock)
    BAD_ANSWERS[bad](issuer)
    with caplog.at_level(logging.WARNING, "portal.auth"), pytest.raises(OverloadedError) as refusal:
        authenticate(authenticators_of(checked), authorized(f"Bearer {good}"))
    assert refusal.value.retry_after == 10
    assert "fetch of the key set failed" in caplog.text
    with pytest.raises(OverloadedError):
        checked.identity_of(good)
    assert issuer.fetched == 1  # not again so soon
    clock.now += 10
    issuer.publish(jwk(RSA_KEY, "one"))
    assert checked.identity_of(good).name == "ann"
    BAD_ANSWERS[bad](issuer)
    clock.now += 301
    assert checked.identity_of(good).name == "ann"
    assert checked.identity_of(good).name == "ann"
    refused(checked, signed("two"))
    assert issuer.fetched == 3
    clock.now += 86_400
    with pytest.raises(OverloadedError):
        checked.identity_of(good)


def test_nobody_listens(clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        keys = KeySet(f"http://127.0.0.1:{taken.getsockname()[1]}/", clock=clock)
        with pytest.raises(OverloadedError):
            keys.find("one", "RS256")


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return results


def test_many_threads_one_fetch(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    issuer.gate.clear()
    checked, good = by_issuer(issuer, clock), signed("one")

    def work(number: int) -> str:
        if number == 15:
            assert issuer.asked.wait(WAIT)
            issuer.gate.set()
        return checked.identity_of(good).name

    assert together(16, work) == ["ann"] * 16
    assert issuer.fetched == 1


def test_known_keys_serve_while_an_unknown_one_is_looked_for(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    assert checked.identity_of(good).name == "ann"
    clock.now += 10
    issuer.gate.clear()
    issuer.asked.clear()

    def work(number: int) -> str:
        if number == 0:
            return str(refused(checked, signed("other")))
        assert issuer.asked.wait(WAIT)
        name = checked.identity_of(good).name  # before the answer is there
        issuer.gate.set()
        return name

    assert together(2, work) == ["the token is not valid", "ann"]
    assert issuer.fetched == 2


def test_the_old_set_serves_while_it_is_renewed(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    assert checked.identity_of(good).name == "ann"
    clock.now += 300
    issuer.publish(jwk(RSA_OTHER, "two"))
    issuer.gate.clear()
    issuer.asked.clear()

    def work(number: int) -> str:
        if number == 0:
            return str(refused(checked, good))  # this one fetches: the key is no longer there
        assert issuer.asked.wait(WAIT)
        name = checked.identity_of(good).name
        issuer.gate.set()
        return name

    assert together(2, work) == ["the token is not valid", "ann"]
    refused(checked, good)
    assert issuer.fetched == 2


def test_why_a_token_is_refused_stands_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "portal.auth"):
        refused(auth(), ATTACKS["another audience"])
    assert "InvalidAudienceError" in caplog.text
    assert ATTACKS["another audience"] not in caplog.text


def test_who_waits_for_keys_waits_so_long(issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    issuer.gate.clear()
    keys = KeySet(issuer.url, timeout=0.05, clock=clock)
    begun = time.monotonic()

    def work(number: int) -> Any:
        return keys.find("one", "RS256")

    assert {type(result) for result in together(4, work)} == {OverloadedError}
    assert time.monotonic() - begun < WAIT / 2


def test_a_follower_gives_up_by_itself(issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    keys = KeySet(issuer.url, timeout=0.05, clock=clock)
    led, landed = threading.Event(), threading.Event()

    def slow() -> None:
        led.set()
        landed.wait(WAIT)

    def work(number: int) -> Any:
        if number == 0:
            return keys._single_flight.run("the key set", CallContext.for_call(WAIT), "the key set", slow)
        assert led.wait(WAIT)
        try:
            return keys.find("one", "RS256")
        finally:
            landed.set()

    assert [type(result) for result in together(2, work)] == [type(None), OverloadedError]
    assert "fetch of the key set timed out" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_fetches_by_itself(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    issuer.gate.clear()
    leader = threading.Thread(target=checked.identity_of, args=(good,), daemon=True)
    leader.start()
    assert issuer.asked.wait(WAIT)
    child = os.fork()
    if child == 0:  # the leader's thread is not here
        try:
            issuer.gate = threading.Event()
            os._exit(0 if checked.identity_of(good).name == "ann" else 1)
        finally:
            os._exit(2)
    issuer.gate.set()
    assert os.waitpid(child, 0)[1] == 0
    leader.join(WAIT)
    assert not leader.is_alive()
    assert issuer.fetched == 2


def test_keys_over_tls(issuer: Issuer, clock: Clock) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    issuer.server.socket = server.wrap_socket(issuer.server.socket, server_side=True, do_handshake_on_connect=False)
    issuer.publish(jwk(RSA_KEY, "one"))
    url = issuer.url.replace("http://127.0.0.1", "https://localhost")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    good = signed("one")
    assert by_issuer(issuer, clock, jwks_url=url, tls=trusting).identity_of(good).name == "ann"
    with pytest.raises(OverloadedError):
        by_issuer(issuer, clock, jwks_url=url).identity_of(good)
    assert issuer.fetched == 1


# fetching


def test_an_answer_that_drips_is_cut_at_the_deadline(issuer: Issuer) -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        try:
            while not stop.wait(0.01):
                handler.wfile.write(b"y")
        except OSError:
            pass

    issuer.answer = drip
    begun = time.monotonic()
    with pytest.raises(TransportError, match="TimeoutError") as refusal:
        fetch(issuer.url, deadline=begun + 0.2)
    stop.set()
    assert time.monotonic() - begun < WAIT / 2
    assert not refusal.value.may_have_executed


def test_a_deadline_that_has_passed(issuer: Issuer) -> None:
    with pytest.raises(TransportError):
        fetch(issuer.url, deadline=time.monotonic() - 1)
    assert issuer.fetched == 0


def test_an_answer_in_chunks_and_one_without_end(issuer: Issuer) -> None:
    def chunks(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    issuer.answer = chunks
    assert fetch(issuer.url, deadline=time.monotonic() + WAIT).body == b"abc"
    issuer.say(b"x" * 11)
    with pytest.raises(ProtocolError, match="more than 10 bytes"):
        fetch(issuer.url, deadline=time.monotonic() + WAIT, max_size=10)
    assert fetch(f"{issuer.url}?a=b", deadline=time.monotonic() + WAIT).body == b"x" * 11


def test_a_key_set_without_cryptography_is_a_wrong_setting_and_no_refusal_of_every_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"HS .*cryptography. is installed \(pip install 'portal-functions\[jwt\]'\)"):
        JWTAuth(algorithms=["RS256"], jwks_url="https://127.0.0.1:1/keys")


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
