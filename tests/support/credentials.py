"""Requests with credentials, without a connection."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from portal import Identity
from portal.auth.authentication import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    CertificateAuth,
    authenticate,
    authenticators_of,
)
from portal.errors import (
    AuthenticationError,
)

ANN = Identity("ann", frozenset({"orders"}))
BOB = Identity("bob")
DEVICE = Identity("device-7")
SECRET = "s3cret-Token.of~ann"


@dataclass
class Sent:
    """What a client sent."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    peer: str = "192.0.2.1"
    tls_identity: Identity | None = None


def authorized(value: str, **rest: Any) -> Sent:
    return Sent({"authorization": value}, **rest)


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def fails(*_: Any) -> Identity | None:
    raise KeyError(SECRET)


def nobody(*_: Any) -> Identity | None:
    return None


def anybody(_: Any) -> Identity | None:
    return BOB


BEARER = BearerAuth({SECRET: ANN, "other": "bob"})
BASIC = BasicAuth({"ann": "pass:word", "bøb": "pässword"}, scopes={"ann": ["orders"]})
KEY = ApiKeyAuth({SECRET: ANN})
KEY_BOTH = ApiKeyAuth({SECRET: ANN}, query="api_key")
KEY_QUERY = ApiKeyAuth({SECRET: ANN}, header=None, query="api_key")
CERTIFICATE = CertificateAuth()


def refusal_of(auth: Any, sent: Sent) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as refusal:
        authenticate(authenticators_of(auth), sent)
    return refusal.value
