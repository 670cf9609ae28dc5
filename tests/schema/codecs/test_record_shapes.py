"""Shapes of objects with named members, and which constructors run no code of a user."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from portal.schema.codecs import generate
from portal.schema.codecs.record_shapes import (
    FieldShape,
    MembersShape,
    RecordShape,
    has_plain_constructor,
    is_plain_name,
)
from portal.schema.codecs.shapes import FloatShape, ScalarShape, Shape
from portal.schema.codecs.writer import Writer


@dataclass
class Plain:
    name: str
    price: float = 1.5
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    name: str


class Pair(NamedTuple):
    name: str
    price: float = 0.5


class Base(metaclass=abc.ABCMeta):  # noqa: B024 - only its metaclass matters, which calls a class as `type` does
    pass


@dataclass
class Derived(Base):
    name: str


class PairWithMethod(Pair):
    def double(self) -> float:
        return 2 * self.price


@dataclass
class PostInit:
    name: str

    def __post_init__(self) -> None:
        """Run code of a user."""


@dataclass(init=False)
class Init:
    name: str

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass
class New:
    name: str

    def __new__(cls, *args: Any, **options: Any) -> New:
        return super().__new__(cls)


@dataclass
class SetAttr:
    name: str

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)


@dataclass
class Factory:
    name: str = field(default_factory=lambda: "made")


@dataclass
class Destructor:
    name: str

    def __del__(self) -> None:
        """Run code of a user."""


@dataclass
class Property:
    name: str

    @property  # type: ignore[no-redef]
    def name(self) -> str:
        return "x"

    @name.setter
    def name(self, value: object) -> None:
        """Run code of a user."""


class Meta(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        return super().__call__(*args, **options)


@dataclass
class WithMeta(metaclass=Meta):
    name: str


@pytest.mark.parametrize("kind", [Plain, Frozen, Pair, Derived])
def test_generated_constructors_are_plain(kind: type) -> None:
    assert has_plain_constructor(kind)


@pytest.mark.parametrize(
    "kind", [PairWithMethod, PostInit, Init, New, SetAttr, Factory, Destructor, Property, WithMeta]
)
def test_constructors_that_may_run_code_of_a_user(kind: type) -> None:
    assert not has_plain_constructor(kind)


@pytest.mark.parametrize(
    ("name", "plain"), [("name", True), ("_1", True), ("class", False), ("é", False), ("a b", False), ("1", False)]
)
def test_names_that_can_stand_in_code(name: str, plain: bool) -> None:
    assert is_plain_name(name) is plain


NAME, PRICE = FieldShape("name", ScalarShape("string"), True), FieldShape("price", FloatShape(), False, 1.5)
TAGS = FieldShape("tags", ScalarShape("string"), False)


def function(shape: Shape, direction: str) -> Any:
    out = Writer()
    expression = getattr(shape, direction)(out, "value")
    return generate(f"def codec(value):\n{out.text}\n return {expression}", out.scope)


@pytest.mark.parametrize(
    ("shape", "data", "native"),
    [
        (RecordShape(Plain, (NAME, PRICE), True), {"name": "a"}, Plain("a")),
        (RecordShape(Plain, (NAME, PRICE), False), {"price": 2, "name": "a"}, Plain("a", 2.0)),
        (RecordShape(Plain, (NAME, PRICE, TAGS), True), {"name": "a"}, Plain("a")),
        (RecordShape(Plain, (NAME, PRICE, TAGS), True), {"name": "a", "tags": "t"}, Plain("a", 1.5, "t")),  # type: ignore[arg-type]
        (RecordShape(Frozen, (NAME,), True), {"name": "a"}, Frozen(name="a")),
        (RecordShape(Pair, (NAME, PRICE), True), {"name": "a", "price": 2.0}, Pair("a", 2.0)),
        (MembersShape((NAME, PRICE)), {"price": 2, "name": "a"}, {"price": 2.0, "name": "a"}),
        (MembersShape((NAME, PRICE)), {"name": "a"}, {"name": "a"}),
    ],
)
def test_loading_members(shape: Shape, data: Any, native: Any) -> None:
    found = function(shape, "load")(data)
    assert found == native
    assert type(found) is type(native)
    assert found is not data


@pytest.mark.parametrize(
    "data", [{}, {"price": 1.0}, {"name": 1}, {"name": "a", "price": "1"}, {"name": "a", "more": 1}, [], "name"]
)
@pytest.mark.parametrize("shape", [RecordShape(Plain, (NAME, PRICE), True), MembersShape((NAME, PRICE))])
def test_other_members_do_not_fit(shape: Shape, data: Any) -> None:
    with pytest.raises((Exception,)):
        function(shape, "load")(data)


def test_dumping_members() -> None:
    dump = function(RecordShape(Plain, (NAME, PRICE), True), "dump")
    assert dump(Plain("a", 2)) == {"name": "a", "price": 2.0}

    class Child(Plain):
        pass

    for value in (Child("a"), Plain(1), {"name": "a"}):  # type: ignore[arg-type]
        with pytest.raises((Exception,)):
            dump(value)
    assert function(MembersShape((NAME, PRICE)), "dump")({"price": 1, "name": "a"}) == {"price": 1.0, "name": "a"}
