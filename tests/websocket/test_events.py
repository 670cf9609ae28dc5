"""The calls that events name."""

from __future__ import annotations

from portal.websocket.events import IncomingCall, OutgoingCall


def test_calls_show_their_id_and_method() -> None:
    assert repr(OutgoingCall(3, "add", None, None, None)) == "OutgoingCall(id=3, method='add')"
    assert repr(IncomingCall("x", "add", {})) == "IncomingCall(id='x', method='add')"


def test_a_new_call_has_neither_ended_nor_been_cancelled() -> None:
    assert OutgoingCall(3, "add", None, None, None).ended is False
    call = IncomingCall(None, "add", [], notification=True)
    assert (call.ended, call.cancelled, call.notification) == (False, False, True)
