"""AuthFailures counts failed authentications by client and blocks the clients that fail too often."""

from __future__ import annotations

import logging

import pytest

from portal.errors import RateLimitError
from portal.limits.auth_failures import AuthFailures
from tests.support import valkey
from tests.support.clocks import Clock


def attempts(failures: AuthFailures, peer: str) -> bool:
    """Fail to authenticate; return whether the credential was looked at."""
    try:
        failures.check(peer)
    except RateLimitError:
        return False
    failures.record(peer)
    return True


def test_a_client_is_blocked_until_the_rate_allows_another_attempt() -> None:
    clock = Clock()
    failures = AuthFailures("2/minute", clock=clock)
    assert [attempts(failures, "192.0.2.1") for _ in range(3)] == [True, True, False]
    with pytest.raises(RateLimitError) as caught:
        failures.check("192.0.2.1")
    assert caught.value.retry_after == 30.0
    failures.check("192.0.2.2")
    clock.now += 30
    assert [attempts(failures, "192.0.2.1") for _ in range(2)] == [True, False]


def test_the_addresses_of_an_ipv6_network_are_one_client(caplog: pytest.LogCaptureFixture) -> None:
    failures = AuthFailures("1/hour")
    with caplog.at_level(logging.WARNING, "portal.auth"):
        assert attempts(failures, "2001:db8::1")
    assert "client=2001:db8::/64 blocked_seconds=" in caplog.text
    assert not attempts(failures, "2001:db8::2")
    assert attempts(failures, "2001:db8:0:1::1")


def test_the_table_of_blocked_clients_is_bounded() -> None:
    clock = Clock()
    failures = AuthFailures("1/hour", max_entries=2, clock=clock)
    assert [attempts(failures, peer) for peer in ("a", "b", "c")] == [True, True, True]
    assert not attempts(failures, "c")
    assert not attempts(failures, "b")
    assert attempts(failures, "a")  # the client that was blocked first was removed
    clock.now += 4000
    assert attempts(failures, "d")  # clients whose block has ended are removed first
    assert failures.blocked == 1


def test_processes_share_the_count() -> None:
    with valkey.running() as server:
        both = [AuthFailures("2/hour", store=str(server.connection_url), namespace="test") for _ in range(2)]
        one, other = both
        assert attempts(one, "192.0.2.9")
        assert attempts(other, "192.0.2.9")  # the second in all
        assert not attempts(other, "192.0.2.9")
        assert attempts(one, "192.0.2.9")  # this one notices at its next failure
        assert not attempts(one, "192.0.2.9")
        for failures in both:
            failures.close()


def test_a_lost_store_counts_nothing() -> None:
    failures = AuthFailures("1/hour", store="redis://127.0.0.1:1/0", namespace="test")
    assert [attempts(failures, "a") for _ in range(3)] == [True, True, True]
    failures.close()
