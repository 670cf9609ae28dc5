"""Metadata: what `inspect`, `typing`, `help` and pickle say of a Function, here and at an address."""

from __future__ import annotations

import copy
import functools
import inspect
import multiprocessing
import pickle
import pydoc
import re
import typing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import pytest

from portal import (
    CallContext,
    Consumer,
    Function,
    FunctionSchema,
    HTTPPortal,
    LocalPortal,
    PortalError,
    function,
    service,
)
from portal.function.metadata import OfInstance


@dataclass
class Point:
    """A point."""

    x: float
    y: float = 0.0


@function(idempotent=True)
def distance(a: Point, b: Point, scale: float = 1.0) -> float:
    """Return the distance between two points."""
    return scale * ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


doubled = function(name="twice", timeout=3.0)(double)


class Options(typing.TypedDict, total=False):
    """Options of a search."""

    limit: int


@service(name="shapes")
class Shapes:
    """Geometry."""

    @function
    def corners(self, number: int) -> Iterator[int]:
        """Count the corners."""
        yield from range(number)

    @function
    def area(self, width: float, context: CallContext | None = None) -> float:
        """Return the area of a square."""
        return width * width


def test_a_function_has_the_signature_and_the_hints_of_its_callable() -> None:
    assert str(inspect.signature(distance)) == "(a: 'Point', b: 'Point', scale: 'float' = 1.0) -> 'float'"
    hints = {"a": Point, "b": Point, "scale": float, "return": float}
    assert typing.get_type_hints(distance) == hints
    assert (distance.__module__, distance.__qualname__) == (__name__, "distance")
    assert Shapes.corners.__qualname__ == "Shapes.corners"
    assert list(inspect.signature(Shapes().corners).parameters) == ["number"]
    assert typing.get_type_hints(Shapes().corners) == {"number": int, "return": Iterator[int]}


def test_the_docstring_stays_whole_and_the_description_has_no_parameters() -> None:
    @function
    def add(a: int) -> int:
        """Add.

        Args:
            a: a number.
        """
        return a

    assert add.__doc__ == "Add.\n\nArgs:\n    a: a number."
    assert add.schema.description == "Add."
    assert function(description="Sum.")(add.target).__doc__ == "Sum."


def test_a_method_has_the_docstring_and_the_options_of_its_function() -> None:
    class Sums:
        @function(timeout=2.0)
        def add(self, a: int) -> int:
            """Add.

            Args:
                a: a number.
            """
            return a

    bound = Sums().add
    assert (bound.__doc__, bound.schema.description) == ("Add.\n\nArgs:\n    a: a number.", "Add.")
    assert (bound.schema.timeout, bound(3)) == (2.0, 3)


def test_a_method_keeps_each_option_of_its_function() -> None:
    class Missing(PortalError):
        """It is missing."""

        code = "test_missing_option"

    options: dict[str, Any] = {
        "name": "sum",
        "version": "2",
        "description": "Sum.",
        "tags": ("numbers",),
        "examples": ({"input": {"a": 1}, "output": 1},),
        "idempotent": True,
        "cacheable": True,
        "deprecated": True,
        "timeout": 2.0,
        "max_body": 4 * 1024 * 1024,
        "raises": [Missing],
    }

    class Sums:
        @function(**options)
        def add(self, a: int) -> int:
            return a

    schema = Sums().add.schema
    plain = FunctionSchema("sum")
    assert [name for name in options if getattr(schema, name) == getattr(plain, name)] == ["name"]
    assert options.keys() == {item.name for item in fields(schema)} - {"input", "output", "streaming"}


def test_a_callable_without_hints_and_name_has_a_function() -> None:
    made = function(name="third", input={"type": "object", "properties": {}}, output=int)(functools.partial(double, 3))
    assert typing.get_type_hints(made) == {}
    assert made.__qualname__ == "third"


@pytest.mark.parametrize("address", ["local", "http"])
def test_a_function_at_an_address_has_a_signature_and_hints(address: str) -> None:
    portal: Any = LocalPortal() if address == "local" else HTTPPortal()

    def book(day: date, guests: int = 2, *, note: str) -> list[int]:
        """Book a table."""
        return [day.day, guests, len(note)]

    with portal, Consumer([portal] if address == "local" else []) as consumer:
        found = portal.resolve_function(portal.apply(book))
        assert typing.get_type_hints(found) == {"day": date, "guests": int, "note": str, "return": list[int]}
        signature = inspect.signature(found)
        assert [(one.name, one.kind.name) for one in signature.parameters.values()] == [
            ("day", "POSITIONAL_OR_KEYWORD"),
            ("guests", "POSITIONAL_OR_KEYWORD"),
            ("note", "KEYWORD_ONLY"),
        ]
        assert signature.parameters["guests"].default == 2
        assert signature.return_annotation == list[int]
        assert (found.__name__, found.__qualname__) == ("book", "book")
        stream = consumer.resolve(portal.apply_service(Shapes).child("corners"))
        assert inspect.signature(stream).return_annotation == Iterator[int]


def test_a_parameter_that_may_be_left_out_has_a_default_in_the_signature() -> None:
    def search(text: str, **options: typing.Unpack[Options]) -> list[str]:
        return [text] * options.get("limit", 1)

    with LocalPortal() as local:
        found = local.resolve_function(local.apply(search))
        assert inspect.signature(found).parameters["limit"].default is ...
        assert typing.get_type_hints(found)["limit"] is int


def test_the_classes_themselves_have_no_signature_of_an_instance() -> None:
    with pytest.raises(AttributeError):
        _ = OfInstance(lambda found: found).__get__(None, Function)
    assert "target" in inspect.signature(Function).parameters


@pytest.mark.parametrize("address", [None, "local", "http"])
def test_help_shows_the_signature_and_the_docstring(address: str | None) -> None:
    if address is None:
        text = pydoc.plain(pydoc.render_doc(distance))
    else:
        portal: Any = LocalPortal() if address == "local" else HTTPPortal()
        with portal:
            text = pydoc.plain(pydoc.render_doc(portal.resolve_function(portal.apply(distance))))
    text = re.sub(r"\s+", " ", text).replace("( ", "(")  # newer Pythons break long signatures into lines
    assert "distance(a: " in text
    assert "scale: " in text
    assert "Return the distance between two points." in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_is_pickled_by_its_name(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(distance, protocol)) is distance
    assert pickle.loads(pickle.dumps(Shapes.corners, protocol)) is Shapes.corners
    assert copy.deepcopy(distance) is distance


def test_a_function_without_a_name_of_its_own_is_made_again() -> None:
    found = pickle.loads(pickle.dumps(doubled))
    assert (found.name, found.schema.timeout, found(4)) == ("twice", 3.0, 8)
    assert found.schema == doubled.schema


def test_a_method_is_pickled_with_its_instance() -> None:
    found = pickle.loads(pickle.dumps(Shapes().corners))
    assert list(found(3)) == [0, 1, 2]


def test_a_function_that_no_other_process_can_make_is_not_pickled() -> None:
    made = Function(
        double, schema=doubled.schema, parameters=doubled.parameters, output=doubled.output, validate_output="off"
    )
    with pytest.raises(pickle.PicklingError, match=r"<Function twice@1> cannot be pickled; make it with @function"):
        pickle.dumps(made)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_pool_takes_functions(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        futures = [pool.submit(distance, Point(0), Point(3, 4)), pool.submit(doubled, 4)]
        assert [future.result(120) for future in futures] == [5.0, 8]
