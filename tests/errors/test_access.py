from __future__ import annotations

import pickle

from portal import AuthenticationError, AuthorizationError, PortalError, RateLimitError


def test_challenges_are_for_the_transport_alone() -> None:
    error = AuthenticationError("a token is required", challenges=["Bearer", 'Basic realm="x"'])
    assert error.challenges == ("Bearer", 'Basic realm="x"')
    assert "Bearer" not in str(error.to_dict())
    returned = PortalError.from_dict(error.to_dict())
    assert isinstance(returned, AuthenticationError)
    assert returned.challenges == ()
    assert AuthenticationError().challenges == ()


def test_codes_and_statuses() -> None:
    rows = [(one.code, one.status) for one in (AuthenticationError(), AuthorizationError(), RateLimitError())]
    assert rows == [("authentication_error", 401), ("authorization_error", 403), ("rate_limited", 429)]


def test_a_rate_limited_call_did_not_run_and_may_be_retried() -> None:
    error = pickle.loads(pickle.dumps(RateLimitError("wait", retry_after=2.5)))
    assert (error.delivery, error.retryable, error.retry_after) == ("not_sent", True, 2.5)
    assert RateLimitError().retry_after is None
