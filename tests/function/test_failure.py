"""Exceptions of callables, and the portal errors that are sent for them."""

from __future__ import annotations

import threading

import pytest

from portal import Consumer
from portal.errors import FunctionError, PortalError
from portal.function import is_failure
from portal.function.failure import function_error, limit_exposure, portal_errors_only


def test_system_exit_is_a_failure_except_in_the_main_thread() -> None:
    assert is_failure(ValueError())
    assert not is_failure(SystemExit())
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_failure(SystemExit())))
    thread.start()
    thread.join(10)
    assert found == [True]


def test_an_exception_becomes_a_function_error() -> None:
    error = function_error(KeyError("a"))
    assert (error.type, error.message) == ("KeyError", "KeyError: 'a'")
    with pytest.raises(FunctionError) as caught, portal_errors_only():
        raise KeyError("a")
    assert isinstance(caught.value.cause, KeyError)


def test_a_portal_error_passes_with_delivery_executed() -> None:
    error = PortalError("no")
    with pytest.raises(PortalError) as caught, portal_errors_only():
        raise error
    assert caught.value is error
    assert error.delivery == "executed"


def test_the_own_error_of_a_function_is_sent_in_full() -> None:
    error = PortalError("no", hint="ask for more")
    with pytest.raises(PortalError), portal_errors_only():
        raise error
    assert error.exposure == "full"


def test_the_error_of_a_nested_call_is_hidden_or_relayed() -> None:
    with Consumer([]) as consumer, pytest.raises(PortalError) as caught, portal_errors_only():
        consumer.call_at("http://127.0.0.1:99999/x")
    assert caught.value.exposure == "hidden"
    received = PortalError.from_dict({"message": "no", "address": "http://10.0.0.7/"})
    with pytest.raises(PortalError), portal_errors_only():
        raise received
    assert received.exposure == "relayed"
    limit_exposure(caught.value)  # does not widen it
    assert caught.value.exposure == "hidden"


def test_system_exit_passes_in_the_main_thread() -> None:
    with pytest.raises(SystemExit), portal_errors_only():
        raise SystemExit
