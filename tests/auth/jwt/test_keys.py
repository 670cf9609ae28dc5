"""Keys are accepted for their own algorithms."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from portal.auth.jwt.keys import key_of_jwk
from portal.errors import ConfigError
from tests.support.tokens import (
    EC256,
    EC384,
    EC521,
    ED,
    ED4,
    RSA_KEY,
    SECRET,
    auth,
    certificate,
    pem,
    refused,
    ssh,
    token,
)

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


@pytest.mark.parametrize(("algorithm", "signing", "key"), GOOD, ids=[f"{row[0]}-{n}" for n, row in enumerate(GOOD)])
def test_each_algorithm_verifies_its_own_signatures(algorithm: str, signing: Any, key: Any) -> None:
    checked = auth(key=key, algorithms=[algorithm])
    good = token(key if algorithm.startswith("HS") else signing, algorithm)
    assert checked.identity_of(good).name == "ann"
    head, payload, signature = good.split(".")
    changed = signature[:8] + ("A" if signature[8] != "A" else "B") + signature[9:]
    refused(checked, f"{head}.{payload}.{changed}")


def test_secrets_verify_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(ConfigError, match="pip install"):
        auth()
    assert auth(key=SECRET, algorithms=["HS256"]).identity_of(token(SECRET, "HS256")).name == "ann"


def test_a_private_key_that_was_published_is_taken_as_its_public_part() -> None:
    row = json.loads(RSAAlgorithm.to_jwk(RSA_KEY))
    row.pop("key_ops")
    found = key_of_jwk(row)
    assert found is not None
    assert isinstance(found.key, rsa.RSAPublicKey)
