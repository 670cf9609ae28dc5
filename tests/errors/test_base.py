"""Every error class: its row in the table, JSON, pickling, causes and context."""

from __future__ import annotations

import copyreg
import json
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import errors
from portal.errors import (
    AddressError,
    CallTimeout,
    ConfigError,
    ConsumerError,
    Delivery,
    Fault,
    FunctionError,
    JavaScriptError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
    ValidationError,
    error_table,
)

FAULTS = (Fault("/a/0", "must be a number", "type", "number", "'x'"), Fault("", "too deep", "depth"))
MEMBERS: dict[str, dict[str, Any]] = {
    "AddressError": {"position": 3, "reason": "whitespace"},
    "RegistryError": {"name": "add", "kind": "conflict"},
    "ValidationError": {"errors": FAULTS},
    "FunctionError": {"type": "KeyError", "errors": FAULTS},
    "RateLimitError": {"retry_after": 1.5},
    "CircuitOpenError": {"retry_after": None},
    "OverloadedError": {"retry_after": 2},
    "CallTimeout": {"timeout": 0.25},
    "TransportError": {"delivery": "not_sent", "hint": "is it running?"},
    "ProtocolError": {"status": 413},
    "JavaScriptError": {"stage": "syntax", "line": 1, "column": 2, "js_stack": "at f"},
    "ConfigError": {"path": "http.port", "value": "'a'", "expected": "0 to 65535"},
    "ConsumerError": {"attempts": [{"address": "local://a", "error": "not available"}], "advice": "start it"},
}
CLASSES: list[type[PortalError]] = [getattr(errors, row[0]) for row in error_table()]


class StockError(PortalError):
    """An error class of a user."""

    code = "stock_is_empty"
    status = 409
    rpc_code = -31000
    members = ("item",)

    def __init__(self, message: str, item: str) -> None:
        super().__init__(message)
        self.item = item


class QuietError(RegistryError):
    """A subclass without a code of its own."""


class Unpicklable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("broken")
        self.lock = threading.Lock()


def make_error(cls: type[PortalError]) -> PortalError:
    return cls(
        "what happened",
        scheme="http",
        address="http://h/a",
        context={"request_id": "r1", "user": "ann"},
        **MEMBERS.get(cls.__name__, {}),
    )


def state(error: PortalError) -> dict[str, Any]:
    names = ("message", "scheme", "address", "code", "status", "retryable", "delivery", "hint", "context")
    names += error.members
    return {name: getattr(error, name) for name in names}


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_from_json_as_the_same_class(cls: type[PortalError]) -> None:
    error = make_error(cls)
    data = json.loads(json.dumps(error.to_dict()))
    again = PortalError.from_dict(data)
    assert type(again) is cls
    assert state(again) == state(error)
    assert again.to_dict() == data
    assert data["error"] == cls.__name__
    assert {name: getattr(again, name) for name in MEMBERS.get(cls.__name__, {})} == MEMBERS.get(cls.__name__, {})
    assert "stack" not in data


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_without_arguments_comes_back_from_json(cls: type[PortalError]) -> None:
    error = cls()
    again = PortalError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(again) is cls
    assert state(again) == state(error)
    assert str(error)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_pickles(cls: type[PortalError], protocol: int) -> None:
    error = make_error(cls)
    error.__cause__ = KeyError("k")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert state(again) == state(error)
    assert (str(again), again.args) == (str(error), error.args)
    assert isinstance(again.cause, KeyError)
    assert again.cause.args == ("k",)


def test_a_cause_that_does_not_pickle_is_replaced_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    # distributed lets tblib pickle all exceptions of a process, with their causes as they are.
    monkeypatch.delitem(copyreg.dispatch_table, FunctionError, raising=False)
    again = pickle.loads(pickle.dumps(FunctionError("failed", cause=Unpicklable(1, 2))))
    assert type(again) is FunctionError
    assert str(again.cause) == "Unpicklable: broken"


