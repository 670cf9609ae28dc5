from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from portal import Fault, FunctionError, PortalError, ValidationError

FAULTS = [Fault(f"/{name}", "must be a number", "type", "number", "'x'") for name in "abcde"]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "the data does not fit its schema"),
        (1, "/a: must be a number"),
        (3, "/a: must be a number; /b: must be a number; /c: must be a number"),
        (5, "/a: must be a number; /b: must be a number; /c: must be a number; and 2 more"),
    ],
)
def test_the_message_of_a_validation_error_names_the_first_faults(count: int, message: str) -> None:
    assert str(ValidationError(errors=FAULTS[:count])) == message


def test_a_fault_of_the_whole_value() -> None:
    assert str(ValidationError(errors=[Fault("", "must be an object", "type")])) == "value: must be an object"
    assert str(ValidationError("no", errors=FAULTS)) == "no"


@pytest.mark.parametrize(
    "copy",
    [lambda error: PortalError.from_dict(error.to_dict()), lambda error: pickle.loads(pickle.dumps(error))],
    ids=["json", "pickle"],
)
def test_faults_survive(copy: Callable[[PortalError], PortalError]) -> None:
    for error in (ValidationError(errors=FAULTS), FunctionError("bad", type="InvalidOutput", errors=FAULTS)):
        returned = copy(error)
        assert type(returned) is type(error)
        assert returned.errors == tuple(FAULTS)  # type: ignore[attr-defined]


def test_a_peer_may_send_anything_as_faults() -> None:
    data = ValidationError(errors=FAULTS).to_dict()
    for errors, count in ((None, 0), ("text", 0), ([1, FAULTS[0].to_dict()], 1)):
        returned = PortalError.from_dict(data | {"errors": errors})
        assert isinstance(returned, ValidationError)
        assert len(returned.errors) == count


def test_the_message_for_clients_of_a_private_error_has_no_detail() -> None:
    error = FunctionError("password hunter2 is wrong", type="ValueError", private=True)
    assert error.message_for_client(debug=False) == "the function failed; the server's log has the reason"
    error.context["operation"] = "login"
    error.context["request_id"] = "r-1"
    assert error.message_for_client(debug=False) == "login failed; the server's log has the reason under request r-1"
    assert error.message_for_client(debug=True) == "password hunter2 is wrong"
    assert error.delivery == "executed"


def test_whether_a_message_is_private_stays_on_the_server() -> None:
    returned = PortalError.from_dict(FunctionError("no", private=True).to_dict())
    assert isinstance(returned, FunctionError)
    assert not returned.private
