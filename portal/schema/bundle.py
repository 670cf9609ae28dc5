"""Hoisting: the schemas of many functions in one document, where a `$ref` means a place in that document.

A function's schema is a document of its own: `#/$defs/Order` and `#` are looked for inside it. In OpenAPI and OpenRPC
documents they would be looked for in the whole document, so definitions move to `components/schemas` under a name that
is theirs alone, and references follow them. Equal definitions of several functions become one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from .jsondata import copy_json, pointer

__all__ = ["Hoist", "pascal_case", "walk"]

_ONE = frozenset(
    ("items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains", "propertyNames", "not",
     "if", "then", "else", "contentSchema")
)  # fmt: skip
_MANY = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_NAMED = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))
_MAY_BE_BOOLEAN = frozenset(("additionalProperties", "unevaluatedProperties"))
_DROPPED = frozenset(("$schema", "$id", "$anchor", "$comment"))

#: What is said of a place and not of what stands there.
_BESIDE = ("default", "description", "examples", "deprecated")
_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")

#: Formats that mean more here than JSON Schema says: a time without offset, a duration with a sign or with fractions.
_WIDER = frozenset(("time", "duration"))

_SECONDS = "[0-9]{1,8}([.][0-9]{1,6})?S"
_TIME = f"T([0-9]{{1,8}}H([0-9]{{1,8}}M)?({_SECONDS})?|[0-9]{{1,8}}M({_SECONDS})?|{_SECONDS})"
#: Beside 900 million days and more there is room for less than a day: a timedelta ends after 999,999,999 days.
_REST_OF_DAY = "T([0-9]{1,4}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2})([.][0-9]{1,6})?S"
_DAYS = f"([0-9]{{1,8}}|[0-8][0-9]{{8}})D({_TIME})?|9[0-9]{{8}}D({_REST_OF_DAY})?"
#: What is asserted of text beyond what its format or encoding tells a reader who does not know it.
_PATTERNS = {
    "decimal": "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,9})?$",
    "duration": f"^(?!-P9{{9}}DT)-?P([0-9]{{1,8}}W|{_DAYS}|{_TIME})$",
    "time": "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$",
    "base64": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}


def pascal_case(text: str, otherwise: str = "Schema") -> str:
    """A name of ASCII letters and digits that begins with a letter: "get_user/input" is "GetUserInput"."""
    name = "".join(part[:1].upper() + part[1:] for part in re.split("[^A-Za-z0-9]+", text))
    return name if name[:1].isalpha() else otherwise + name


class Hoist:
    """Takes the schemas of functions, in a fixed order, and holds the components that they need.

    Args:
        prefix: of a reference to a component.

    Attributes:
        schemas: component name -> schema.

    Threads: one.
    """

    def __init__(self, prefix: str = "#/components/schemas/") -> None:
        self._prefix = prefix
        self.schemas: dict[str, Any] = {}
        self._by_key: dict[str, str] = {}
        self._taken: set[str] = set()

    def reserve(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Put a component in as it is; a reference to it."""
        self._taken.add(name.lower())
        self.schemas[name] = schema
        return {"$ref": self._prefix + name}

    def component(self, name: str, schema: dict[str, Any], *, exact: bool = False) -> dict[str, Any]:
        """Make a schema a component named `name`, or nearly so; a reference to it.

        Args:
            exact: whether formats are asserted where the schema is checked; patterns say so then.
        """
        return self._place(name, schema, exact, whole=True)

    def inline(self, name: str, schema: dict[str, Any], *, exact: bool = False) -> dict[str, Any]:
        """The schema itself with its definitions hoisted; a component after all where it refers to its own root."""
        return self._place(name, schema, exact, whole=False)

    def _place(self, name: str, schema: dict[str, Any], exact: bool, whole: bool) -> dict[str, Any]:
        if _moves_bases(schema):
            # its references depend on identifiers inside it, which most readers of documents do not follow
            own = self._name(name)
            return self.reserve(own, {"description": "See x-schema, a JSON Schema of its own.", "x-schema": schema})
        root = _rewrite(copy_json(schema), _local(schema), exact)
        if not any(_leads_to_root(reference) for reference in _references(root)):
            root = _lift_titled(root)
            whole = whole and "$ref" not in root
        definitions = root.get("$defs", {})
        whole = whole or any(_leads_to_root(reference) for reference in _references(root))
        own = self._name(name) if whole else ""
        names: dict[str, str] = {}
        fresh: list[str] = []
        for definition in definitions:
            key = _key(definition, root)
            if key not in self._by_key:
                self._by_key[key] = self._name(_wanted(definition, definitions))
                fresh.append(definition)
            names[definition] = self._by_key[key]

        def target(reference: str) -> str:
            return _target(reference, self._prefix, names, own)

        for definition in fresh:
            self.schemas[names[definition]] = _untitled(_rewrite(definitions[definition], target, False))
        top = {key: value for key, value in root.items() if key != "$defs"}
        found: dict[str, Any] = _untitled(_rewrite(top, target, False))
        if not whole:
            return found
        self.schemas[own] = found
        return {"$ref": self._prefix + own}

    def _name(self, wanted: str) -> str:
        """A name that is still free, whatever the case of its letters: generators make class and file names of it."""
        base = name = pascal_case(wanted)
        number = 2
        while name.lower() in self._taken:
            name = f"{base}{number}"
            number += 1
        self._taken.add(name.lower())
        return name


