"""The fingerprint of a function's schema."""

from __future__ import annotations

from portal.schema import FunctionSchema

ADD = FunctionSchema(
    "add",
    input={"type": "object", "properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]},
    output={"type": "integer"},
)


def test_a_title_does_not_change_the_fingerprint() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    plain = FunctionSchema("f", input=schema, output={"type": "string"})
    titled = FunctionSchema("f", input=schema | {"title": "Named"}, output={"type": "string", "title": "T"})
    assert titled.fingerprint == plain.fingerprint
    other = FunctionSchema("f", input=schema | {"properties": {}}, output={"type": "string"})
    assert other.fingerprint != plain.fingerprint


def test_names_of_enumeration_members_do_not_change_the_fingerprint() -> None:
    schema = {"type": "string", "enum": ["s", "m"]}
    plain = FunctionSchema("f", output=schema)
    assert (
        FunctionSchema("f", output=schema | {"x-enum-varnames": ["SMALL", "MEDIUM"]}).fingerprint == plain.fingerprint
    )


def test_the_fingerprint_depends_on_name_version_and_schemas() -> None:
    same = FunctionSchema("add", input=dict(reversed(ADD.input.items())), output=ADD.output, description="other")
    assert same.fingerprint == ADD.fingerprint
    assert len(ADD.fingerprint) == 8
    assert int(ADD.fingerprint, 16) >= 0
    others = [FunctionSchema("add2", input=ADD.input), FunctionSchema("add", "2", input=ADD.input, output=ADD.output)]
    assert ADD.fingerprint not in [other.fingerprint for other in others]
