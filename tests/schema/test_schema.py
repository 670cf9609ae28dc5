"""Schema as a whole: where it comes from, equality, conversions to itself."""

from __future__ import annotations

from typing import Any

import pytest

from portal.errors import ConfigError, ValidationError
from portal.schema import Schema


def test_of_a_schema_is_itself() -> None:
    schema = Schema.of(int)
    assert Schema.of(schema) is schema


@pytest.mark.parametrize(
    ("source", "value", "fits"),
    [(True, [1], True), (False, 1, False), ({}, {"a": 1}, True), ({"type": "null"}, None, True)],
)
def test_json_schemas(source: Any, value: Any, fits: bool) -> None:
    schema = Schema.of(source)
    assert schema.kind == "json"
    assert schema.accepts(value) is fits
    if fits:
        assert schema.dump(schema.load(value)) == value


def test_a_json_schema_is_copied_from_its_source() -> None:
    source = {"type": "integer"}
    schema = Schema.of(source)
    source["type"] = "string"
    assert schema.accepts(1)
    assert schema.to_json() == {"type": "integer"}
    assert schema.to_json() is not schema.json


def test_formats_are_annotations_in_json_schemas_unless_asked_for() -> None:
    source = {"type": "string", "format": "date"}
    assert Schema.of(source).accepts("x")
    assert not Schema.of(source, formats=True).accepts("x")


def test_values_of_json_schemas_share_no_container() -> None:
    data = {"a": [1]}
    schema = Schema.of({"type": "object"})
    loaded = schema.load(data)
    assert loaded == data
    assert loaded["a"] is not data["a"]
    assert schema.dump({"a": (1,)}) == {"a": [1]}


def test_load_and_dump_name_every_fault() -> None:
    schema = Schema.of(dict[str, int])
    with pytest.raises(ValidationError) as caught:
        schema.load({"a": "x", "b": None, "c": 1})
    assert [fault.path for fault in caught.value.errors] == ["/a", "/b"]
    with pytest.raises(ValidationError) as caught:
        schema.dump({"a": "x"})
    assert [fault.path for fault in caught.value.errors] == ["/a"]


def test_a_value_that_cannot_be_read_is_a_fault() -> None:
    class Hostile(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("closed")

    with pytest.raises(ValidationError, match="closed"):
        Schema.of(dict[str, float]).dump(Hostile(a=1))


def test_a_cycle_is_refused_on_the_way_out() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValidationError) as caught:
        Schema.of(list[Any]).dump(value)
    assert caught.value.errors[0].rule == "depth"


def test_equality_is_by_kind_and_json() -> None:
    assert Schema.of(int) == Schema.of(int)
    assert hash(Schema.of(int)) == hash(Schema.of(int))
    assert Schema.of(int) != Schema.of({"type": "integer"})
    assert Schema.of(int) != Schema.of(str)
    assert Schema.of(int) != "integer"
    assert "integer" in repr(Schema.of(int))


def test_a_hint_is_its_own_hint() -> None:
    assert Schema.of(list[int]).to_hint() == list[int]


def test_a_bad_source_is_named() -> None:
    with pytest.raises(ConfigError, match="7"):
        Schema.of(7)
