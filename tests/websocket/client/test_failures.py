"""The errors of lost connections."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

import pytest

from portal import Address
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
)
from portal.websocket.client.failures import as_failure, close_error, copy_error, is_final, lost_error, report_failure

ADDRESS = Address.parse("ws://h:1/ws")


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (1000, TransportError), (1001, TransportError), (1005, TransportError), (1006, TransportError),
        (1002, ProtocolError), (1008, ProtocolError), (1009, ProtocolError), (1011, TransportError),
        (1013, OverloadedError), (4401, AuthenticationError), (4403, AuthorizationError), (4408, TransportError),
        (4409, TransportError), (4413, TransportError), (4429, RateLimitError), (4999, TransportError),
    ],
)  # fmt: skip
def test_close_codes(code: int, cls: type[PortalError]) -> None:
    error = close_error(code, "why", ADDRESS)
    assert type(error) is cls
    assert "why" in error.message
    assert "h:1" in error.message
    assert error.delivery == "not_sent"


def test_a_failure_that_is_not_a_portal_error_says_that_nothing_was_sent() -> None:
    error = as_failure(RuntimeError("no thread"), ADDRESS)
    assert isinstance(error, TransportError)
    assert error.delivery == "not_sent"
    known = OverloadedError("x")
    assert as_failure(known, ADDRESS) is known


def test_a_call_in_flight_may_have_been_executed() -> None:
    error = lost_error(ADDRESS, "")
    assert (error.message, error.may_have_executed, error.retryable) == ("lost the connection to h:1", True, False)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (TransportError("x", delivery="not_sent"), False),
        (TransportError("untrusted", delivery="not_sent", retryable=False), True),
        (OverloadedError("x"), False),
        (AuthenticationError("x"), True),
        (RegistryError("x"), True),
        (ProtocolError("x"), True),
        (PortalError("500"), False),
    ],
)
def test_when_another_attempt_makes_no_sense(error: PortalError, final: bool) -> None:
    assert is_final(error) is final


def test_each_call_gets_an_error_of_its_own() -> None:
    error = TransportError("x", delivery="not_sent", context={"a": 1})
    first, second = copy_error(error, sent=True), copy_error(error, sent=False)
    first.context["b"] = 2
    assert (first.delivery, first.retryable) == ("unknown", False)
    assert (second.delivery, second.retryable, second.context) == ("not_sent", True, {"a": 1})
    assert error.context == {"a": 1}


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), RuntimeError("injected"), None])
def test_the_error_of_a_job_that_cannot_report_it_is_reported(error: BaseException | None) -> None:
    reported: list[BaseException] = []
    later: list[Any] = []
    now: Future[None] = Future()
    now.add_done_callback(partial(report_failure, reported.append))
    delayed: Future[None] = Future()
    delayed.add_done_callback(partial(report_failure, reported.append, soon=later.append))
    for future in (now, delayed):
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
    assert reported == ([] if error is None else [error])
    for run in later:
        run()
    assert reported == ([] if error is None else [error, error])


def test_a_job_that_is_cancelled_before_it_begins_is_reported() -> None:
    reported: list[BaseException] = []
    future: Future[None] = Future()
    future.add_done_callback(partial(report_failure, reported.append))
    future.cancel()
    assert [type(one) for one in reported] == [CancelledError]
