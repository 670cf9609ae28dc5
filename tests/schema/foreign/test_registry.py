"""The definitions of a foreign schema inside another one."""

from __future__ import annotations

from typing import Any

from portal.schema.foreign.registry import ForeignType, embedded, find

NODE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "leaf": {"$ref": "#/$defs/Leaf"}}},
        "Leaf": {"type": "string", "default": {"$ref": "#/$defs/Leaf"}},
    },
}


def test_definitions_move_and_keep_their_names() -> None:
    defs: dict[str, Any] = {}
    assert embedded(NODE, defs) == {"$ref": "#/$defs/Node"}
    assert defs == NODE["$defs"]
    assert embedded(NODE, defs) == {"$ref": "#/$defs/Node"}
    assert sorted(defs) == ["Leaf", "Node"]


def test_another_definition_of_that_name_gets_a_number() -> None:
    defs: dict[str, Any] = {"Node": {"type": "integer"}, "Node2": {"type": "null"}}
    assert embedded(NODE, defs) == {"$ref": "#/$defs/Node3"}
    assert defs["Node3"]["properties"]["next"] == {"$ref": "#/$defs/Node3"}
    assert defs["Leaf"]["default"] == {"$ref": "#/$defs/Leaf"}
    assert NODE["$ref"] == "#/$defs/Node"


def test_a_codec_takes_instances_only() -> None:
    assert find(complex) is None
    codec = ForeignType(complex, {"type": "string"}, complex, str).codec({})
    assert codec.encode is not None
    assert codec.encode(1j) == "1j"
    assert type(codec.encode("1j")).__name__ == "Unencodable"
