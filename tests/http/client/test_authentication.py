from __future__ import annotations

from collections.abc import Mapping

import pytest

from portal import Address, AuthenticationError
from portal.http.client.authentication import AuthenticatingTransport
from tests.support.scripted_transport import ScriptedResponse, ScriptedTransport, request_of

PROBLEM = {"content-type": "application/problem+json"}
REJECTED = b'{"code": "authentication_error", "detail": "the token has expired"}'
EXECUTED = b'{"code": "authentication_error", "detail": "of the function", "delivery": "executed"}'


class Tokens:
    """A credential with a list of tokens; a rejection moves on to the next."""

    def __init__(self, *tokens: str, renewable: bool = True) -> None:
        self.tokens = list(tokens)
        self.renewable = renewable

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    def rejected(self, address: Address) -> bool:
        if len(self.tokens) > 1:
            del self.tokens[0]
        return self.renewable


def sent(transport: ScriptedTransport) -> list[str]:
    return [request.headers["Authorization"] for request in transport.requests]


def test_a_credential_is_added() -> None:
    response = ScriptedResponse()
    inner = ScriptedTransport(response)
    assert AuthenticatingTransport(inner, Tokens("a"), 1000).send(request_of()) is response
    assert sent(inner) == ["Bearer a"]


def test_a_rejected_credential_is_renewed_once() -> None:
    inner = ScriptedTransport(ScriptedResponse(401, PROBLEM, REJECTED), last := ScriptedResponse(401))
    assert AuthenticatingTransport(inner, Tokens("a", "b", "c"), 1000).send(request_of()) is last
    assert sent(inner) == ["Bearer a", "Bearer b"]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (REJECTED, Tokens("a", renewable=False)),
        (REJECTED, Tokens("a")),  # the same headers again
        (EXECUTED, Tokens("a", "b")),  # the function ran, and must not run again
    ],
)
def test_a_request_is_not_sent_again(body: bytes, tokens: Tokens) -> None:
    inner = ScriptedTransport(ScriptedResponse(401, PROBLEM, body))
    with pytest.raises(AuthenticationError) as caught:
        AuthenticatingTransport(inner, tokens, 1000).send(request_of())
    assert caught.value.address == "http://127.0.0.1:1/api/add"
    assert sent(inner) == ["Bearer a"]
