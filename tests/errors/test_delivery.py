from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from portal import (
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConsumerError,
    OverloadedError,
    PortalError,
    ProtocolError,
    TransportError,
)


def returned(error: PortalError, **changes: Any) -> Any:
    """Return the error after its way as JSON, with other members."""
    return PortalError.from_dict(json.loads(json.dumps(error.to_dict() | changes)))


@pytest.mark.parametrize("kind", [CircuitOpenError, OverloadedError])
def test_retry_after_survives(kind: Any) -> None:
    assert returned(kind("busy", retry_after=1.5)).retry_after == 1.5
    assert returned(kind("busy")).retry_after is None
    assert kind("busy").retryable
    assert kind("busy").delivery == "not_sent"


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_retry_after_that_json_cannot_carry_is_left_out(seconds: float) -> None:
    assert returned(OverloadedError(retry_after=seconds)).retry_after is None


@pytest.mark.parametrize("seconds", [-1, 1e10])
def test_retry_after_of_a_peer_is_bounded(seconds: float) -> None:
    assert returned(OverloadedError(), retry_after=seconds).retry_after is None


def test_builtin_classes_catch_timeouts_and_lost_connections() -> None:
    with pytest.raises(TimeoutError):
        raise CallTimeout("late", timeout=2)
    with pytest.raises(ConnectionError):
        raise TransportError("lost")
    assert returned(CallTimeout("late", timeout=2)).timeout == 2


@pytest.mark.parametrize(
    ("error", "delivery", "retryable"),
    [
        (TransportError(), "unknown", False),
        (TransportError(delivery="not_sent"), "not_sent", True),
        (TransportError(delivery="not_sent", retryable=False), "not_sent", False),
        (TransportError(delivery="executed"), "executed", False),
        (CallTimeout(), "unknown", False),
        (CallCancelled(), "unknown", False),
    ],
)
def test_delivery_decides_whether_a_call_may_be_retried(error: PortalError, delivery: str, retryable: bool) -> None:
    for one in (error, returned(error), pickle.loads(pickle.dumps(error))):
        assert (one.delivery, one.retryable) == (delivery, retryable)


def test_a_protocol_error_may_have_its_own_status() -> None:
    assert ProtocolError("too large", status=413).status == 413
    assert ProtocolError("wrong").status == ProtocolError.status == 400


def test_attempts_of_a_consumer_error_survive() -> None:
    attempts = [{"address": "http://a/add", "error": "refused"}, {"address": "http://b/add", "error": "timeout"}]
    error = ConsumerError("both failed", attempts=attempts, advice="start a server")
    attempts[0]["address"] = "changed"
    again = returned(error)
    assert [row["address"] for row in again.attempts] == ["http://a/add", "http://b/add"]
    assert again.advice == "start a server"
    assert returned(error, attempts=["text", {"address": "x"}]).attempts == [{"address": "x"}]
