"""References to classes that contain themselves."""

from __future__ import annotations

from typing import Any

from portal.schema.codecs import Codec
from portal.schema.hints.references import RecursiveCodec


def test_a_reference_converts_once_the_class_is_complete() -> None:
    defs: dict[str, Any] = {"Tree": {}}
    recursive = RecursiveCodec("Tree", defs)
    reference = recursive.reference()
    assert reference.json == {"$ref": "#/$defs/Tree2"}
    assert recursive.reference() is reference
    assert recursive.complete(Codec({"type": "integer"}, lambda value: value + 1, lambda value: value - 1)) is reference
    assert defs["Tree2"] == {"type": "integer"}
    assert reference.decode is not None
    assert reference.encode is not None
    assert (reference.decode(1), reference.encode(1)) == (2, 0)


def test_a_class_without_a_reference_to_itself_needs_no_definition() -> None:
    defs: dict[str, Any] = {}
    assert RecursiveCodec("Item", defs).complete(Codec({})) is None
    assert defs == {}
