"""FlatObject: the fast way of small objects without containers between Python and JavaScript.

Most calls have a few scalar parameters, and most results are such an object. Code generated for the schema then tests
each member once. That replaces the validation by schema, the search for integers that a double cannot hold, and the
search for what is not JSON data. Everything else takes the general way of `json_text`. So does everything that is
wrong, as that way says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .._internal.json_encoder import short_json_pieces

__all__ = ["FlatObject"]

_MAX_MEMBERS = 16
_SHORT = 1000  # characters of a string
#: Tests of `item` by class. A double holds each of these integers, and JSON has neither NaN nor infinity.
_TESTS: dict[type, str] = {
    str: f"item.__class__ is str and len(item) <= {_SHORT}",
    float: "item.__class__ is float and item - item == 0.0",
    int: f"item.__class__ is int and -{2**53} <= item <= {2**53}",
    bool: "item is True or item is False",
    type(None): "item is None",
}
#: Classes by type of JSON Schema. A float without a fraction is an integer, too; it takes the general way.
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (float, int),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (),
    "array": (),
}
#: Keywords that do not say which values fit.
_NOTES = frozenset(("$comment", "$schema", "default", "deprecated", "description", "examples", "title"))
_OBJECT = frozenset(("additionalProperties", "properties", "required", "type"))

_ENCODE = """
def encode(found):
    try:
        {tests}
        for name in found:
            if name.__class__ is not str:
                return None
        text = join(pieces(found, 0))
    except (KeyError, ValueError):
        return None
    return text if text.isascii() else None  # there may be lone surrogates
"""
_DECODE = """
def decode(text):
    if not text.startswith("{{") or not text.isascii() or "[" in text or "\\\\u" in text or "e0" in text:
        return None  # a BigInt ends in "e0"
    try:
        found, end = scan(text, 0)
        if end != len(text):
            return None
        {tests}
    except (KeyError, StopIteration, ValueError):
        return None
    return found
"""


class FlatObject:
    """Converts the flat objects that fit a schema.

    Args:
        schema: a JSON Schema.
        fits: JSON data -> whether it fits the schema; called only if the classes of the members do not decide it.

    Attributes:
        encode: parameters -> JSON text; None if only the general conversion can tell whether they are valid.
        decode: JSON text of a result -> the object; None if only the general conversion can tell whether it is valid.

    Threads: immutable; any thread may use it.
    """

    __slots__ = ("decode", "encode")

    def __init__(self, schema: Mapping[str, Any], fits: Callable[[Any], bool]) -> None:
        lines = _tests(schema)
        if lines is None:
            lines = [f"if len(found) > {_MAX_MEMBERS}: return None", *_loop(_TESTS), "if not fits(found): return None"]
        names = {
            "fits": fits,
            "missing": object(),
            "scan": json.JSONDecoder().scan_once,  # type: ignore[attr-defined]
            "join": "".join,
            "pieces": short_json_pieces,
        }
        tests = "\n        ".join(lines)
        exec(_ENCODE.format(tests=tests) + _DECODE.format(tests=tests), names)
        self.encode: Callable[[dict[Any, Any]], str | None] = names["encode"]
        self.decode: Callable[[str], dict[str, Any] | None] = names["decode"]


def _tests(schema: Mapping[str, Any]) -> list[str] | None:
    """Return the lines that test each member of `found`; None if classes do not decide whether an object fits."""
    if not schema.keys() - _NOTES <= _OBJECT or schema.get("type", "object") != "object":
        return None
    members = {name: _classes_of(one) for name, one in schema.get("properties", {}).items()}
    others = _classes_of(schema.get("additionalProperties", True))
    required = schema.get("required", ())
    if others is None or len(members) > _MAX_MEMBERS or not members.keys() >= set(required):
        return None
    lines = [f"known = {len(set(required))}"]
    for name, classes in members.items():
        if classes is None:
            return None
        if name in required:
            lines += [f"item = found[{name!r}]", f"if not ({_test(classes)}): return None"]
        else:
            lines += [f"item = found.get({name!r}, missing)", "if item is not missing:"]
            lines += ["    known += 1", f"    if not ({_test(classes)}): return None"]
    if not others:
        return [*lines, "if len(found) != known: return None"]
    # the loop tests the known members as well; it gives up if one of them has a class that others must not have
    rest = [f"    {line}" for line in _loop(others)]
    return [*lines, "if len(found) != known:", f"    if len(found) > {_MAX_MEMBERS}: return None", *rest]


def _loop(classes: Collection[type]) -> list[str]:
    return ["for item in found.values():", f"    if not ({_test(classes)}): return None"]


def _test(classes: Collection[type]) -> str:
    return " or ".join(f"({_TESTS[one]})" for one in _TESTS if one in classes) or "False"


def _classes_of(schema: Any) -> frozenset[type] | None:
    """Return the classes of the scalars that fit a schema; None if their values matter."""
    if isinstance(schema, bool):
        return frozenset(_TESTS if schema else ())
    if schema.keys() - _NOTES - {"type"}:
        return None
    kinds = schema.get("type", tuple(_CLASSES))
    return frozenset(one for kind in ([kinds] if isinstance(kinds, str) else kinds) for one in _CLASSES[kind])
