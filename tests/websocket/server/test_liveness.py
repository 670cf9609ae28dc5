"""Liveness: pings, dead and idle clients, and credentials, by a clock of the test."""

from __future__ import annotations

from math import inf

from portal.websocket.server.liveness import Liveness
from portal.websocket.server.settings import WebSocketConfig

CONFIG = WebSocketConfig(
    ping_interval=20.0,
    ping_timeout=10.0,
    idle_timeout=100.0,
    handshake_timeout=5.0,
    close_timeout=2.0,
    credential_grace=25.0,
)


def test_a_silent_client_gets_a_ping_and_is_dead_without_a_response() -> None:
    one = Liveness(CONFIG, 0.0)
    assert one.next_moment(busy=True) == 20.0
    assert one.due(19.9, busy=True) is None
    assert one.due(20.0, busy=True) == "ping"
    assert one.next_moment(busy=True) == 30.0
    assert one.due(29.9, busy=True) is None
    assert one.due(30.0, busy=True) == "dead"


def test_any_bytes_are_a_sign_of_life() -> None:
    one = Liveness(CONFIG, 0.0)
    assert one.due(20.0, busy=True) == "ping"
    one.heard(25.0)
    assert one.next_moment(busy=True) == 45.0
    assert one.due(30.0, busy=True) is None
    assert one.due(45.0, busy=True) == "ping"


def test_a_client_that_talks_gets_no_pings() -> None:
    one = Liveness(CONFIG, 0.0)
    for now in range(0, 200, 10):
        one.heard(float(now))
        assert one.due(float(now) + 9.9, busy=True) is None


def test_an_idle_connection_is_closed_unless_it_is_busy() -> None:
    one = Liveness(CONFIG, 0.0)
    one.heard(99.0)
    assert one.next_moment(busy=False) == 100.0
    assert one.due(100.0, busy=True) is None
    assert one.due(100.0, busy=False) == (4408, "the connection was idle for 100 s")
    one.used(50.0)
    assert one.due(100.0, busy=False) is None


def test_without_an_idle_timeout_a_connection_stays() -> None:
    one = Liveness(WebSocketConfig(), 0.0)
    one.heard(1e9)
    assert one.due(1e9, busy=False) is None


def test_a_credential_must_come_in_time() -> None:
    one = Liveness(CONFIG, 0.0, awaits_credential=True)
    assert one.next_moment(busy=False) == 5.0
    assert one.due(5.0, busy=False) == (4408, "no credential was sent within 5 s")
    one.authenticated(None)
    assert one.due(5.0, busy=False) is None
    assert one.expires == inf


def test_an_expired_credential_has_a_grace_period_and_may_be_renewed() -> None:
    one = Liveness(CONFIG, 0.0)
    one.authenticated(10.0)
    one.heard(34.0)
    assert one.next_moment(busy=True) == 35.0
    assert one.due(34.9, busy=True) is None
    assert one.due(35.0, busy=True) == (4401, "the credential has expired")
    one.authenticated(1000.0)
    assert one.due(35.0, busy=True) is None


def test_the_closing_handshake_has_a_limit_and_nothing_else_is_due() -> None:
    one = Liveness(CONFIG, 0.0)
    one.close(50.0)
    assert one.next_moment(busy=True) == 52.0
    assert one.due(51.9, busy=True) is None
    assert one.due(52.0, busy=True) == "end"
