"""StoreClient: when a store that failed counts as back."""

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


def test_an_answer_to_what_was_asked_before_the_failure_is_no_return(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    link = StoreClient(Client(), path="store", pause=1.0, clock=lambda: now[0])
    asked: list[int] = []

    def fail(client: Any) -> int:
        raise ConnectionError("gone")

    def slow(client: Any) -> int:
        with pytest.raises(StoreUnavailable):  # another thread's, meanwhile
            link.run(fail)
        return 1

    def ask(client: Any) -> int:
        asked.append(1)
        return 2

    with caplog.at_level(logging.WARNING, "portal.calls"):
        assert link.run(slow) == 1
        with pytest.raises(StoreUnavailable):
            link.run(ask)
        assert not asked  # it is still left alone
        now[0] = 1.0
        assert link.run(ask) == 2
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the shared store does not answer: ConnectionError: gone", "the shared store answers again"]


def test_a_store_over_tls_does_not_fail_for_another_connection_of_the_thread() -> None:
    client = Redis.from_url("rediss://127.0.0.1:1/0", socket_timeout=1.0)
    with connected() as (tls, _):
        link = StoreClient(client, path="store")
        break_a_connection()

        def read(_: Any) -> bool:
            with pytest.raises(ssl.SSLWantReadError):
                tls.recv(1)
            return True

        assert link.run(read)
    client.close()