def _children(schema: dict[str, Any]) -> Iterator[Any]:
    for key, value in schema.items():
        if key in _ONE:
            yield value
        elif key in _MANY and isinstance(value, list):
            yield from value
        elif key in _NAMED and isinstance(value, dict):
            yield from value.values()


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and every schema within it; not what only looks like one, such as an example."""
    if isinstance(schema, dict):
        yield schema
        for child in _children(schema):
            yield from walk(child)


def _references(schema: Any) -> Iterator[str]:
    for part in walk(schema):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _split(reference: str) -> tuple[str, str] | None:
    """The definition that a reference names, and the pointer within it; None where it leads elsewhere."""
    if not reference.startswith("#/$defs/"):
        return None
    token, slash, rest = reference[len("#/$defs/") :].partition("/")
    return unquote(token).replace("~1", "/").replace("~0", "~"), slash + rest


def _leads_to_root(reference: str) -> bool:
    return reference == "#" or (reference.startswith("#/") and _split(reference) is None)


def _target(reference: str, prefix: str, names: dict[str, str], own: str) -> str:
    found = _split(reference)
    if found is not None and found[0] in names:
        return prefix + names[found[0]] + found[1]
    return prefix + own + reference[1:] if _leads_to_root(reference) else reference


def _lift_titled(root: dict[str, Any]) -> dict[str, Any]:
    """The schema with each object whose title is a name moved to its $defs, where documents and generators find it.

    Not for a schema with references into its own parts: those would no longer be where they were.
    """
    definitions = root.get("$defs", {})

    def lift(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = _mapped(part, lift)
        title = part.get("title")
        if not (isinstance(title, str) and _NAME.fullmatch(title) and part.get("properties")):
            return part
        whole = {key: value for key, value in part.items() if key not in _BESIDE}
        key, number = title, 2
        while key in definitions and definitions[key] != whole:
            key = f"{title}{number}"
            number += 1
        definitions[key] = whole
        return {"$ref": f"#/$defs/{key}", **{key: part[key] for key in _BESIDE if key in part}}

    for name, definition in list(definitions.items()):
        definitions[name] = _mapped(definition, lift)
    found: dict[str, Any] = lift({key: value for key, value in root.items() if key != "$defs"})
    return {**found, "$defs": definitions} if definitions else found


def _untitled(schema: Any) -> Any:
    """The schema without titles, a sentence kept as the description.

    A component has its name; generators would call two classes by one title.
    """
    for part in walk(schema):
        title = part.pop("title", None)
        if isinstance(title, str) and not _NAME.fullmatch(title):
            part.setdefault("description", title)
    return schema


def _mapped(schema: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a schema whose direct parts are what `change` makes of them."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _ONE:
            found[key] = change(value)
        elif key in _MANY and isinstance(value, list):
            found[key] = [change(one) for one in value]
        elif key in _NAMED and isinstance(value, dict):
            found[key] = {name: change(one) for name, one in value.items()}
        else:
            found[key] = value
    return found


def _key(definition: str, root: dict[str, Any]) -> str:
    """Text that is equal for definitions that mean the same: name, content, and all that they refer to."""
    definitions = root["$defs"]
    reached: dict[str, Any] = {}
    waiting = [definition]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in definitions:
            continue
        reached[name] = definitions[name]
        for reference in _references(definitions[name]):
            found = _split(reference)
            if found is not None:
                waiting.append(found[0])
            elif _leads_to_root(reference):
                reached["#"] = root
    return json.dumps([_wanted(definition, definitions), reached.pop(definition), reached], sort_keys=True)


def _wanted(definition: str, definitions: dict[str, Any]) -> str:
    """What a component is best called: by its title where that is a name, since the key may have been numbered."""
    title = definitions[definition].get("title") if isinstance(definitions[definition], dict) else None
    return title if isinstance(title, str) and _NAME.fullmatch(title) else definition


def _moves_bases(schema: dict[str, Any]) -> bool:
    """Whether references cannot be told from the text alone: a base URI within, or a dynamic reference."""
    for index, part in enumerate(walk(schema)):
        if "$dynamicRef" in part or "$dynamicAnchor" in part or (index and "$id" in part):
            return True
    return False


def _local(schema: dict[str, Any]) -> Callable[[str], str]:
    """Turns a reference by anchor, or by the schema's own `$id`, into a pointer."""
    own = str(schema.get("$id", "")).rstrip("#")
    anchors = dict(_anchors(schema, "#"))

    def local(reference: str) -> str:
        if own and (reference == own or reference.startswith(own + "#")):
            reference = reference[len(own) :] or "#"
        return anchors.get(reference, reference)

    return local


