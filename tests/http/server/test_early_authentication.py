"""EarlyAuthentication: for which portals there is one, and which middleware runs around it."""

from __future__ import annotations

from typing import Any

import pytest

from portal import BearerAuth, Identity
from portal.auth.authentication import CredentialSource, authenticators_of
from portal.errors import PortalError
from portal.http.middleware.base import HTTPNext
from portal.http.server.early_authentication import EarlyAuthentication, early_authentication
from portal.http.server.error_responses import ErrorResponses
from portal.http11.head_cache import HeadCache
from portal.serving import Request, Response

AUTH = BearerAuth({"good": Identity("ann")})


class Layer:
    """HTTP middleware that notes its responses."""

    guards_authentication = False

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        response = call_next(request)
        self.statuses.append(response.status)
        return response


class Guard(Layer):
    guards_authentication = True


class NeedsBody:
    challenge = "Signature"
    needs_body = True

    def authenticate(self, request: CredentialSource) -> Identity | None:
        return None


def early(auth: Any, *layers: Any) -> EarlyAuthentication | None:
    authenticators = authenticators_of(auth)
    errors = ErrorResponses(authenticators, debug=False)

    def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, PortalError)
        return errors.respond(request, error, None)

    return early_authentication(authenticators, layers, errors, frozenset(), failed)


def request(token: str) -> Request:
    head = f"POST /f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
    return Request(HeadCache().parse(head.encode()), b"")


def plain(request: Request, call_next: HTTPNext) -> Response:
    return call_next(request)


@pytest.mark.parametrize(
    ("auth", "layers", "found"),
    [
        (AUTH, [], True),
        (AUTH, [Layer(), Guard()], True),
        (None, [], False),
        (NeedsBody(), [], False),
        ([AUTH, NeedsBody()], [], False),
        (AUTH, [Layer(), plain], False),
    ],
    ids=["a token", "with middleware", "public", "needs body", "one needs body", "unknown middleware"],
)
def test_callers_are_authenticated_early_unless_something_may_come_before(auth: Any, layers: Any, found: bool) -> None:
    assert (early(auth, *layers) is not None) is found


@pytest.mark.parametrize(("token", "status"), [("good", None), ("wrong", 401)])
def test_only_guards_run_around_a_caller_that_is_let_in(token: str, status: int | None) -> None:
    log, guard = Layer(), Guard()
    made = early(AUTH, log, guard)
    assert made is not None
    found = made.authenticate(request(token))
    if status is None:
        assert isinstance(found, Identity)
        assert found.name == "ann"
        assert (log.statuses, len(guard.statuses)) == ([], 1)
    else:
        assert isinstance(found, Response)
        assert found.status == status
        assert (log.statuses, guard.statuses) == ([status], [status])
