"""Types of a generated module: an annotation for each JSON Schema, and the classes that annotations name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...schema.codecs.mappings import INTEGER_NAME
from ...schema.jsondata import MEMBER_NAMES, copy_json
from ...schema.subschemas import resolve, walk
from .names import Names, class_name, docstring, is_field_name, is_member_name, literal

__all__ = ["Annotation", "Types", "required_members"]

#: Format -> annotation and the import that it needs.
_FORMATS = {
    "date-time": ("dt.datetime", "import datetime as dt"),
    "date": ("dt.date", "import datetime as dt"),
    "time": ("dt.time", "import datetime as dt"),
    "duration": ("dt.timedelta", "import datetime as dt"),
    "uuid": ("UUID", "from uuid import UUID"),
    "decimal": ("Decimal", "from decimal import Decimal"),
    "fraction": ("Fraction", "from fractions import Fraction"),
    "path": ("Path", "from pathlib import Path"),
    **{
        name: (cls, f"from ipaddress import {cls}")
        for cls in ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
        for name in (cls.lower().removesuffix("address"),)
    },
}
#: The type of a schema and the word of `x-file` -> annotation.
_FILES = {("object", "file"): "File", ("string", "bytes"): "Bytes"}
_SCALARS = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "null": "None"}
_JSON = "JSONValue"
_MAX_ANNOTATIONS = 20_000  # in one module; what is beyond them is JSONValue
_MAX_REFERENCES = 64  # that lead into each other
_OF_PLACE = ("default", "description", "examples", "deprecated", "title", "readOnly")


@dataclass(frozen=True)
class Annotation:
    """A type in the generated module.

    Attributes:
        text: the annotation.
        nullable: whether None is one of its values.
        enum: the members of an enumeration by value, if it is a class of one.
    """

    text: str
    nullable: bool = False
    enum: Mapping[Any, str] = field(default_factory=dict)

    def or_none(self) -> str:
        """Return the annotation of this type or None."""
        return self.text if self.nullable else f"{self.text} | None"


class Types:
    """The types of one module.

    Attributes:
        imports: the import statements that the annotations need.
        enums: the text of the enumerations by name, in order.
        classes: the text of the other classes by name, in order.

    Threads: one.
    """

    def __init__(self, names: Names) -> None:
        self.imports: set[str] = set()
        self.enums: dict[str, list[str]] = {}
        self.classes: dict[str, list[str]] = {}
        self._names = names
        self._known: dict[str, Annotation] = {}
        self._left = _MAX_ANNOTATIONS
        self._open: list[tuple[int, str]] = []  # references that are being followed: id of the root, and the reference

    def annotation(self, schema: Any, root: Any, place: str) -> Annotation:
        """Return the annotation of a schema.

        Args:
            schema: the schema.
            root: the schema that its references lead into.
            place: a name for a class without a title.
        """
        self._left -= 1
        if not isinstance(schema, dict) or self._left < 0:
            return self._json()
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), root)
        if "const" in schema or "enum" in schema:
            return self._choice(schema)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(schema.get(keyword), list):
                return self._union([self.annotation(part, root, place) for part in schema[keyword]])
        parts = schema.get("allOf")
        if isinstance(parts, list):
            return self.annotation(parts[0], root, place) if len(parts) == 1 else self._json()
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = dict.fromkeys(one for one in kind if isinstance(one, str))
            return self._union([self.annotation({**schema, "type": one}, root, place) for one in kinds])
        return self._of_type(kind, schema, root, place)

    def _reference(self, reference: str, root: Any) -> Annotation:
        """Return the annotation of a reference. A type inside itself that is not a class becomes JSONValue."""
        found, step = resolve(root, reference), (id(root), reference)
        # Once more inside of itself: a class is known by then, and ends it.
        if not isinstance(found, dict) or self._open.count(step) > 1 or len(self._open) >= _MAX_REFERENCES:
            return self._json()
        self._open.append(step)
        try:
            return self.annotation(found, root, reference.rpartition("/")[2])
        finally:
            self._open.pop()

    def _of_type(self, kind: Any, schema: dict[str, Any], root: Any, place: str) -> Annotation:
        file = _FILES.get((kind, str(schema.get("x-file")))) if isinstance(kind, str) else None
        if file is not None:
            self.imports.add(f"from portal.schema import {file}")
            return Annotation(file)
        if kind == "string":
            if schema.get("contentEncoding") == "base64":
                return Annotation("bytes")
            text, needed = _FORMATS.get(str(schema.get("format")), ("str", ""))
            self.imports |= {needed} if needed else set()
            return Annotation(text)
        if kind == "array":
            return self._array(schema, root, place)
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, root, place)
        if kind == "null":
            return Annotation("None", nullable=True)
        return Annotation(_SCALARS[kind]) if isinstance(kind, str) and kind in _SCALARS else self._json()

    def _json(self) -> Annotation:
        self.imports.add("from portal import JSONValue")
        return Annotation(_JSON, nullable=True)

    def _union(self, parts: list[Annotation]) -> Annotation:
        texts = list(dict.fromkeys(part.text for part in parts if part.text != "None"))
        nullable = any(part.nullable for part in parts)
        if _JSON in texts or not parts:
            return self._json()
        if nullable and not any(text.endswith(" | None") for text in texts):
            texts.append("None")
        enum = next((part.enum for part in parts if part.enum), {})
        return Annotation(" | ".join(texts), nullable, enum)

    def _choice(self, schema: dict[str, Any]) -> Annotation:
        values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema.get("const")]
        if not values or not all(value is None or type(value) in (bool, int, str) for value in values):
            return self._json()
        title = schema.get("title")
        if isinstance(title, str) and all(type(value) in (int, str) for value in values):
            return self._enum(title, values, _given_names(schema, values))
        self.imports.add("from typing import Literal")
        return Annotation(f"Literal[{', '.join(map(literal, values))}]", nullable=None in values)

    def _enum(self, title: str, values: list[Any], names: list[str] | None) -> Annotation:
        key = json.dumps(["enum", title, values, names])
        if key not in self._known:
            self.imports.add("from enum import Enum")
            name = self._names.free(class_name(title))
            members = dict(zip(values, names or _names_of(values), strict=True))
            rows = [f"    {member} = {literal(value)}" for value, member in members.items()]
            self.enums[name] = [f"class {name}(Enum):", *rows]
            self._known[key] = Annotation(name, enum=members)
        return self._known[key]

    def _array(self, schema: dict[str, Any], root: Any, place: str) -> Annotation:
        parts = schema.get("prefixItems")
        if not isinstance(parts, list):
            return Annotation(f"list[{self.annotation(schema.get('items', {}), root, f'{place}Item').text}]")
        if schema.get("items") is not False or schema.get("minItems") != len(parts):
            self._json()
            return Annotation(f"list[{_JSON}]")
        texts = [self.annotation(part, root, f"{place}Item{number}").text for number, part in enumerate(parts, 1)]
        return Annotation(f"tuple[{', '.join(texts) or '()'}]")

    def _object(self, schema: dict[str, Any], root: Any, place: str) -> Annotation:
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(properties, dict) and properties and not more and "patternProperties" not in schema:
            return self._record(schema, root, place)
        if isinstance(properties, dict) and not properties and more is False:
            return self._record(schema, root, place)
        value = self.annotation(more, root, f"{place}Value") if isinstance(more, dict) and not properties else None
        names = schema.get("propertyNames")
        key = "str"
        if isinstance(names, dict):
            key = "int" if names.get("pattern") == INTEGER_NAME else self.annotation(names, root, place).text
        return Annotation(f"dict[{key}, {(value or self._json()).text}]")

    def _record(self, schema: dict[str, Any], root: Any, place: str) -> Annotation:
        key = _identity(schema, root)
        if key in self._known:
            return self._known[key]
        title = schema.get("title")
        name = self._names.free(class_name(title if isinstance(title, str) else place))
        self._known[key] = Annotation(name)  # before its members, which may refer to it
        properties = schema["properties"]
        found = {one: self.annotation(part, root, f"{name}_{one}") for one, part in properties.items()}
        required = required_members(schema)
        write = self._dataclass if all(map(is_field_name, properties)) else self._typed_dict
        self.classes[name] = write(name, schema, found, required)
        return self._known[key]

    def _dataclass(
        self, name: str, schema: dict[str, Any], found: dict[str, Annotation], required: frozenset[str]
    ) -> list[str]:
        self.imports.add("from dataclasses import dataclass")
        rows, optional_before, keyword_only = [], False, False
        for one, annotation in found.items():
            part = schema["properties"][one]
            if one in required:
                keyword_only = keyword_only or optional_before
                rows.append(f"    {one}: {annotation.text}")
                continue
            optional_before = True
            default = self.default(part, annotation)
            if default is not None:
                rows.append(f"    {one}: {annotation.text} = {default}")
            else:
                self.imports |= {"from dataclasses import field", "from portal.consumer import OMIT"}
                rows.append(f"    {one}: {annotation.or_none()} = field(default=None, metadata=OMIT)")
        head = "@dataclass(kw_only=True)" if keyword_only else "@dataclass"
        words = docstring(str(schema.get("description", "")), "    ")
        body = [*words, *([""] if words and rows else []), *rows]
        return [head, f"class {name}:", *(body or ["    pass"])]

    def _typed_dict(
        self, name: str, schema: dict[str, Any], found: dict[str, Annotation], required: frozenset[str]
    ) -> list[str]:
        self.imports.add("from typing import TypedDict")
        rows = []
        for one, annotation in found.items():
            text = annotation.text
            if one not in required:
                self.imports.add("from typing import NotRequired")
                text = f"NotRequired[{text}]"
            quoted = f'"{text}"' if _names_class(text) else text
            rows.append(f"        {literal(one)}: {quoted},")
        return [f"{name} = TypedDict(", f'    "{name}",', "    {", *rows, "    },", ")"]

    def default(self, part: Any, annotation: Annotation) -> str | None:
        """Return the default of a member as Python source; None if it has none that is a constant of its type."""
        if not isinstance(part, dict) or "default" not in part:
            return None
        value = part["default"]
        if value is None:
            return "None" if annotation.nullable else None
        if annotation.enum:
            member = annotation.enum.get(value) if isinstance(value, str | int) else None
            return None if member is None else f"{annotation.text.partition(' |')[0]}.{member}"
        kinds = annotation.text.removesuffix(" | None").split(" | ")
        if type(value) is str and ("str" in kinds or annotation.text.startswith("Literal[")):
            return literal(value)
        if type(value) is bool and "bool" in kinds:
            return repr(value)
        if type(value) in (int, float) and ({"int", "float"} & set(kinds)) and "inf" not in repr(value):
            return repr(value)
        if type(value) is str and kinds == ["Decimal"] and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            return f"Decimal({literal(value)})"
        return None


def _given_names(schema: Mapping[str, Any], values: list[Any]) -> list[str] | None:
    """Return the names of the members of an enumeration; None if the schema does not name them all."""
    names = schema.get(MEMBER_NAMES)
    if not isinstance(names, list) or len(names) != len(values):
        return None
    fits = all(isinstance(name, str) and is_member_name(name) for name in names) and len(set(names)) == len(names)
    return names if fits else None


def _names_of(values: list[Any]) -> list[str]:
    """Return names for the members of an enumeration, made from their values."""
    members: list[str] = []
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # the last one of each name, so that many equal names take linear time
    for value in values:
        base = member = re.sub("[^A-Z0-9]+", "_", str(value).upper()).strip("_") or "EMPTY"
        base = member = f"N{member}" if member[0].isdigit() else member
        while member in taken:
            numbers[base] = numbers.get(base, 1) + 1
            member = f"{base}_{numbers[base]}"
        taken.add(member)
        members.append(member)
    return members


def required_members(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the members that an object must have."""
    given = schema.get("required")
    return frozenset(one for one in given if isinstance(one, str)) if isinstance(given, list) else frozenset()


def _names_class(text: str) -> bool:
    """Return whether the text of an annotation may name a class that is defined further down."""
    return bool(re.search("[A-Z]", text.replace("JSONValue", "").replace("NotRequired", "")))


def _identity(schema: dict[str, Any], root: Any) -> str:
    """Return a key that two objects share if one class can stand for both."""
    own = {key: value for key, value in schema.items() if key not in _OF_PLACE}
    reached: dict[str, Any] = {}
    _reach(own, root, reached)
    title = schema.get("title")
    copy = copy_json([own, reached])
    for part in (part for whole in (copy[0], *copy[1].values()) for part in walk(whole)):
        for word in ("description", "examples"):
            part.pop(word, None)
    return json.dumps([title if isinstance(title, str) else "", copy], sort_keys=True)


def _reach(schema: Any, root: Any, reached: dict[str, Any]) -> None:
    left = [schema]
    while left:
        for reference in _references(left.pop()):
            if reference not in reached:
                reached[reference] = found = resolve(root, reference)
                left.append(found)


def _references(schema: Any) -> Iterator[str]:
    return (part["$ref"] for part in walk(schema) if isinstance(part.get("$ref"), str))
