"""Error classes whose errors would not come back from a transport are rejected when they are defined."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.errors import ConfigError, FunctionError, OverloadedError, PortalError, RateLimitError


def define_class() -> type[PortalError]:
    class Shortage(PortalError):
        code = "tests_shortage"

    return Shortage


def test_a_class_must_not_have_the_code_of_another() -> None:
    words = "Taken.code must be a code of its own, got 'rate_limited' of RateLimitError"
    with pytest.raises(TypeError, match=re.escape(words)):
        type("Taken", (PortalError,), {"code": "rate_limited"})
    with pytest.raises(TypeError, match="of OverloadedError"):
        type("Busier", (OverloadedError,), {"code": "overloaded"})
    assert type(PortalError.from_dict(RateLimitError("m").to_dict())) is RateLimitError


def test_a_class_may_be_defined_again() -> None:
    first, second = define_class(), define_class()
    assert first is not second
    assert type(PortalError.from_dict({"code": "tests_shortage"})) is second


def test_parameters_must_be_declared() -> None:
    with pytest.raises(TypeError) as info:

        class Lossy(PortalError):
            code = "tests_lossy"

            def __init__(self, message: str, item: str, *rest: int, count: int = 0, **common: Any) -> None:
                super().__init__(message, **common)

    assert str(info.value) == (
        "Lossy.__init__ takes 'item', which other processes would not get; "
        "add it to Lossy.members, or to Lossy.transient if it stays in this process"
    )
    assert type(PortalError.from_dict({"code": "tests_lossy"})) is PortalError


def test_transient_parameters_are_not_sent() -> None:
    class Order(PortalError):
        code = "tests_order"
        members = ("order_id",)
        transient = ("order",)

        def __init__(self, message: str = "", *, order: Any = None, hint: str = "", status: int = 500) -> None:
            super().__init__(message, hint=hint)
            self.order_id = None if order is None else order.real

    error = Order("not available", order=7)
    again = PortalError.from_dict(error.to_dict())
    assert isinstance(again, Order)
    assert again.order_id == 7


def test_members_need_a_code() -> None:
    with pytest.raises(TypeError, match="Nameless has members and must have a code"):
        type("Nameless", (PortalError,), {"members": ("item",)})
    base: Any = type(PortalError)("Base", (PortalError,), {"members": ("item",)}, abstract=True)
    derived = type("Derived", (base,), {"code": "tests_derived"})
    assert derived.members == ("item",)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["code", "message", "title", "detail", "stack", "hint", "exception"])
def test_members_must_not_have_a_reserved_name(name: str) -> None:
    with pytest.raises(TypeError, match=f"Hiding.members must not have '{name}'"):
        type("Hiding", (PortalError,), {"members": (name,), "code": f"tests_hiding_{name}"})


def test_members_of_the_bases_are_inherited() -> None:
    class Broken(FunctionError):
        code = "tests_broken"
        members = ("part",)

        def __init__(self, message: str = "", *, part: str = "", **common: Any) -> None:
            super().__init__(message, **common)
            self.part = part

    assert Broken.members == ("type", "errors", "part")
    again = PortalError.from_dict(Broken("b", part="wheel", type="KeyError").to_dict())
    assert isinstance(again, Broken)
    assert (again.part, again.type, again.errors) == ("wheel", "KeyError", ())


def test_a_subclass_without_members_needs_no_code() -> None:
    class Quiet(ConfigError):
        """Without a code."""

    assert Quiet("m", path="a").path == "a"
