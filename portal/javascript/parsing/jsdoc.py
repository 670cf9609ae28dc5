"""Make the schema of a function from its JSDoc comment.

    /**
     * The price of an order.
     * @param {number} amount - before the discount
     * @param {"gold"|"silver"} [tier="silver"]
     * @returns {{total: number, lines?: string[]}}
     */

Types are those of TypeScript in JSDoc: names of primitives, literals, arrays, objects, records, unions, `?T`, and names
of `@typedef` comments in the same file.

Source: the JSDoc reference of TypeScript. A type that is not known permits any value.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .lexer import tokens

__all__ = ["JSDoc", "comment_before", "read_jsdoc", "schema_of_type"]

_TAG = re.compile(r"^@(\w+)\s*", re.MULTILINE)
_NAMED = re.compile(r"\s*(\[[^\]]*\]|[\w$.]+)\s*(?:-\s*)?(.*)", re.DOTALL)
_WORD = re.compile(r"\s*([A-Za-z_$][\w$.]*|\d+(?:\.\d+)?|\"[^\"]*\"|'[^']*'|=>|[^\s\w])")
_MAX_DEPTH = 25  # types inside of each other; deeper ones are not known
_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "int": {"type": "integer"},
    "bigint": {"type": "integer"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
    "null": {"type": "null"},
    "undefined": {"type": "null"},
    "void": {"type": "null"},
    "object": {"type": "object"},
    "Object": {"type": "object"},
    "array": {"type": "array"},
    "Array": {"type": "array"},
    "Date": {"type": "string", "format": "date-time"},
    "Uint8Array": {"type": "string", "contentEncoding": "base64"},
    "true": {"const": True},
    "false": {"const": False},
}


class JSDoc:
    """The JSDoc of a function.

    Attributes:
        description: the text before the tags.
        parameters: the schema of the parameters, or None if there is no `@param`.
        result: the schema of the result, or None if there is no `@returns`.
        names: the parameters of the function, in order; a parameter that is an object has its members in the schema.
    """

    def __init__(self, comment: str, typedefs: dict[str, dict[str, Any]]) -> None:
        text = _without_stars(comment)
        parts = _TAG.split(text)
        self.description = parts[0].strip()
        self.result: dict[str, Any] | None = None
        self.names: list[str] = []
        members: dict[str, dict[str, Any]] = {}
        required: list[str] = []
        objects: dict[str, tuple[dict[str, Any], bool]] = {}
        for tag, body in zip(parts[1::2], parts[2::2], strict=True):
            if tag in ("returns", "return"):
                self.result = _type_and_rest(body, typedefs)[0]
            if tag not in ("param", "arg", "argument"):
                continue
            schema, rest = _type_and_rest(body, typedefs)
            name, optional, described = _name_of(rest, schema)
            head, _, tail = name.partition(".")
            if tail:
                _add_member(objects.setdefault(head, ({"type": "object"}, False))[0], tail, described, optional)
                continue
            self.names.append(name)
            objects[name] = (described, optional)
        for name, (schema, optional) in objects.items():
            members[name] = schema
            if not optional:
                required.append(name)
        self.parameters = _object(members, required) if members else None


def read_jsdoc(source: str, start: int) -> JSDoc | None:
    """Return the JSDoc of the function that begins at an index, or None if it has no comment.

    Args:
        source: the source of the file; its `@typedef` comments are known as types.
        start: the index of the function.
    """
    comment = comment_before(source, start)
    return JSDoc(comment, _typedefs(source)) if comment else None


def comment_before(source: str, index: int) -> str:
    """Return the text of the last `/** */` comment before an index, or ""."""
    last = ""
    for token in tokens(source):
        if token.start >= index:
            break
        if token.kind == "comment" and token.text.startswith("/**"):
            last = token.text
        elif token.kind != "comment" and token.text not in ("export", "default", "async", "const", "let", "var", "="):
            last = last if token.kind == "word" and token.depth == 0 else ""
    return last


def schema_of_type(text: str, typedefs: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of a type. A type that is not known permits any value."""
    reader = _TypeReader(text, typedefs or {})
    found = reader.union()
    return found if reader.at_end else {}


def _without_stars(comment: str) -> str:
    body = comment.removeprefix("/**").removesuffix("*/")
    return "\n".join(re.sub(r"^\s*\*? ?", "", line) for line in body.splitlines()).strip()


