"""Count the schemas that apply to one value when every reference is followed.

jsonschema-rs follows each reference where it stands. Definitions that each refer twice to the next one double the work:
1.7 KB of them take minutes, and the interpreter's lock is held meanwhile. Such a schema is rejected before it is
compiled. The estimate takes time in proportion to the size of the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ...errors import ConfigError
from ..subschemas import applied_subschemas, subschemas, walk
from .limits import counters, limits

__all__ = ["expansion", "require_bounded"]

#: Schemas with an `$id` of their own; each reference may be relative to any of them.
_MAX_RESOURCES = 16
#: Keywords of which at most one part applies to one item or member.
_ONE_OF = frozenset(("properties", "prefixItems"))
_REFERENCES = ("$ref", "$dynamicRef")


def require_bounded(schema: Any) -> None:
    """Reject a schema with too many parts, and one of which too many parts apply to one value.

    Raises: ConfigError.
    """
    most = limits().max_schemas
    for number, _ in enumerate(walk(schema), 1):
        if number > most:
            raise _rejected(f"a JSON Schema must have at most {most:,} schemas in it", "a smaller schema")
    most = limits().max_expansion
    found = expansion(schema)
    if found > most:
        raise _rejected(
            f"at most {most:,} schemas of a JSON Schema may apply to one value, got {_words(found)}",
            "fewer references to the same definition from one place",
        )


def _rejected(message: str, expected: str) -> ConfigError:
    counters.schemas.add()
    return ConfigError(message, path="$ref", expected=expected)


def _words(number: int) -> str:
    return f"{number:,}" if number < 10**9 else "more than 1,000,000,000"


def expansion(schema: Any) -> int:
    """Return the largest number of schemas that apply to one value. A recursive reference counts as one.

    Threads: any.
    """
    return _Expansion(schema).of(schema)


class _Expansion:
    """The numbers of one document, each computed once."""

    def __init__(self, root: Any) -> None:
        self._resources = [root]
        self._anchors: dict[str, list[Any]] = {}
        for part in walk(root):
            if "$id" in part and part is not root:
                self._resources.append(part)
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(part.get(keyword), str):
                    self._anchors.setdefault(part[keyword], []).append(part)
        if len(self._resources) > _MAX_RESOURCES:
            raise _rejected(f"a JSON Schema must have at most {_MAX_RESOURCES} parts with an $id", "fewer of them")
        self._found: dict[int, int] = {}

    def of(self, root: Any) -> int:
        """Return the number of a schema. It keeps its own stack, as chains of references may be long."""
        pending = [root]
        open_: set[int] = set()
        while pending:
            schema = pending[-1]
            key = id(schema)
            if not isinstance(schema, dict) or key in self._found:
                pending.pop()
            elif key in open_:
                pending.pop()
                open_.discard(key)
                self._found[key] = self._number(schema)
            else:
                open_.add(key)
                pending.extend(part for part in self._reached(schema) if id(part) not in open_)
        return self._known(root)

    def _known(self, schema: Any) -> int:
        return self._found.get(id(schema), 1)

    def _reached(self, schema: dict[str, Any]) -> Iterator[Any]:
        yield from applied_subschemas(schema)
        for keyword in _REFERENCES:
            if isinstance(schema.get(keyword), str):
                yield from self._targets(schema[keyword])

    def _number(self, schema: dict[str, Any]) -> int:
        number = 1
        largest = dict.fromkeys(_ONE_OF, 0)
        for path, part in subschemas(schema):
            if path[0] in _ONE_OF:
                largest[str(path[0])] = max(largest[str(path[0])], self._known(part))
            elif path[0] not in ("$defs", "definitions", "contentSchema"):
                number += self._known(part)
        for keyword in _REFERENCES:
            if isinstance(schema.get(keyword), str):
                number += max((self._known(part) for part in self._targets(schema[keyword])), default=1)
        return number + sum(largest.values())

    def _targets(self, reference: str) -> list[Any]:
        """Return the schemas that a reference may lead to; which one depends on the resource around it."""
        fragment = unquote(reference.partition("#")[2])
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment, [])
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in fragment.split("/")[1:]]
        return [part for resource in self._resources if (part := _at(resource, tokens)) is not None]


def _at(schema: Any, tokens: list[str]) -> Any:
    """Return the part of a schema at a path, or None."""
    for token in tokens:
        if isinstance(schema, list) and token.isdecimal() and len(token) < 9 and int(token) < len(schema):
            schema = schema[int(token)]
        else:
            schema = schema.get(token) if isinstance(schema, dict) else None
    return schema
