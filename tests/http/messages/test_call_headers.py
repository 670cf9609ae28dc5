from __future__ import annotations

from typing import Any

import pytest

from portal import CallContext, ProtocolError
from portal.http.messages import call_headers
from portal.http.messages.call_headers import context_of, header_lines, headers_of
from tests.support.clocks import Clock

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_context_survives_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(call_headers, "monotonic", clock)
    context = CallContext(request_id="r-1", deadline=clock.now + 1.5, idempotency_key="k-1")
    context.traceparent, context.tracestate = TRACE, "a=1, b=2"
    headers = headers_of(context)
    assert headers == {
        "X-Request-ID": "r-1",
        "X-Portal-Timeout": "1500",
        "traceparent": TRACE,
        "tracestate": "a=1,b=2",
        "Idempotency-Key": "k-1",
    }
    found = context_of({name.lower(): value for name, value in headers.items()}, clock.now)
    assert (found.request_id, found.deadline, found.traceparent, found.tracestate, found.idempotency_key) == (
        "r-1",
        clock.now + 1.5,
        TRACE,
        "a=1,b=2",
        "k-1",
    )


def test_a_context_without_anything_has_a_request_id() -> None:
    assert list(headers_of(CallContext(request_id="r-1"))) == ["X-Request-ID"]
    found = context_of({}, 0.0)
    assert found.request_id
    assert (found.deadline, found.traceparent, found.idempotency_key) == (None, None, None)


@pytest.mark.parametrize(("left", "milliseconds"), [(0.0001, "1"), (0.25, "250"), (-3.0, "0")])
def test_the_remaining_time_is_rounded_up(left: float, milliseconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.0)
    monkeypatch.setattr(call_headers, "monotonic", clock)
    assert headers_of(CallContext(deadline=left))["X-Portal-Timeout"] == milliseconds


@pytest.mark.parametrize("request_id", ["", "two words", "x" * 129, "ä"])
def test_a_malformed_request_id_is_replaced(request_id: str) -> None:
    assert context_of({"x-request-id": request_id}, 0.0).request_id not in ("", request_id)
    with pytest.raises(ProtocolError, match="request id"):
        headers_of(CallContext(request_id=request_id or " "))


def test_a_malformed_trace_is_left_out() -> None:
    assert context_of({"traceparent": "00-xyz"}, 0.0).traceparent is None
    context = CallContext()
    context.traceparent = "00-xyz"
    assert "traceparent" not in headers_of(context)


@pytest.mark.parametrize(
    ("headers", "state"),
    [
        ({"traceparent": TRACE, "tracestate": "a=1"}, "a=1"),
        ({"traceparent": TRACE, "tracestate": "A=1"}, None),
        ({"traceparent": "00-xyz", "tracestate": "a=1"}, None),
        ({"tracestate": "a=1"}, None),
    ],
)
def test_a_tracestate_belongs_to_a_trace(headers: dict[str, str], state: str | None) -> None:
    assert context_of(headers, 0.0).tracestate == state


@pytest.mark.parametrize("traceparent", [None, "00-xyz"])
def test_a_nested_call_without_a_trace_starts_one(traceparent: str | None) -> None:
    nested = CallContext().child()
    nested.traceparent, nested.tracestate = traceparent, "a=1"
    headers = headers_of(nested)
    assert headers["traceparent"] == nested.traceparent != traceparent
    assert "tracestate" not in headers
    assert headers_of(nested)["traceparent"] == headers["traceparent"]


@pytest.mark.parametrize("timeout", ["", "-1", "1.5", "1e3", "99999999999", "\u0663"])
def test_a_malformed_timeout_is_rejected(timeout: str) -> None:
    with pytest.raises(ProtocolError, match="X-Portal-Timeout must be a whole number of milliseconds"):
        context_of({"x-portal-timeout": timeout}, 0.0)


@pytest.mark.parametrize("key", ["", "two\nlines", "x" * 1_000, "ä"])
def test_a_malformed_idempotency_key_is_rejected(key: Any) -> None:
    with pytest.raises(ProtocolError, match="Idempotency-Key must have"):
        context_of({"idempotency-key": key}, 0.0)
    with pytest.raises(ProtocolError, match="the idempotency key must have"):
        headers_of(CallContext(idempotency_key=key))


@pytest.mark.parametrize(
    "context",
    [
        CallContext(request_id="r-1"),
        CallContext(request_id="r-1", deadline=0.0),
        CallContext(request_id="r-1", idempotency_key="k"),
        CallContext(request_id="r-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01", tracestate="a=1"),
        CallContext(request_id="r-1", parent=CallContext(request_id="r-1")),
    ],
    ids=["id", "deadline", "key", "trace", "nested"],
)
def test_the_lines_are_those_of_the_headers(context: CallContext) -> None:
    lines = header_lines(context).removesuffix("\r\n").split("\r\n")
    assert [line.partition(":")[0] for line in lines] == list(headers_of(context))
    assert lines[0] == "X-Request-ID: r-1"


def test_lines_reject_what_headers_reject() -> None:
    with pytest.raises(ProtocolError):
        header_lines(CallContext(request_id="a\r\nb"))
