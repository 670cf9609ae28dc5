"""StoreLink: when a store that failed counts as back."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from portal._internal.redis_client import StoreLink, StoreLost


class Client:
    def register_script(self, text: str) -> Any:
        return None


def test_an_answer_to_what_was_asked_before_the_failure_is_no_return(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    link = StoreLink(Client(), path="store", pause=1.0, clock=lambda: now[0])
    asked: list[int] = []

    def fail(client: Any) -> int:
        raise ConnectionError("gone")

    def slow(client: Any) -> int:
        with pytest.raises(StoreLost):  # another thread's, meanwhile
            link.run(fail)
        return 1

    def ask(client: Any) -> int:
        asked.append(1)
        return 2

    with caplog.at_level(logging.WARNING, "portal.calls"):
        assert link.run(slow) == 1
        with pytest.raises(StoreLost):
            link.run(ask)
        assert not asked  # it is still left alone
        now[0] = 1.0
        assert link.run(ask) == 2
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the shared store does not answer: ConnectionError: gone", "the shared store answers again"]
