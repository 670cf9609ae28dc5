from __future__ import annotations

from typing import Any

import pytest

from portal import CallContext, ProtocolError
from portal.network.sent_context import key_to_send, trace_to_send

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("trace", "state", "sent"),
    [
        (None, None, (None, None)),
        (TRACE, None, (TRACE, None)),
        (TRACE, "a=1", (TRACE, "a=1")),
        (TRACE, "no list", (TRACE, None)),
        ("malformed", "a=1", (None, None)),
        (None, "a=1", (None, None)),
    ],
)
def test_only_a_well_formed_trace_is_sent(trace: str | None, state: str | None, sent: tuple[Any, Any]) -> None:
    assert trace_to_send(CallContext(traceparent=trace, tracestate=state)) == sent


@pytest.mark.parametrize("malformed", [None, "malformed"])
def test_a_nested_call_without_a_trace_starts_one_for_all_calls_beside_it(malformed: str | None) -> None:
    outer = CallContext()
    first, second = outer.child(), outer.child()
    first.traceparent = second.traceparent = malformed
    (one, state), (other, _) = trace_to_send(first), trace_to_send(second)
    assert one is not None
    assert other is not None
    assert one.split("-")[1] == other.split("-")[1]
    assert one != other
    assert state is None


def test_a_key_is_sent_as_it_is() -> None:
    assert key_to_send("k" * 255) == "k" * 255


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\r\nX: 1", "\u00e9", 3, b"k"])
def test_a_key_that_no_header_can_carry_is_rejected(key: object) -> None:
    with pytest.raises(ProtocolError, match="must have 1 to 255 visible ASCII characters") as caught:
        key_to_send(key)
    assert caught.value.status == 400
