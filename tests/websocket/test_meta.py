"""The context of a call in the `meta` member, there and back."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from portal.context import CallContext
from portal.errors import ProtocolError
from portal.websocket.meta import context_of, meta_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_context_travels() -> None:
    now = monotonic()
    sent = CallContext(request_id="r-1", deadline=now + 1.5, traceparent=TRACE, idempotency_key="k-1")
    meta = meta_of(sent, now)
    assert meta == {"request_id": "r-1", "timeout": 1500, "traceparent": TRACE, "idempotency_key": "k-1"}
    got = context_of(meta, 100.0)
    assert (got.request_id, got.deadline, got.traceparent, got.idempotency_key) == ("r-1", 101.5, TRACE, "k-1")


def test_a_plain_context_has_only_an_id() -> None:
    assert list(meta_of(CallContext(), 0.0)) == ["request_id"]
    assert meta_of(CallContext(deadline=1.0), 2.0)["timeout"] == 0


def test_without_meta_the_server_makes_an_id() -> None:
    context = context_of(None, 0.0)
    assert context.request_id
    assert context.deadline is None


@pytest.mark.parametrize(
    "meta",
    [{"request_id": "a b"}, {"request_id": 7}, {"request_id": "x" * 129}, {"traceparent": "0-0"}, {"traceparent": 1}],
)  # fmt: skip
def test_a_malformed_id_or_trace_is_replaced(meta: dict[str, Any]) -> None:
    context = context_of(meta, 0.0)
    assert context.request_id != meta.get("request_id")
    assert context.traceparent is None


@pytest.mark.parametrize(
    "meta",
    [{"timeout": -1}, {"timeout": 1.5}, {"timeout": True}, {"timeout": "5"}, {"timeout": 10**20},
     {"idempotency_key": ""}, {"idempotency_key": 5}, {"idempotency_key": "a\n"}],
)  # fmt: skip
def test_a_malformed_timeout_or_key_is_rejected(meta: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match=r"meta\."):
        context_of(meta, 0.0)


@pytest.mark.parametrize("context", [CallContext(request_id="a b"), CallContext(idempotency_key="a\nb")])
def test_what_a_header_cannot_carry_is_not_sent(context: CallContext) -> None:
    with pytest.raises(ProtocolError, match="visible ASCII"):
        meta_of(context, 0.0)
