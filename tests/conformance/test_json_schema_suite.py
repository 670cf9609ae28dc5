"""The required cases of the JSON-Schema-Test-Suite, draft 2020-12 (see `make schema-suite`), and a few of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.errors import ConfigError
from portal.schema import Schema

SUITE = Path(__file__).parents[2] / ".cache" / "json-schema-suite"

TREE = {"$ref": "#/$defs/tree", "$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}, "type": "array"}}}

OURS: list[tuple[Any, Any, bool]] = [
    ({"type": "integer"}, 1.0, True),
    ({"type": "integer"}, 1.5, False),
    ({"type": "number"}, True, False),
    ({"enum": [1]}, True, False),
    ({"const": {"a": [1]}}, {"a": [1.0]}, True),
    ({"properties": {"a": False}}, {"a": 1}, False),
    ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": True}}]}, {"a": 1}, True),
    ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": True}}]}, {"b": 1}, False),
    ({"prefixItems": [{"type": "string"}], "items": False}, ["x", 1], False),
    (TREE, [[], [[]]], True),
    (TREE, [[1]], False),
    ({"minLength": 1}, "😀", True),
    ({"maxLength": 1}, "😀", True),
    ({"if": {"const": 1}, "then": False}, 1, False),
    ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, False),
    (False, None, False),
    (True, None, True),
]


@pytest.mark.parametrize(("schema", "value", "valid"), OURS)
def test_the_cases_of_this_project(schema: Any, value: Any, valid: bool) -> None:
    made = Schema.of(schema)
    assert made.accepts(value) is valid
    assert bool(made.faults(value)) is not valid


def cases() -> Iterator[Any]:
    for file in sorted(SUITE.glob("*.json")):
        for group in json.loads(file.read_text(encoding="utf-8")):
            for number, case in enumerate(group["tests"]):
                yield pytest.param(group["schema"], case, id=f"{file.stem}: {group['description']} {number}")


def refers_elsewhere(schema: Any) -> bool:
    """Whether the schema leads to another document, which Portal refuses by design."""
    text = json.dumps(schema)
    return "localhost:1234" in text or '"$schema": "http://' in text or "https://json-schema.org/draft/next" in text


@pytest.mark.skipif(not SUITE.is_dir(), reason="fetched by `make schema-suite`")
def test_the_required_cases_of_the_suite() -> None:
    wrong, rejected, held = [], [], 0
    for param in cases():
        schema, case = param.values
        try:
            made = Schema.of(schema)
        except ConfigError as error:
            rejected.append((param.id, str(error), refers_elsewhere(schema)))
            continue
        verdict = made.accepts(case["data"])
        if verdict is not case["valid"] or bool(made.faults(case["data"])) is verdict:
            wrong.append(param.id)
        held += 1
    assert wrong == []
    unexplained = [row for row in rejected if not row[2]]
    assert unexplained == []
    assert held > 1000
