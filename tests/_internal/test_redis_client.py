"""StoreClient: failures, the pause after a failure, and recovery."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest
from redis import Redis

from portal._internal.redis_client import StoreClient, StoreUnavailable
from tests.support.broken_tls import break_a_connection, connected


class Client:
    def register_script(self, text: str) -> Any:
        return None


def test_a_response_to_a_request_from_before_the_failure_is_not_a_recovery(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    store = StoreClient(Client(), path="store", pause=1.0, clock=lambda: now[0])
    requests: list[int] = []

    def fail(client: Any) -> int:
        raise ConnectionError("closed")

    def slow(client: Any) -> int:
        with pytest.raises(StoreUnavailable):  # the call of another thread
            store.run(fail)
        return 1

    def request(client: Any) -> int:
        requests.append(1)
        return 2

    with caplog.at_level(logging.WARNING, "portal.calls"):
        assert store.run(slow) == 1
        with pytest.raises(StoreUnavailable):
            store.run(request)
        assert not requests  # the pause is not over
        now[0] = 1.0
        assert store.run(request) == 2
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the shared store does not respond: ConnectionError: closed", "the shared store responds again"]


def test_a_store_over_tls_does_not_fail_because_of_another_connection_of_the_thread() -> None:
    client = Redis.from_url("rediss://127.0.0.1:1/0", socket_timeout=1.0)
    with connected() as (tls, _):
        store = StoreClient(client, path="store")
        break_a_connection()

        def read(_: Any) -> bool:
            with pytest.raises(ssl.SSLWantReadError):
                tls.recv(1)
            return True

        assert store.run(read)
    client.close()
