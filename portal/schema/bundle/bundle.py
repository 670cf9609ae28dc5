"""Bundle the schemas of many functions into one document, such as an OpenAPI or OpenRPC document.

The schema of a function is a document of its own: `#` and `#/$defs/Order` refer to places inside it. In a bundle they
would refer to places in the whole document. Definitions therefore move to `components/schemas` under a unique name, and
references follow them. Equal definitions of several functions become one component.

Source: JSON Schema 2020-12 Core, section 9.3 (bundling); OpenAPI 3.1, Components Object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from ..jsondata import copy_json, pointer
from ..subschemas import map_subschemas, subschemas, walk
from .naming import ANNOTATIONS_OF_PLACE, has_inner_references, is_name, name_choices, pascal_case
from .portable import portable

__all__ = ["SchemaBundle"]

#: Definitions that are compared, each with all that it refers to, for one schema; the others are not shared.
_MAX_COMPARED = 5_000


class SchemaBundle:
    """Collects the schemas of functions and the components that they refer to.

    Add the schemas in a fixed order: names of components depend on it.

    Args:
        prefix: start of each reference to a component.

    Attributes:
        schemas: component name -> schema.

    Threads: one.
    """

    def __init__(self, prefix: str = "#/components/schemas/") -> None:
        self._prefix = prefix
        self.schemas: dict[str, Any] = {}
        self._name_of_definition: dict[str, str] = {}  # by `_definition_key`
        self._lowercase_names: set[str] = set()
        self._numbers: dict[str, int] = {}  # lower-case name -> the last number that was added to it

    def add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Add a component unchanged, under exactly this name, and return a reference to it."""
        self._lowercase_names.add(name.lower())
        self.schemas[name] = schema
        return {"$ref": self._prefix + name}

    def add_component(self, name: str, schema: dict[str, Any], *, formats: bool = False) -> dict[str, Any]:
        """Add a schema as a component and return a reference to it.

        Args:
            name: the name of the component, unless it is taken or the schema has a better one.
            schema: a JSON Schema; it is not changed.
            formats: whether the formats are validated where the schema is used; patterns then describe them.
        """
        return self._add(name, schema, formats, as_component=True)

    def inline(self, name: str, schema: dict[str, Any], *, formats: bool = False) -> dict[str, Any]:
        """Add the definitions of a schema, and return the schema itself with references to them.

        A schema that refers to its own root becomes a component, and this returns a reference to it. The arguments are
        those of `add_component`.
        """
        return self._add(name, schema, formats, as_component=False)

    def _add(self, name: str, schema: dict[str, Any], formats: bool, *, as_component: bool) -> dict[str, Any]:
        if _changes_base_uri(schema):
            # most readers of documents do not resolve references by identifiers inside a schema
            own_name = self._unique_name(name)
            return self.add(own_name, {"description": "See x-schema, a JSON Schema of its own.", "x-schema": schema})
        root = portable(copy_json(schema), _pointers_for_anchors(schema), formats=formats)
        if not _refers_to_root(root):
            root = _move_titled_to_defs(root)
            if not has_inner_references(root):
                root = name_choices(_with_items(root), name)
            as_component = as_component and "$ref" not in root
        as_component = as_component or _refers_to_root(root)
        own_name = self._unique_name(name) if as_component else ""
        rename = self._add_definitions(root, own_name)
        top = {key: value for key, value in root.items() if key != "$defs"}
        found: dict[str, Any] = _without_titles(portable(top, rename, formats=False))
        if not as_component:
            return found
        self.schemas[own_name] = found
        return {"$ref": self._prefix + own_name}

    def _add_definitions(self, root: dict[str, Any], own_name: str) -> Callable[[str], str]:
        """Add the definitions of a schema that the bundle does not have yet.

        Returns: a function old reference -> reference into the bundle.
        """
        definitions = root.get("$defs", {})
        names: dict[str, str] = {}
        added: list[str] = []
        compared = 0
        for definition in definitions:
            if compared < _MAX_COMPARED:
                key, reached = _definition_key(definition, root)
                compared += reached
            else:
                key = f"#{len(self._name_of_definition)}"
            if key not in self._name_of_definition:
                self._name_of_definition[key] = self._unique_name(_preferred_name(definition, definitions))
                added.append(definition)
            names[definition] = self._name_of_definition[key]

        def rename(reference: str) -> str:
            return _reference_in_bundle(reference, self._prefix, names, own_name)

        for definition in added:
            self.schemas[names[definition]] = _without_titles(portable(definitions[definition], rename, formats=False))
        return rename

    def _unique_name(self, preferred: str) -> str:
        """Return a name that differs from the others in more than case: generators make file names of it."""
        base = name = pascal_case(preferred)
        while name.lower() in self._lowercase_names:
            number = self._numbers[base.lower()] = self._numbers.get(base.lower(), 1) + 1
            name = f"{base}{number}"
        self._lowercase_names.add(name.lower())
        return name