def test_the_table_has_every_public_class_once() -> None:
    table = error_table()
    names = {name for name in errors.__all__ if isinstance(getattr(errors, name), type) and name != "Fault"}
    assert {row[0] for row in table} == names
    assert len({row[1] for row in table}) == len(table) == len(names)
    for name, code, status, rpc_code, retryable in table:
        cls = getattr(errors, name)
        assert (cls.code, cls.status, cls.rpc_code, cls.retryable) == (code, status, rpc_code, retryable)
        assert 400 <= status <= 599
        assert -32899 <= rpc_code <= -32000
    assert len({row[3] for row in table}) == len(table)


@pytest.mark.parametrize(
    ("cls", "builtin"), [(CallTimeout, TimeoutError), (TransportError, ConnectionError), (ConfigError, ValueError)]
)
def test_builtin_bases(cls: type[PortalError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="what happened"):
        raise make_error(cls)
    assert isinstance(PortalError.from_dict(cls("m").to_dict()), builtin)
    assert isinstance(pickle.loads(pickle.dumps(cls("m"))), builtin)
    assert str(cls("m")) == "m"


# subclasses and unknown codes


def test_a_class_of_a_user_comes_back_as_itself() -> None:
    error = StockError("none left", "apple")
    for again in (PortalError.from_dict(error.to_dict()), pickle.loads(pickle.dumps(error))):
        assert type(again) is StockError
        assert (again.item, again.status, again.code, str(again)) == ("apple", 409, "stock_is_empty", "none left")


def test_a_subclass_without_a_code_travels_as_its_base() -> None:
    again = PortalError.from_dict(QuietError("not available", name="add").to_dict())
    assert type(again) is RegistryError
    assert again.name == "add"
    assert type(pickle.loads(pickle.dumps(QuietError("not available")))) is QuietError


def test_an_unknown_code_is_kept() -> None:
    data = {"code": "from_the_future", "message": "m", "status": 418, "retryable": True}
    again = PortalError.from_dict(data)
    assert type(again) is PortalError
    assert (again.code, again.status, again.retryable, str(again)) == ("from_the_future", 418, True, "m")
    assert {name: again.to_dict()[name] for name in data} == data
    assert PortalError.code == "portal_error"


@pytest.mark.parametrize("cls", CLASSES)
def test_members_that_a_peer_leaves_out_have_defaults(cls: type[PortalError]) -> None:
    again = PortalError.from_dict({"code": cls.code})
    assert type(again) is cls
    assert again.retryable is cls.retryable
    assert again.status == cls.status
    assert json.dumps(again.to_dict())


def test_without_delivery_from_a_peer_a_call_is_not_safe_to_repeat() -> None:
    again = PortalError.from_dict({"code": "transport_error"})
    assert isinstance(again, TransportError)
    assert again.may_have_executed
    assert again.delivery == "unknown"


def test_delivery_tells_whether_the_function_ran() -> None:
    for delivery, may_have, executed in (
        (None, False, False),
        ("not_sent", False, False),
        ("unknown", True, False),
        ("executed", True, True),
    ):
        error = PortalError("m", delivery=delivery)
        assert (error.delivery, error.may_have_executed, error.executed) == (delivery, may_have, executed)
        assert error.to_dict().get("delivery") == delivery
    defaults = {row[0]: getattr(errors, row[0])().delivery for row in error_table()}
    assert {name for name, delivery in defaults.items() if delivery == "unknown"} == {
        *("TransportError", "CallTimeout", "CallCancelled"),
    }
    assert {name for name, delivery in defaults.items() if delivery == "not_sent"} == {
        *("RateLimitError", "CircuitOpenError", "OverloadedError"),
    }
    assert defaults["FunctionError"] == "executed"
    assert OverloadedError("o", delivery="unknown").may_have_executed


@pytest.mark.parametrize("earlier", ["unknown", "executed"])
def test_an_earlier_attempt_is_merged(earlier: Delivery) -> None:
    error = TransportError("no connection", delivery="not_sent", hint="is it running?")
    error.merge_previous_attempt(may_have_executed=False)
    assert (error.delivery, error.retryable, error.hint) == ("not_sent", True, "is it running?")
    error.merge_previous_attempt(may_have_executed=PortalError(delivery=earlier).may_have_executed)
    assert (error.delivery, error.retryable) == ("unknown", False)
    assert str(error) == "no connection; is it running?; an earlier attempt may have been executed"
    ran = PortalError("ran", delivery="executed")
    ran.merge_previous_attempt(may_have_executed=True)
    assert (ran.delivery, ran.hint) == ("executed", "")


def test_a_hint_is_separate_from_the_message() -> None:
    error = PortalError("the call failed", hint="try again")
    assert (error.message, error.hint, str(error)) == ("the call failed", "try again", "the call failed; try again")
    again = PortalError.from_dict(error.to_dict())
    assert (again.message, again.hint) == ("the call failed", "try again")
    assert "hint" not in PortalError("the call failed").to_dict()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KEYS = sorted({name for cls in CLASSES for name in cls.members} | {"message", "status", "context", "stack", "scheme"})


@given(st.sampled_from([cls.code for cls in CLASSES]), st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_json_becomes_an_error_that_can_be_sent_again(code: str, data: dict[str, Any]) -> None:
    again = PortalError.from_dict({**data, "code": code})
    assert again.code == code
    assert json.dumps(again.to_dict())
    assert pickle.loads(pickle.dumps(again)).to_dict() == again.to_dict()


# cause, context, stack


def test_cause() -> None:
    cause = KeyError("k")
    error = FunctionError("failed", cause=cause)
    assert error.cause is error.__cause__ is cause
    assert error.to_dict()["cause"] == {"type": "KeyError", "message": "'k'"}
    assert PortalError("m").cause is None
    assert "cause" not in PortalError("m").to_dict()


def test_context() -> None:
    given_facts = {"user": "ann"}
    error = PortalError("m", context=given_facts)
    assert error.request_id is None
    assert error.with_context(request_id=7, user="bob", operation=None) is error
    assert error.context == {"user": "ann", "request_id": 7}
    assert error.request_id == "7"
    assert given_facts == {"user": "ann"}
    assert "context" not in PortalError("m").to_dict()


def test_stack_trace() -> None:
    def inner() -> None:
        raise KeyError("deep")

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise FunctionError("failed") from error

    with pytest.raises(FunctionError) as caught:
        outer()
    text = caught.value.stack_trace()
    assert "in inner" in text
    assert "KeyError: 'deep'" in text
    assert "FunctionError: failed" in text
    data = caught.value.to_dict(debug=True)
    assert data["stack"] == text
    remote = PortalError.from_dict(data)
    assert remote.stack == text
    assert remote.stack_trace().startswith(text)
    assert "FunctionError: failed" in remote.stack_trace()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PortalError(), "PortalError"),
        (PortalError("m"), "m"),
        (AddressError(reason="whitespace"), "whitespace"),
        (ValidationError(), "the data does not fit its schema"),
        (ValidationError(errors=FAULTS), "/a/0: must be a number; value: too deep"),
        (
            ValidationError(errors=FAULTS * 2),
            "/a/0: must be a number; value: too deep; /a/0: must be a number; and 1 more",
        ),
        (ValidationError("m", errors=FAULTS), "m"),
    ],
)
def test_text(error: PortalError, text: str) -> None:
    assert str(error) == text


def test_defaults_of_a_class_and_values_of_one_error() -> None:
    error = PortalError("m", code="mine", retryable=True, address=5)
    assert (error.code, error.retryable, error.address) == ("mine", True, "5")
    assert (PortalError.code, PortalError.retryable) == ("portal_error", False)
    assert TransportError(delivery="not_sent").retryable
    assert not TransportError().retryable
    assert not TransportError(delivery="not_sent", retryable=False).retryable
    assert RateLimitError(retry_after=1).retryable
    assert ProtocolError("m").status == 400
    assert ProtocolError("m", status=405).status == 405
    assert JavaScriptError("m").stage == "execute"
    assert ConsumerError(attempts=iter([{"a": 1}])).attempts == [{"a": 1}]


def test_fault() -> None:
    for fault in FAULTS:
        assert Fault.from_dict(json.loads(json.dumps(fault.to_dict()))) == fault
    assert Fault.from_dict({}) == Fault("", "", "")
    again = PortalError.from_dict({"code": "validation_error", "errors": ["no fault", FAULTS[0].to_dict()]})
    assert isinstance(again, ValidationError)
    assert again.errors == FAULTS[:1]
