"""Which errors of calls are logged."""

from __future__ import annotations

import logging

import pytest

from portal._internal.log import get_logger
from portal.errors import FunctionError, PortalError, RegistryError, ValidationError
from portal.network.failure_log import log_failure

LOG = get_logger("portal.test")


@pytest.fixture(autouse=True)
def caught(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "portal.test")


def test_what_a_function_raised_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    error = FunctionError("KeyError: 3", cause=KeyError(3), context={"operation": "add"})
    log_failure(LOG, error, "r1")
    (record,) = caplog.records
    assert record.getMessage() == "add failed, request r1: KeyError: 3"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_what_is_hidden_from_the_client_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    error = PortalError("http://inner is down")
    error.exposure = "hidden"
    log_failure(LOG, error, "r1")
    assert caplog.messages == ["a function failed in a nested call, request r1: PortalError: http://inner is down"]


@pytest.mark.parametrize("error", [RegistryError("nothing there"), ValidationError("wrong")])
def test_what_the_client_gets_is_not_logged(error: PortalError, caplog: pytest.LogCaptureFixture) -> None:
    log_failure(LOG, error, "r1")
    assert caplog.messages == []
