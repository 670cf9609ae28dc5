"""Give the enumerations and unions of a schema names, as definitions under `$defs`.

Client generators make a class of each. Without a name of its own, its class gets one from a hash or a number.
"""

from __future__ import annotations

import re
from typing import Any

from ..subschemas import subschemas, walk

__all__ = ["ANNOTATIONS_OF_PLACE", "add_titles", "has_inner_references", "is_name", "name_choices", "pascal_case"]

#: Keywords that describe the place where a schema stands, and not the schema itself.
ANNOTATIONS_OF_PLACE = ("default", "description", "examples", "deprecated")
#: Keywords of a union that stand beside its members and do not change what it accepts.
_BESIDE_MEMBERS = frozenset((*ANNOTATIONS_OF_PLACE, "anyOf", "oneOf", "title"))
_NULL = {"type": "null"}
is_name = re.compile("[A-Za-z][A-Za-z0-9_]*").fullmatch


def pascal_case(text: str, otherwise: str = "Schema") -> str:
    """Return a name of ASCII letters and digits that begins with a letter: "get_user/input" gives "GetUserInput"."""
    name = "".join(part[:1].upper() + part[1:] for part in re.split("[^A-Za-z0-9]+", text))
    return name if name[:1].isalpha() else otherwise + name


def name_choices(root: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a schema whose enumerations and unions are definitions, with references in their places.

    An enumeration of a class has the name of the class. Another one, and a union, has the name of its place, such as
    "AddInputUnit" for the parameter `unit`. A union of one member and null stays where it is.

    Args:
        root: a schema as `portable` returns it, with `$defs` or without. It must have no references into its own parts
            except to whole definitions, since the parts move. It is not changed.
        name: the name of the schema.
    """
    definitions: dict[str, Any] = {}
    choices = _Choices(definitions, root.get("$defs", {}))
    for key, definition in root.get("$defs", {}).items():
        definitions[key] = choices.inside(definition, key)
    top = choices.replace({key: value for key, value in root.items() if key != "$defs"}, pascal_case(name))
    return {**top, "$defs": definitions} if definitions else top


class _Choices:
    """Moves enumerations and unions to definitions. Threads: one."""

    def __init__(self, definitions: dict[str, Any], given: dict[str, Any]) -> None:
        self._definitions = definitions
        self._given = given
        self._taken = set(given)

    def replace(self, schema: Any, place: str) -> Any:
        """Return a schema, or a reference to its definition if it is an enumeration or a union."""
        if not isinstance(schema, dict):
            return schema
        title = schema.get("title")
        place = title if isinstance(title, str) and is_name(title) else place
        found = self.inside(schema, place)
        if _is_enumeration(found):
            return self._move(found, place)
        members = found.get("anyOf") or found.get("oneOf")
        if (
            not isinstance(members, list)
            or not found.keys() <= _BESIDE_MEMBERS
            or ("anyOf" in found and "oneOf" in found)
        ):
            return found
        kind = "anyOf" if "anyOf" in found else "oneOf"
        others = [member for member in members if member != _NULL]
        if len(others) < 2:
            return found
        union = {key: value for key, value in found.items() if key != kind}
        one_of = self._with_own_items(others, place) if kind == "anyOf" and self._exclude_each_other(others) else None
        if one_of is None:
            union[kind] = others
        else:
            union["oneOf"] = one_of
        if len(others) == len(members):
            return self._move(union, place)
        beside = {key: union.pop(key) for key in ANNOTATIONS_OF_PLACE if key in union}
        return {kind: [self._move(union, place), dict(_NULL)], **beside}

    def _exclude_each_other(self, members: list[Any]) -> bool:
        """Return whether no value fits two members. Some generators read the members of `oneOf` only.

        They cannot tell a date from other text, nor handle objects and arrays of anything there, so a union with one of
        these does not count.
        """
        found = [self._resolved(member) for member in members]
        if not all(map(self._is_told_apart, found)):
            return False
        return all(_exclude(one, other) for number, one in enumerate(found) for other in found[:number])

    def _is_told_apart(self, schema: dict[str, Any]) -> bool:
        kind = schema.get("type")
        if kind == "object":
            return bool(schema.get("properties"))
        if kind == "array":
            return "type" in self._resolved(schema.get("items"))
        return isinstance(kind, str) and not str(schema.get("format")).startswith("date")

    def _resolved(self, schema: Any, depth: int = 8) -> dict[str, Any]:
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if isinstance(reference, str) and depth:
            name = reference.removeprefix("#/$defs/")
            return self._resolved(self._definitions.get(name, self._given.get(name)), depth - 1)
        return schema if isinstance(schema, dict) else {}

    def _with_own_items(self, members: list[Any], place: str) -> list[Any] | None:
        """Give the items of an array a definition of their own if they are a member too: generators would mix them up.

        Returns: the members, or None if generators would make two classes of a nameless object inside the items.
        """
        found = []
        for member in members:
            items = member.get("items") if isinstance(member, dict) else None
            if items in members and isinstance(items, dict) and "$ref" in items:
                _, *inner = walk(self._resolved(items))
                if any(part.get("type") == "object" for part in inner):
                    return None
                member = {**member, "items": self._move({"allOf": [items]}, f"{place}Item")}
            found.append(member)
        return found

    def inside(self, schema: Any, place: str) -> Any:
        """Return a schema in which the parts are replaced, and not the schema itself."""
        if not isinstance(schema, dict):
            return schema
        return {key: self._replace_value(key, value, place) for key, value in schema.items()}

    def _replace_value(self, key: str, value: Any, place: str) -> Any:
        if key == "properties" and isinstance(value, dict):
            return {name: self.replace(part, place + pascal_case(name, "Member")) for name, part in value.items()}
        if key == "items":
            return self.replace(value, f"{place}Item")
        if key == "additionalProperties":
            return self.replace(value, f"{place}Value")
        if key == "prefixItems" and isinstance(value, list):
            return [self.replace(part, f"{place}Item{number}") for number, part in enumerate(value, 1)]
        if key in ("anyOf", "oneOf") and isinstance(value, list):
            alone = sum(member != _NULL for member in value) < 2
            return [self.replace(part, place if alone else place + _kind_of(part)) for part in value]
        return value  # generators make no classes of the parts of other keywords

    def _move(self, schema: dict[str, Any], place: str) -> dict[str, Any]:
        """Make a definition, and return a reference to it with the annotations of its place."""
        title = schema.get("title")
        definition = {key: value for key, value in schema.items() if key not in ANNOTATIONS_OF_PLACE}
        base = key = title if isinstance(title, str) and is_name(title) else place
        number = 1
        while key in self._taken and self._definitions.get(key) != definition:
            number += 1
            key = f"{base}{number}"
        self._taken.add(key)
        self._definitions[key] = definition
        return {"$ref": f"#/$defs/{key}", **{one: schema[one] for one in ANNOTATIONS_OF_PLACE if one in schema}}


def _exclude(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether no value fits both schemas, as far as their types and members show."""
    kinds = {"number" if schema["type"] == "integer" else schema["type"] for schema in (one, other)}
    if len(kinds) == 2:
        return True
    return kinds == {"object"} and _requires_more(one, other) and _requires_more(other, one)


def _requires_more(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether an object requires a member that another one does not allow."""
    required = one.get("required")
    if other.get("additionalProperties") is not False or "patternProperties" in other or not isinstance(required, list):
        return False
    return not set(required) <= set(other.get("properties", {}))


def _kind_of(schema: Any) -> str:
    """Return the type of a member of a union, for its name."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind.capitalize() if isinstance(kind, str) else ""


def _is_enumeration(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("enum"), list) and isinstance(schema.get("type"), str)


def add_titles(schema: Any, title: str, taken: set[str]) -> None:
    """Give a schema and each part of it a title, in place, that no other schema of the document has.

    A part has the title of the whole and the name of its place. A reference gets no title.

    Args:
        title: of the schema.
        taken: the titles of the document; those of this schema are added.
    """
    if not isinstance(schema, dict):
        return
    if "$ref" not in schema:
        schema["title"] = _free_title(title, taken)
        title = schema["title"]
    for path, part in subschemas(schema):
        word = _WORDS.get(str(path[0]), "")
        member = str(path[-1]) if len(path) > 1 else ""
        if word == "Choice":
            word, member = _kind_of(part), ""
        add_titles(part, title + word + pascal_case(member, ""), taken)


#: The words for places in titles; the name of a member or the number of a branch follows.
_WORDS = {
    "items": "Item",
    "additionalProperties": "Value",
    "prefixItems": "Item",
    "anyOf": "Choice",
    "oneOf": "Choice",
    "allOf": "Part",
    "not": "Not",
}


def _free_title(title: str, taken: set[str]) -> str:
    found, number = title, 1
    while found in taken:
        number += 1
        found = f"{title}{number}"
    taken.add(found)
    return found


def has_inner_references(schema: Any) -> bool:
    """Return whether a schema refers to a part of itself that is not a whole definition."""
    return any(
        isinstance(part.get("$ref"), str) and re.fullmatch("#/\\$defs/[^/]*", part["$ref"]) is None
        for part in walk(schema)
        if str(part.get("$ref", "")).startswith("#")
    )
