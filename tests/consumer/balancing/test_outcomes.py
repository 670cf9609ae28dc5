from __future__ import annotations

import pytest

from portal import (
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.consumer.balancing.outcomes import outcome_of, reason_of_pause


def received(error: PortalError) -> PortalError:
    return PortalError.from_dict(error.to_dict())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, (False, True, None)),
        (TransportError("refused", delivery="not_sent"), (True, False, None)),
        (TransportError("reset"), (True, None, None)),
        (CallTimeout("late"), (True, None, None)),
        (CircuitOpenError("open", retry_after=7), (None, None, 7.0)),
        (received(CircuitOpenError("open", retry_after=7)), (True, True, 7.0)),
        (OverloadedError("full", retry_after=2), (True, True, 2.0)),
        (OverloadedError("full"), (True, True, 1.0)),
        (OverloadedError("full", retry_after=1e9), (True, True, 300.0)),
        (RateLimitError("slow down", retry_after=3), (False, True, 3.0)),
        (RegistryError("gone"), (True, True, 1.0)),
        (RegistryError("gone", delivery="executed"), (None, None, None)),
        (FunctionError("broken"), (True, True, None)),
        (ProtocolError("bad gateway", status=502), (True, True, None)),
        (received(ValidationError("wrong")), (False, True, None)),
        (ValidationError("wrong, as this side knows"), (None, None, None)),
        (CallCancelled("the other one was faster"), (None, None, None)),
        (GeneratorExit(), (None, None, None)),
    ],
    ids=repr,
)
def test_what_an_error_says_of_an_instance(error: BaseException | None, outcome: tuple[object, ...]) -> None:
    assert outcome_of(error) == outcome


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CircuitOpenError("open", retry_after=7), "its circuit is open"),
        (received(CircuitOpenError("open", retry_after=7)), "asked for no calls"),
        (OverloadedError("full"), "asked for no calls"),
        (RateLimitError("slow down", retry_after=3), "asked for no calls"),
        (RegistryError("gone"), "without the function; not called"),
    ],
    ids=repr,
)
def test_why_an_instance_gets_no_calls(error: BaseException, reason: str) -> None:
    assert reason_of_pause(error) == reason
