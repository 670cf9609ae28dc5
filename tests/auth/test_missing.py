"""The message to a client without a credential that counts."""

from __future__ import annotations

from typing import Any

import pytest

from portal import ApiKeyAuth
from portal.auth import verify_signature
from tests.support.credentials import BASIC, BEARER, KEY, SECRET, Sent, authorized, nobody, refusal_of


@pytest.mark.parametrize(
    ("auth", "place"),
    [
        (KEY, " in the header X-API-Key"),
        (ApiKeyAuth({SECRET: "ann"}, header="X-Key", query="key"), " in the header X-Key or the query parameter key"),
        (ApiKeyAuth({SECRET: "ann"}, header=None, query="key"), " in the query parameter key"),
        (verify_signature(SECRET, "github"), " in the header X-Hub-Signature-256"),
        (verify_signature(SECRET, "stripe"), " in the header Stripe-Signature"),
        (verify_signature(SECRET, "standard"), " in the header webhook-signature"),
        ([verify_signature(SECRET, "github"), KEY], " in the header X-Hub-Signature-256 or the header X-API-Key"),
        ([KEY, BEARER], ""),  # a bearer token would do
        (nobody, ""),
    ],
)
def test_the_place_of_a_missing_credential(auth: Any, place: str) -> None:
    assert refusal_of(auth, Sent()).message == f"a credential is required and none was sent{place}"


@pytest.mark.parametrize(
    ("auth", "sent", "words"),
    [
        (BEARER, "Basic YW5uOnNlY3JldA==", "it has the scheme Basic; send Authorization: Bearer"),
        ([BEARER, BASIC], "Digest x", "it has the scheme Digest; send Authorization: Bearer or Basic"),
        ([KEY, BASIC], "bearer secret-token", "it has the scheme bearer; send Authorization: Basic"),
        (BEARER, "secret-token", "it has another scheme or none; send Authorization: Bearer"),
    ],
)
def test_a_client_learns_that_its_authorization_header_was_ignored(auth: Any, sent: str, words: str) -> None:
    message = refusal_of(auth, authorized(sent)).message
    assert message == f"a credential is required; the Authorization header was ignored, because {words}"
