"""What a function raised on a worker: its class, causes and tracebacks arrive."""

from __future__ import annotations

import copyreg
import pickle
import sys
import traceback
from typing import Any

import pytest

pytest.importorskip("tblib", reason="the package distributed is not installed")

from tblib import pickling_support

from portal import AuthorizationError, FunctionError
from portal.cluster.causes import PackedError, pack_error, unpack_error


class Odd(Exception):
    """Its class takes other arguments than it keeps."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name}: {number}")
        self.number = number


def raised(error: BaseException, cause: BaseException | None = None) -> Any:
    try:
        if cause is None:
            raise error
        try:
            raise cause
        except BaseException as found:
            raise error from found
    except BaseException as found:
        return found


def sent(error: BaseException) -> PackedError:
    found: PackedError = pickle.loads(pickle.dumps(pack_error(error)))
    return found


def test_causes_and_tracebacks_arrive() -> None:
    found = unpack_error(sent(raised(ValueError("wrong"), KeyError("missing"))))
    assert type(found) is ValueError
    assert isinstance(found.__cause__, KeyError)
    frames = [frame.name for frame in traceback.extract_tb(found.__traceback__)]
    assert frames == ["raised"]
    assert traceback.extract_tb(found.__cause__.__traceback__)


def test_a_class_with_other_arguments_arrives() -> None:
    found = unpack_error(sent(raised(Odd("x", 5))))
    assert isinstance(found, Odd)
    assert (str(found), found.number) == ("x: 5", 5)


@pytest.mark.parametrize("installed", [False, True], ids=["plain", "with tblib"])
def test_a_class_that_the_caller_does_not_have_becomes_a_function_error(
    monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if installed:  # distributed installs it for the classes that exist when it is imported
        monkeypatch.setitem(copyreg.dispatch_table, AuthorizationError, pickling_support.pickle_exception)
    packed = sent(raised(Odd("x", 5)))
    nested = sent(raised(AuthorizationError("not for you"), Odd("y", 6)))
    monkeypatch.delattr(sys.modules[__name__], "Odd")
    found = unpack_error(packed)
    assert isinstance(found, FunctionError)
    assert found.type == "Odd"
    assert "x: 5" in found.message
    denied = unpack_error(nested)
    assert isinstance(denied, AuthorizationError)
    assert denied.__cause__ is None


def test_what_cannot_be_pickled_becomes_a_function_error() -> None:
    class Local(Exception):
        pass

    packed = sent(raised(Local("here")))
    assert packed.cause is None
    found = unpack_error(packed)
    assert isinstance(found, FunctionError)
    assert found.type == "Local"


def test_a_portal_error_keeps_its_cause() -> None:
    found = unpack_error(sent(raised(AuthorizationError("not for you", hint="ask ann"), KeyError("missing"))))
    assert isinstance(found, AuthorizationError)
    assert found.hint == "ask ann"
    assert isinstance(found.__cause__, KeyError)
    assert traceback.extract_tb(found.__cause__.__traceback__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_a_process_becomes_a_function_error(error: BaseException) -> None:
    assert isinstance(unpack_error(sent(raised(error))), FunctionError)


def test_a_circle_of_causes_arrives_as_an_error() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert "one" in str(unpack_error(sent(one)))


def test_large_causes_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.cluster.causes._MAX_SIZE", 100)
    assert sent(raised(ValueError("x" * 200))).cause is None
