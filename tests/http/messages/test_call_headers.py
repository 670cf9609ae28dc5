"""The headers that carry the context of a call."""

from __future__ import annotations

from time import monotonic

import pytest

from portal.context import CallContext
from portal.errors import ProtocolError
from portal.http.messages.call_headers import context_of, headers_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_a_context_is_kept() -> None:
    now = monotonic()
    sent = CallContext(deadline=now + 30, idempotency_key="order-17")
    sent.request_id, sent.traceparent = "r-1", TRACE
    received = context_of(lower(headers_of(sent)), now)
    assert (received.request_id, received.traceparent, received.idempotency_key) == ("r-1", TRACE, "order-17")
    assert received.deadline == pytest.approx(now + 30, abs=0.5)


def test_an_empty_context_has_only_a_request_id() -> None:
    headers = headers_of(CallContext())
    assert list(headers) == ["X-Request-ID"]
    received = context_of(lower(headers), monotonic())
    assert (received.deadline, received.traceparent, received.idempotency_key) == (None, None, None)


@pytest.mark.parametrize("name", ["x-request-id", "traceparent"])
@pytest.mark.parametrize("value", ["", "two words", "a" * 300, "\u00e9"])
def test_a_malformed_id_or_trace_is_replaced(name: str, value: str) -> None:
    received = context_of({name: value}, monotonic())
    assert received.request_id not in ("", value)
    assert received.traceparent is None


@pytest.mark.parametrize("value", ["", "-1", "1.5", "soon", "\u0667", "9" * 11])
def test_a_malformed_timeout_is_rejected(value: str) -> None:
    with pytest.raises(ProtocolError, match="X-Portal-Timeout must be a whole number of milliseconds, got"):
        context_of({"x-portal-timeout": value}, monotonic())


@pytest.mark.parametrize("key", ["", "two words", "a" * 256, "line\nbreak"])
def test_a_malformed_idempotency_key_is_rejected_on_both_sides(key: str) -> None:
    with pytest.raises(ProtocolError, match="1 to 255 visible ASCII characters") as received:
        context_of({"idempotency-key": key}, monotonic())
    with pytest.raises(ProtocolError, match="1 to 255 visible ASCII characters") as sent:
        headers_of(CallContext(idempotency_key=key))
    assert received.value.status == sent.value.status == 400


def test_a_request_id_that_a_header_cannot_carry_is_rejected() -> None:
    context = CallContext()
    context.request_id = "a\r\nX-Evil: 1"
    with pytest.raises(ProtocolError, match="request id"):
        headers_of(context)


def test_a_passed_deadline_is_sent_as_zero() -> None:
    assert headers_of(CallContext(deadline=monotonic() - 5))["X-Portal-Timeout"] == "0"