def _anchors(schema: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$anchor"), str):
        yield "#" + schema["$anchor"], where
    for key, value in schema.items():
        if key in _ONE:
            yield from _anchors(value, f"{where}/{key}")
        elif key in _MANY and isinstance(value, list):
            for index, child in enumerate(value):
                yield from _anchors(child, f"{where}/{key}/{index}")
        elif key in _NAMED and isinstance(value, dict):
            for name, child in value.items():
                yield from _anchors(child, where + pointer((key, name)))


def _rewrite(schema: Any, target: Callable[[str], str], exact: bool) -> Any:
    """A copy whose references are what `target` makes of them, with patterns where `exact`."""
    if not isinstance(schema, dict):
        return ({} if schema else {"not": {}}) if isinstance(schema, bool) else schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            found[key] = target(value)
        elif key in _MAY_BE_BOOLEAN and isinstance(value, bool):
            found[key] = value  # elsewhere many readers of documents know no true and false
        elif key in _ONE:
            found[key] = _rewrite(value, target, exact)
        elif key in _MANY and isinstance(value, list):
            found[key] = [_rewrite(one, target, exact) for one in value]
        elif key in _NAMED and isinstance(value, dict):
            found[key] = {name: _rewrite(one, target, exact) for name, one in value.items()}
        elif key == "const" and isinstance(value, dict | list):
            found["enum"] = [value]  # the same; generators take const for a text or a number
        elif key not in _DROPPED:
            found[key] = value
    if isinstance(found.get("enum"), list) and isinstance(found.get("type"), list) and "anyOf" not in found:
        found = _split_enum(found)
    pattern = _PATTERNS.get(str(found.get("format", found.get("contentEncoding")))) if exact else None
    if pattern is not None and not {"pattern", "enum", "const"} & found.keys():
        found["pattern"] = pattern
    if exact and found.get("format") in _WIDER:
        found["x-format"] = found.pop("format")
    return found


def _split_enum(schema: dict[str, Any]) -> dict[str, Any]:
    """The same choices with those of each type together: generators make a class of choices of one type only."""
    by_type: dict[str, list[Any]] = {}
    for value in schema["enum"]:
        kind = next((name for kind, name in _TYPES if isinstance(value, kind)), None)
        if kind is None:
            return schema
        by_type.setdefault(kind, []).append(value)
    if len(by_type) < 2:
        return schema
    parts = [{"type": name, **({} if name == "null" else {"enum": values})} for name, values in by_type.items()]
    return {key: value for key, value in schema.items() if key not in ("type", "enum")} | {"anyOf": parts}


#: bool before int, which it is one of to Python.
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (type(None), "null"))
