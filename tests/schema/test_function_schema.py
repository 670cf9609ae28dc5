"""FunctionSchema: its checks and the form that is sent."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from portal.errors import ConfigError, RegistryError, SerializationError, ValidationError
from portal.schema import FunctionSchema, validation_stats

ADD = FunctionSchema(
    "add",
    input={"type": "object", "properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]},
    output={"type": "integer"},
    tags=("math",),
    examples=({"input": {"a": "2024-01-31"}, "output": 1},),
    timeout=2.0,
)


@pytest.mark.parametrize("version", ["1", "2.0.1", "1.0rc1"])
def test_a_valid_version_is_kept(version: str) -> None:
    assert FunctionSchema("a", version).version == version


@pytest.mark.parametrize("version", ["", "one", "1..2", 1])
def test_an_invalid_version_is_rejected(version: Any) -> None:
    with pytest.raises(RegistryError) as caught:
        FunctionSchema("a", version)
    assert caught.value.kind == "invalid"


def test_a_schema_survives_json_and_pickle() -> None:
    data = ADD.to_dict()
    assert data["fingerprint"] == ADD.fingerprint
    back = FunctionSchema.from_dict({**data, "unknown": 1})
    assert back == ADD
    assert hash(back) == hash(ADD)
    ADD.validate_output(1)
    assert pickle.loads(pickle.dumps(ADD)) == ADD


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"name": 1},
        {"name": "a", "input": []},
        {"name": "a", "tags": "x"},
        {"name": "a", "examples": [1]},
        {"name": "a", "idempotent": 1},
        {"name": "a", "timeout": True},
    ],
)
def test_a_member_of_the_wrong_type_is_rejected(data: Any) -> None:
    with pytest.raises(SerializationError):
        FunctionSchema.from_dict(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": "math"}, "function.tags must be a list of strings, got 'math'"),
        ({"tags": [1]}, r"function.tags must be a list of strings, got \[1\]"),
        ({"tags": 3}, "function.tags must be a list of strings, got 3"),
        ({"examples": [3]}, r"function.examples must be a list of dicts, got \[3\]"),
        ({"examples": {"input": {}}}, "function.examples must be a list of dicts, got "),
    ],
)
def test_tags_and_examples_must_be_lists(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FunctionSchema("add", **options)


def test_tags_and_examples_may_be_iterators() -> None:
    schema = FunctionSchema("add", tags=iter(["a"]), examples=iter([{"input": {}}]))  # type: ignore[arg-type]
    assert (schema.tags, schema.examples) == (("a",), ({"input": {}},))


def test_input_and_output_are_validated_with_formats() -> None:
    ADD.validate_input({"a": "2024-01-31"})
    with pytest.raises(ValidationError) as caught:
        ADD.validate_input({"a": "2024-02-30"})
    assert caught.value.errors[0].rule == "format"
    with pytest.raises(ValidationError):
        ADD.validate_output("1")


def test_a_schema_that_cannot_be_compiled_is_tried_once() -> None:
    doubling = {f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(20)}
    schema = FunctionSchema("f", input={"$defs": {**doubling, "d20": {}}, "$ref": "#/$defs/d0"})
    before, messages = validation_stats()["schemas_rejected"], set()
    for _ in range(3):
        with pytest.raises(ConfigError, match="may apply to one value") as caught:
            schema.validate_input({})
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert validation_stats()["schemas_rejected"] == before + 1
    assert pickle.loads(pickle.dumps(schema)) == schema
    schema.validate_output(1)
