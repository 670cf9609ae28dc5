"""Password checks plain passwords and hashes."""

from __future__ import annotations

from portal.auth.server import (
    BasicAuth,
    authenticate,
    hash_password,
)
from tests.support.credentials import authorized, basic, refusal_of


def test_hashed_passwords() -> None:
    stored = hash_password("pass:wörd")
    assert "wörd" not in stored
    assert stored != hash_password("pass:wörd")
    rounds = "pbkdf2:sha256:1000$salt$632c2812e46d4604102ba7618e9d6d7d2f8128f6266b4a03264d2a0460b7dcb3"
    auth = BasicAuth({"ann": stored, "bob": rounds, "carl": "clear"}, scopes={"ann": ["orders"]})
    assert authenticate([auth], authorized(basic("ann:pass:wörd"))).scopes == {"orders"}
    assert authenticate([auth], authorized(basic("ann:pass:wörd"))).name == "ann"  # remembered
    assert authenticate([auth], authorized(basic("bob:password"))).name == "bob"
    assert authenticate([auth], authorized(basic("carl:clear"))).name == "carl"
    for wrong in ("ann:wrong", "ann:pass:word", f"ann:{stored}", "bob:pass:wörd", "dora:pass:wörd", "dora:"):
        refusal_of(auth, authorized(basic(wrong)))
