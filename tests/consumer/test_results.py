from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

import pytest

from portal import TransportError, ValidationError
from portal.consumer.results import load_result, log_failure


def test_a_result_is_loaded_into_a_type() -> None:
    assert load_result("2026-01-02", __import__("datetime").date, "day").year == 2026
    with pytest.raises(ValidationError, match="the result of day does not fit returns=int"):
        load_result("x", int, "day")


def test_a_failed_notification_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "portal.consumer"):
        for error in (None, TransportError("lost"), RuntimeError("a bug")):
            done: Future[Any] = Future()
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
            log_failure("add", done)
        cancelled: Future[Any] = Future()
        cancelled.cancel()
        log_failure("add", cancelled)
    assert [one.getMessage() for one in caplog.records] == [
        "notification of add failed: lost",
        "notification of add failed",
    ]
