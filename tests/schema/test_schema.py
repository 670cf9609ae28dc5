"""Schema: its sources, load and dump, equality, and conversions."""

from __future__ import annotations

from typing import Any

import pytest

from portal.errors import ConfigError, ValidationError
from portal.schema import Schema


def test_of_returns_a_schema_unchanged() -> None:
    schema = Schema.of(int)
    assert Schema.of(schema) is schema


@pytest.mark.parametrize(
    ("source", "value", "fits"),
    [(True, [1], True), (False, 1, False), ({}, {"a": 1}, True), ({"type": "null"}, None, True)],
)
def test_a_json_schema_accepts_and_round_trips(source: Any, value: Any, fits: bool) -> None:
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


def test_formats_of_json_schemas_are_annotations_by_default() -> None:
    source = {"type": "string", "format": "date"}
    assert Schema.of(source).accepts("x")
    assert not Schema.of(source, formats=True).accepts("x")


def test_load_and_dump_of_json_schemas_copy_containers() -> None:
    data = {"a": [1]}
    schema = Schema.of({"type": "object"})
    loaded = schema.load(data)
    assert loaded == data
    assert loaded["a"] is not data["a"]
    assert schema.dump({"a": (1,)}) == {"a": [1]}


def test_load_and_dump_list_every_fault() -> None:
    schema = Schema.of(dict[str, int])
    with pytest.raises(ValidationError) as caught:
        schema.load({"a": "x", "b": None, "c": 1})
    assert [fault.path for fault in caught.value.errors] == ["/a", "/b"]
    with pytest.raises(ValidationError) as caught:
        schema.dump({"a": "x"})
    assert [fault.path for fault in caught.value.errors] == ["/a"]


def test_an_exception_of_an_encoder_is_a_fault() -> None:
    class Unreadable(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("closed")

    with pytest.raises(ValidationError, match="closed"):
        Schema.of(dict[str, float]).dump(Unreadable(a=1))


def test_dump_rejects_a_cycle() -> None:
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


def test_to_hint_returns_the_original_hint() -> None:
    assert Schema.of(list[int]).to_hint() == list[int]


def test_an_unsupported_source_is_named() -> None:
    with pytest.raises(ConfigError, match="7"):
        Schema.of(7)
    with pytest.raises(ConfigError, match=r"the type hint \[1\] has no JSON Schema"):
        Schema.of([1])
