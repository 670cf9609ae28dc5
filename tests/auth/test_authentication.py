from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from portal import Identity
from portal.auth.authentication import (
    BearerAuth,
    authenticate,
    authenticators_of,
    challenges_of,
)
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    OverloadedError,
    PortalError,
    RateLimitError,
)
from tests.support.credentials import (
    BASIC,
    BEARER,
    BOB,
    CERTIFICATE,
    KEY,
    SECRET,
    Sent,
    authorized,
    fails,
    nobody,
    refusal_of,
)


def test_without_authenticators_every_request_is_rejected() -> None:
    assert authenticators_of(None) == ()
    with pytest.raises(AuthenticationError) as refusal:
        authenticate((), authorized(f"Bearer {SECRET}"))
    assert challenges_of(refusal.value) == ('Portal realm="portal"',)


def test_a_rejection_has_the_challenge_of_each_authenticator() -> None:
    bearer, basic_asks, key = 'Bearer realm="portal"', 'Basic realm="portal", charset="UTF-8"', 'ApiKey realm="portal"'
    every = [BEARER, BASIC, KEY, CERTIFICATE]
    certificate = 'Certificate realm="portal"'
    assert challenges_of(refusal_of(every, Sent())) == (bearer, basic_asks, key, certificate)
    invalid = f'{bearer}, error="invalid_token"'
    assert challenges_of(refusal_of(every, authorized("Bearer wrong"))) == (invalid, basic_asks, key, certificate)
    assert challenges_of(refusal_of(every, authorized("Bearer"))) == (invalid, basic_asks, key, certificate)
    assert challenges_of(refusal_of(every, authorized("Basic x"))) == (bearer, basic_asks, key, certificate)
    assert challenges_of(refusal_of([nobody, fails], Sent())) == ('Portal realm="portal"',)
    assert challenges_of(refusal_of(BearerAuth({}, realm="orders (EU)"), Sent())) == ('Bearer realm="orders (EU)"',)
    assert challenges_of(ValueError()) == ()
    assert challenges_of(ValueError(), every) == ()
    assert challenges_of(AuthenticationError("by a function")) == ('Portal realm="portal"',)
    assert challenges_of(AuthenticationError("by a middleware"), [BEARER, KEY]) == (bearer, key)
    assert challenges_of(refusal_of(BASIC, Sent()), [BEARER]) == (basic_asks,)


def test_challenges_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(refusal_of(BEARER, Sent())))
    assert challenges_of(error) == ('Bearer realm="portal"',)


def test_a_callables_own_challenge() -> None:
    def ticket(request: Any) -> Identity | None:
        return None

    ticket.challenge = 'Ticket realm="office"'  # type: ignore[attr-defined]
    assert challenges_of(refusal_of(ticket, Sent())) == ('Ticket realm="office"',)
    assert "ticket" in repr(authenticators_of(ticket)[0])


def test_an_object_without_a_challenge() -> None:
    class Mine:
        def authenticate(self, request: Any) -> Identity | None:
            return BOB if request.query == "bob" else None

    mine = Mine()
    assert authenticators_of(mine) == (mine,)
    assert authenticate(authenticators_of([mine]), Sent(query="bob")) is BOB
    assert challenges_of(refusal_of((mine,), Sent())) == ('Portal realm="portal"',)


@pytest.mark.parametrize("kind", [AuthenticationError, AuthorizationError, RateLimitError, OverloadedError])
def test_a_callable_may_say_why(kind: type[PortalError]) -> None:
    def closed(request: Any) -> Identity | None:
        raise kind("not on Sundays") from ValueError(SECRET)

    with pytest.raises(kind, match="not on Sundays") as refusal:
        authenticate(authenticators_of(closed), Sent())
    assert type(refusal.value) is kind
    assert (kind is not AuthenticationError) or refusal.value.__cause__ is None


def test_a_defect_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "portal.auth"):
        refusal_of(BearerAuth({"x": "x"}.__getitem__), authorized(f"Bearer {SECRET}"))  # type: ignore[arg-type]
        refusal_of(fails, Sent())
        refusal_of(lambda request: True, Sent())
    assert SECRET not in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "KeyError in fails, line" in caplog.text
    assert "authentication failed: BearerAuth" in caplog.text
    assert "returned bool, not an Identity" in caplog.text


def test_an_interrupt_is_not_a_rejection() -> None:
    def interrupted(request: Any) -> Identity | None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        authenticate(authenticators_of(interrupted), Sent())
