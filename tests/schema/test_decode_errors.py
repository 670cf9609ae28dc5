"""What user code raises while data is decoded: the caller's fault, or the function's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Flag
from typing import Any, NamedTuple

import pytest
from marshmallow import Schema as MarshmallowSchema
from marshmallow import fields, post_load, pre_load, validates

from portal.errors import AuthorizationError, FunctionError, PortalError, ValidationError
from portal.schema import Parameters, Schema
from portal.schema.decode_errors import decode_error, describe_error, encode_error, hook_error


class Silent(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


ERRORS: dict[str, BaseException] = {
    "value": ValueError("must be even"),
    "type": TypeError("odd"),
    "key": KeyError("postgres://user:secret@host"),
    "runtime": RuntimeError("postgres://user:secret@host"),
    "overflow": OverflowError("postgres://user:secret@host"),
    "exit": SystemExit("postgres://user:secret@host"),
    "interrupt": KeyboardInterrupt("postgres://user:secret@host"),
}
OF_DATA = ("value", "type")


def fail(kind: str) -> str:
    if kind in ERRORS:
        raise ERRORS[kind]
    return kind


@dataclass
class Checked:
    kind: str

    def __post_init__(self) -> None:
        fail(self.kind)


FACTORY_KIND = ["fine"]


@dataclass
class Made:
    kind: str
    id: str = field(default_factory=lambda: fail(FACTORY_KIND[0]))


class Pair(NamedTuple("Pair", [("kind", str), ("count", int)])):
    def __new__(cls, kind: str, count: int) -> Any:
        return super().__new__(cls, fail(kind), count)


class Right(Flag):
    READ = 1
    WRITE = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return super()._missing_(value)


class BeforeLoad(MarshmallowSchema):
    kind = fields.String()

    @pre_load
    def check(self, data: Any, **_: Any) -> Any:
        fail(data["kind"])
        return data


class AfterLoad(MarshmallowSchema):
    kind = fields.String()

    @post_load
    def check(self, data: Any, **_: Any) -> Any:
        fail(data["kind"])
        return data


class Validates(MarshmallowSchema):
    kind = fields.String()

    @validates("kind")
    def check(self, value: str, **_: Any) -> None:
        fail(value)


SCHEMAS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "dataclass": (Checked, lambda kind: {"kind": kind}),
    "list": (list[Checked], lambda kind: [{"kind": "a"}, {"kind": kind}]),
    "optional": (Checked | None, lambda kind: {"kind": kind}),
    "union": (Checked | int, lambda kind: {"kind": kind}),
    "dict": (dict[str, tuple[Checked, ...]], lambda kind: {"a": [{"kind": kind}]}),
    "named tuple": (Pair, lambda kind: {"kind": kind, "count": 1}),
    "pre_load": (BeforeLoad, lambda kind: {"kind": kind}),
    "post_load": (AfterLoad, lambda kind: {"kind": kind}),
    "validates": (Validates, lambda kind: {"kind": kind}),
}


def raised_by(action: Callable[[], object]) -> BaseException:
    """Return what a call raises in another thread, as in a server's worker."""
    found: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return found[0]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_value_and_type_errors_are_the_callers_and_others_the_functions(name: str, kind: str) -> None:
    source, data = SCHEMAS[name]
    schema = Schema.of(source)
    schema.load(data("fine"))
    error = raised_by(lambda: schema.load(data(kind)))
    if kind in OF_DATA:
        assert isinstance(error, ValidationError)
        assert str(ERRORS[kind]) in str(error)
    else:
        assert isinstance(error, FunctionError)
        assert error.private
        assert error.type == type(ERRORS[kind]).__name__
        assert "secret" not in error.message_for_client(debug=False)


@pytest.mark.parametrize("kind", ERRORS)
def test_a_factory_fails_like_other_user_code(kind: str) -> None:
    def take(order: Made) -> None: ...

    FACTORY_KIND[0] = "fine"
    parameters = Parameters.of(take)
    FACTORY_KIND[0] = kind
    error = raised_by(lambda: parameters.load({"order": {"kind": "a"}}))
    assert isinstance(error, ValidationError if kind in OF_DATA else FunctionError)


def test_an_exception_for_the_process_passes_in_the_main_thread() -> None:
    def take(order: Checked) -> None: ...

    for schema in (Schema.of(Checked), Schema.of(AfterLoad)):
        with pytest.raises(SystemExit):
            schema.load({"kind": "exit"})
    with pytest.raises(KeyboardInterrupt):
        Parameters.of(take).load({"order": {"kind": "interrupt"}})


def test_a_portal_error_of_user_code_passes_unchanged() -> None:
    refused = AuthorizationError("not yours")
    ERRORS["portal"] = refused
    try:
        assert raised_by(lambda: Schema.of(Checked).load({"kind": "portal"})) is refused
        assert raised_by(lambda: Schema.of(AfterLoad).load({"kind": "portal"})) is refused
    finally:
        del ERRORS["portal"]


def test_a_failure_while_the_fault_is_located_is_one_of_the_function() -> None:
    raised = iter([ValueError("first"), KeyError("second")])

    @dataclass
    class Unstable:
        n: int

        def __post_init__(self) -> None:
            raise next(raised)

    with pytest.raises(FunctionError, match="second"):
        Schema.of(Unstable).load({"n": 1})


@pytest.mark.parametrize(("hint", "data"), [(float, 10**400), (float | None, 10**400), (list[float], [10**400])])
def test_a_number_that_a_codec_cannot_hold_is_the_callers(hint: Any, data: Any) -> None:
    with pytest.raises(ValidationError):
        Schema.of(hint).load(data)


def test_an_error_without_text_is_still_the_callers() -> None:
    for error in (Silent(), ValueError(), TypeError(object())):
        ERRORS["silent"] = error
        try:
            assert isinstance(raised_by(lambda: Schema.of(Checked).load({"kind": "silent"})), ValidationError)
            assert isinstance(raised_by(lambda: Schema.of(BeforeLoad).load({"kind": "silent"})), ValidationError)
        finally:
            del ERRORS["silent"]


def test_what_an_encoder_raises_ends_no_worker() -> None:
    class Leaving(dict[str, Decimal]):
        def items(self) -> Any:
            raise SystemExit("leave")

    error = raised_by(lambda: Schema.of(dict[str, Decimal]).dump(Leaving(a=Decimal(1))))
    assert isinstance(error, ValidationError)
    with pytest.raises(SystemExit):
        Schema.of(dict[str, Decimal]).dump(Leaving(a=Decimal(1)))


def test_errors_without_parts_are_described_in_one_line() -> None:
    assert describe_error(ValueError("x" * 500)) == "ValueError: " + "x" * 188
    assert isinstance(decode_error(None, 1, ValueError("must be even")), ValidationError)
    assert isinstance(hook_error(1, LookupError("x")), FunctionError)
    known = PortalError("x")
    assert hook_error(1, known) is known


def test_the_error_of_an_encoder_names_what_it_raised() -> None:
    error = encode_error({"a": 1}, KeyError("b"))
    assert isinstance(error, ValidationError)
    (fault,) = error.errors
    assert (fault.path, fault.rule) == ("", "json")
    assert fault.message == "cannot be converted to JSON: KeyError: 'b'"