def _typedefs(source: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for token in tokens(source):
        if token.kind != "comment" or not token.text.startswith("/**") or "@typedef" not in token.text:
            continue
        parts = _TAG.split(_without_stars(token.text))
        name, schema = "", dict[str, Any]()
        for tag, body in zip(parts[1::2], parts[2::2], strict=True):
            if tag == "typedef":
                schema, rest = _type_and_rest(body, found)
                name = rest.split()[0] if rest.split() else ""
            elif tag in ("property", "prop"):
                member, rest = _type_and_rest(body, found)
                key, optional, described = _name_of(rest, member)
                _add_member(schema, key, described, optional)
        if name:
            found[name] = schema
    return found


def _type_and_rest(body: str, typedefs: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the schema of the type in braces, and the text after it."""
    body = body.strip()
    if not body.startswith("{"):
        return {}, body
    depth = 0
    for index, sign in enumerate(body):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return schema_of_type(body[1:index], typedefs), body[index + 1 :]
    return {}, ""


def _name_of(rest: str, schema: dict[str, Any]) -> tuple[str, bool, dict[str, Any]]:
    """Return the name, whether it is optional, and the schema with its default and description."""
    found = _NAMED.match(rest)
    if found is None:
        return "value", False, schema
    name, text = found[1], found[2].strip()
    described = dict(schema)
    if text:
        described["description"] = " ".join(text.split())
    if not name.startswith("["):
        return name, False, described
    name, equals, default = name[1:-1].partition("=")
    if equals:
        try:
            described["default"] = json.loads(default.strip().replace("'", '"'))
        except ValueError:
            described["default"] = default.strip()
    return name.strip(), True, described


def _add_member(schema: dict[str, Any], path: str, member: dict[str, Any], optional: bool) -> None:
    if path.count(".") > _MAX_DEPTH:
        return
    head, _, tail = path.partition(".")
    head, is_array = head.removesuffix("[]"), head.endswith("[]")
    properties = schema.setdefault("properties", {})
    if tail:
        inner = properties.setdefault(head, {"type": "object"})
        _add_member(inner.setdefault("items", {"type": "object"}) if is_array else inner, tail, member, optional)
        return
    properties[head] = member
    schema["type"] = "object"
    if not optional:
        schema.setdefault("required", []).append(head)


def _object(members: dict[str, Any], required: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": members}
    if required:
        found["required"] = required
    return found | {"additionalProperties": False}


def _number(word: str) -> dict[str, Any]:
    try:
        return {"const": json.loads(word)}
    except ValueError:  # such as 007
        return {}


class _TypeReader:
    """Reads one type by recursive descent."""

    def __init__(self, text: str, typedefs: dict[str, dict[str, Any]]) -> None:
        self._words = [found[1] for found in _WORD.finditer(text.strip().removesuffix("="))]
        self._typedefs = typedefs
        self._at = 0
        self._depth = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._words)

    def _next(self) -> str:
        return self._words[self._at] if not self.at_end else ""

    def _take(self, *expected: str) -> bool:
        if self._next() in expected:
            self._at += 1
            return True
        return False

    def union(self) -> dict[str, Any]:
        if self._depth >= _MAX_DEPTH:
            self._at = len(self._words)
            return {}
        self._depth += 1
        try:
            return self._union()
        finally:
            self._depth -= 1

    def _union(self) -> dict[str, Any]:
        self._take("|")
        parts = [self._suffixed()]
        while self._take("|"):
            parts.append(self._suffixed())
        if len(parts) == 1:
            return parts[0]
        if all("const" in part for part in parts):
            return {"enum": [part["const"] for part in parts]}
        return {"anyOf": parts}

    def _suffixed(self) -> dict[str, Any]:
        nullable = self._take("?")
        self._take("!", "...")
        found = self._primary()
        depth = self._depth
        while self._take("["):
            self._take("]")
            depth += 1
            found = {"type": "array", "items": found} if depth < _MAX_DEPTH else {}
        return {"anyOf": [found, {"type": "null"}]} if nullable else found

    def _primary(self) -> dict[str, Any]:
        word = self._next().rstrip(".")  # Array.<T>
        self._at += 1
        if word == "(":
            found = self.union()
            self._take(")")
            return found
        if word == "{":
            return self._members()
        if word[:1] in ("'", '"'):
            return {"const": word[1:-1]}
        if word[:1].isdigit():
            return _number(word)
        if self._next() == "<":
            return self._generic(word)
        if word in self._typedefs:
            return dict(self._typedefs[word])
        return dict(_TYPES.get(word, {}))

    def _generic(self, word: str) -> dict[str, Any]:
        self._take("<")
        arguments = [self.union()]
        while self._take(","):
            arguments.append(self.union())
        self._take(">")
        if word in ("Array", "ReadonlyArray", "Set", "Iterable"):
            return {"type": "array", "items": arguments[0]}
        if word in ("Record", "Object", "Map"):
            return {"type": "object", "additionalProperties": arguments[-1]}
        return arguments[0] if word in ("Promise", "Readonly") else {}

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        required = []
        while not self._take("}"):
            if self.at_end:
                return {}
            name = self._next().strip("'\"")
            self._at += 1
            optional = self._take("?")
            members[name] = self.union() if self._take(":") else {}
            if not optional:
                required.append(name)
            self._take(",", ";")
        return _object(members, required)
