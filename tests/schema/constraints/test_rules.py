"""Constraints of other libraries: kept, or rejected with the reason."""

from __future__ import annotations

import re
from datetime import UTC, time
from typing import Annotated, Any

import annotated_types
import pydantic
import pytest
import typing_extensions

from portal.errors import ConfigError, ValidationError
from portal.schema import Schema
from portal.schema.constraints import Ge, Unique
from portal.schema.constraints.rules import Rule, rejected, rules_of

msgspec = pytest.importorskip("msgspec")


class OwnConstraint(annotated_types.BaseMetadata):
    pass


KEPT: list[tuple[Any, dict[str, Any]]] = [
    (Annotated[int, pydantic.Field(ge=1, lt=9)], {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}),
    (Annotated[float, pydantic.Field(multiple_of=0.5)], {"type": "number", "multipleOf": 0.5}),
    (
        Annotated[str, pydantic.Field(min_length=1, max_length=5, pattern="^a")],
        {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a"},
    ),
    (
        Annotated[int, pydantic.Field(title="Age", description="years", examples=[1, 2], deprecated=True)],
        {"type": "integer", "title": "Age", "description": "years", "examples": [1, 2], "deprecated": True},
    ),
    (
        Annotated[list[int], pydantic.Field(min_length=1)],
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    ),
    (Annotated[float, pydantic.Field(allow_inf_nan=False, strict=True)], {"type": "number"}),
    (pydantic.PositiveInt, {"type": "integer", "exclusiveMinimum": 0}),
    (pydantic.StrictInt, {"type": "integer"}),
    (pydantic.FiniteFloat, {"type": "number"}),
    (pydantic.conint(ge=1, multiple_of=2), {"type": "integer", "minimum": 1, "multipleOf": 2}),
    (pydantic.constr(min_length=2, pattern="^b"), {"type": "string", "minLength": 2, "pattern": "^b"}),
    (pydantic.conlist(int, max_length=2), {"type": "array", "items": {"type": "integer"}, "maxItems": 2}),
    (
        Annotated[str, pydantic.StringConstraints(max_length=3, pattern=re.compile("^[a-z]"))],
        {"type": "string", "maxLength": 3, "pattern": "^[a-z]"},
    ),
    (Annotated[int, annotated_types.Interval(gt=0, le=9)], {"type": "integer", "exclusiveMinimum": 0, "maximum": 9}),
    (Annotated[str, annotated_types.Len(1, 3)], {"type": "string", "minLength": 1, "maxLength": 3}),
    (Annotated[str, typing_extensions.Doc("a name")], {"type": "string", "description": "a name"}),
    (Annotated[float, annotated_types.Unit("m")], {"type": "number"}),
    (Annotated[int, msgspec.Meta(ge=0, le=10)], {"type": "integer", "minimum": 0, "maximum": 10}),
    (
        Annotated[str, msgspec.Meta(pattern="^a", min_length=1, title="T", description="d", examples=["a"])],
        {"type": "string", "pattern": "^a", "minLength": 1, "title": "T", "description": "d", "examples": ["a"]},
    ),
]


@pytest.mark.parametrize(("hint", "json"), KEPT)
def test_a_constraint_is_kept(hint: Any, json: dict[str, Any]) -> None:
    assert Schema.of(hint).json == json


def test_the_time_zone_of_msgspec_is_checked() -> None:
    schema = Schema.of(Annotated[time, msgspec.Meta(tz=True)])
    assert schema.json == {"type": "string", "format": "time", "x-timezone": True}
    assert schema.load("09:00:00Z") == time(9, tzinfo=UTC)
    with pytest.raises(ValidationError, match="must have an offset"):
        schema.load("09:00:00")


REJECTED: list[tuple[Any, str]] = [
    (Annotated[int, pydantic.Field(alias="n")], "alias='n'"),
    (Annotated[int, pydantic.Field(3)], "write the default after ="),
    (Annotated[int, pydantic.Field(default_factory=int)], "default_factory"),
    (Annotated[int, pydantic.Field(strict=False)], "strict=False"),
    (Annotated[int, pydantic.Field(exclude=True)], "exclude=True"),
    (Annotated[int, pydantic.Field(json_schema_extra={"minimum": 3})], "json_schema_extra"),
    (Annotated[float, pydantic.Field(allow_inf_nan=True)], "allow_inf_nan=True"),
    (Annotated[str, pydantic.StringConstraints(strip_whitespace=True)], "strip_whitespace=True"),
    (pydantic.constr(to_lower=True), "to_lower=True"),
    (Annotated[str, pydantic.StringConstraints(pattern=re.compile("a", re.IGNORECASE))], "without flags"),
    (Annotated[int, pydantic.AfterValidator(abs)], "does not know how to apply it"),
    (Annotated[int, pydantic.BeforeValidator(int)], "does not know how to apply it"),
    (Annotated[int, pydantic.PlainSerializer(str)], "does not know how to apply it"),
    (pydantic.FilePath, "does not know how to apply it"),
    (Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1})], "extra_json_schema"),
    (Annotated[str, msgspec.Meta(tz=True)], "datetime and time only"),
    (Annotated[int, OwnConstraint()], "does not know how to apply it"),
    (Annotated[int, Ge], r"write Ge\(...\)"),
    (Annotated[list[int], Unique], r"write Unique\(...\)"),
    (Annotated[int, annotated_types.Gt], r"write Gt\(...\)"),
    (Annotated[int, annotated_types.Len(1)], "does not apply"),
]


@pytest.mark.parametrize(("hint", "reason"), REJECTED)
def test_a_constraint_that_cannot_be_kept_is_rejected(hint: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        Schema.of(hint)
    assert "cannot constrain" in caught.value.message


class Note:
    """Annotates for another library."""


@pytest.mark.parametrize("annotation", ["note", 3, None, Note(), Note, int, {"a": 1}])
def test_annotations_of_other_libraries_are_ignored(annotation: Any) -> None:
    assert list(rules_of(annotation, "int")) == []


def test_a_rule_names_its_source() -> None:
    source = Ge(1)
    assert list(rules_of(source, "int")) == [Rule("ge", 1, source)]
    assert "Ge(ge=1) cannot constrain bool: no" in rejected(source, "bool", "no").message