def _references(schema: Any) -> Iterator[str]:
    for part in walk(schema):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _split_reference(reference: str) -> tuple[str, str] | None:
    """Return (name of the definition, pointer within it), or None if the reference leads elsewhere."""
    if not reference.startswith("#/$defs/"):
        return None
    token, slash, rest = reference[len("#/$defs/") :].partition("/")
    return unquote(token).replace("~1", "/").replace("~0", "~"), slash + rest


def _is_from_root(reference: str) -> bool:
    return reference == "#" or (reference.startswith("#/") and _split_reference(reference) is None)


def _refers_to_root(schema: Any) -> bool:
    return any(map(_is_from_root, _references(schema)))


def _reference_in_bundle(reference: str, prefix: str, names: dict[str, str], own_name: str) -> str:
    found = _split_reference(reference)
    if found is not None and found[0] in names:
        return prefix + names[found[0]] + found[1]
    return prefix + own_name + reference[1:] if _is_from_root(reference) else reference


def _move_titled_to_defs(root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with each object whose title is a name moved to its `$defs`, where generators find it.

    The schema must have no references into its own parts, since the parts move.
    """
    definitions = root.get("$defs", {})
    keys: dict[str, str] = {}  # title and definition as text -> key of the definition
    numbers: dict[str, int] = {}  # title -> the last number that was added to it

    def move(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = map_subschemas(part, move)
        title = part.get("title")
        if not (isinstance(title, str) and is_name(title) and part.get("properties")):
            return part
        definition = {key: value for key, value in part.items() if key not in ANNOTATIONS_OF_PLACE}
        text = json.dumps([title, definition], sort_keys=True)
        key = keys.get(text, title)
        while key in definitions and definitions[key] != definition:
            numbers[title] = numbers.get(title, 1) + 1
            key = f"{title}{numbers[title]}"
        keys[text] = key
        definitions[key] = definition
        return {"$ref": f"#/$defs/{key}", **{key: part[key] for key in ANNOTATIONS_OF_PLACE if key in part}}

    for name, definition in list(definitions.items()):
        definitions[name] = map_subschemas(definition, move) if isinstance(definition, dict) else definition
    found: dict[str, Any] = move({key: value for key, value in root.items() if key != "$defs"})
    return {**found, "$defs": definitions} if definitions else found


def _with_items(root: dict[str, Any]) -> dict[str, Any]:
    """Add `items: {}` to each array without `items`, in place, and return the schema: some readers require it."""
    parts = list(walk(root))
    if not any("unevaluatedItems" in part for part in parts):  # `items` would make all items evaluated ones
        for part in parts:
            if part.get("type") == "array":
                part.setdefault("items", {})
    return root


def _without_titles(schema: Any) -> Any:
    """Remove the titles from a schema, in place, and return it; a title that is a sentence becomes the description.

    A component has a name, and generators would give two classes the same title.
    """
    for part in walk(schema):
        title = part.pop("title", None)
        if isinstance(title, str) and not is_name(title):
            part.setdefault("description", title)
    return schema


def _definition_key(definition: str, root: dict[str, Any]) -> tuple[str, int]:
    """Return text that is equal for definitions with the same name, content and content of what they refer to.

    The number is that of the definitions that were looked at.
    """
    definitions = root["$defs"]
    reached: dict[str, Any] = {}
    pending = [definition]
    while pending:
        name = pending.pop()
        if name in reached or name not in definitions:
            continue
        reached[name] = definitions[name]
        for reference in _references(definitions[name]):
            found = _split_reference(reference)
            if found is not None:
                pending.append(found[0])
            elif _is_from_root(reference):
                reached["#"] = root
    number = len(reached)
    parts = [_preferred_name(definition, definitions), reached.pop(definition), reached]
    return json.dumps(parts, sort_keys=True), number


def _preferred_name(definition: str, definitions: dict[str, Any]) -> str:
    """Return the title of a definition if it is a name, else its key; the key may have got a number."""
    title = definitions[definition].get("title") if isinstance(definitions[definition], dict) else None
    return title if isinstance(title, str) and is_name(title) else definition


def _changes_base_uri(schema: dict[str, Any]) -> bool:
    """Return whether a schema has a dynamic reference, or an `$id` below its root."""
    return any(
        "$dynamicRef" in part or "$dynamicAnchor" in part or (index and "$id" in part)
        for index, part in enumerate(walk(schema))
    )


def _pointers_for_anchors(schema: dict[str, Any]) -> Callable[[str], str]:
    """Return a function that turns a reference by anchor, or by the `$id` of the schema, into a pointer."""
    own_id = str(schema.get("$id", "")).rstrip("#")
    anchors = dict(_anchors(schema, "#"))

    def to_pointer(reference: str) -> str:
        if own_id and (reference == own_id or reference.startswith(own_id + "#")):
            reference = reference[len(own_id) :] or "#"
        return anchors.get(reference, reference)

    return to_pointer


def _anchors(schema: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield (reference by anchor, reference by pointer) for each anchor in a schema."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$anchor"), str):
        yield "#" + schema["$anchor"], place
    for path, child in subschemas(schema):
        yield from _anchors(child, place + pointer(path))
