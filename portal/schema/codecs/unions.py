"""Codecs of unions: they find the member that a value belongs to.

The decoder tries the members in order, and goes on if one of them raises. The encoder tries only the members with the
class of the value. Each takes the first member whose schema accepts the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from ..validator import Validator
from .codec import Codec, Converter, Unencodable
from .shapes import OptionalShape, ScalarShape

__all__ = ["union_codec"]

_JSON_CLASSES = frozenset((type(None), bool, int, float, str, list, dict))
_SAME_SCALARS = frozenset(("string", "integer", "boolean", "null"))
_SCALAR_KEYWORDS = frozenset(("type", "format", "contentEncoding"))


def union_codec(members: list[Codec], defs: dict[str, Any]) -> Codec:
    """Return the codec of a union.

    Args:
        members: the codecs of its members.
        defs: the named schemas that the members refer to; they need to be complete only when the first value comes.
    """
    union = _Union(members, defs)
    native_types = tuple(kind for member in members for kind in member.native_types)
    hashable = all(member.hashable for member in members)
    other = _only_other_than_null(members)
    if other is not None:
        decode, encode = _unless_none(other.decode), _unless_none(other.encode)
        return Codec(
            _union_schema(members),
            decode,
            encode,
            native_types,
            union.children,
            hashable=hashable,
            structure=lambda shape_of: OptionalShape(shape_of(other)),
        )
    decode = None if all(member.decode is None for member in members) else union.decode
    schema = _union_schema(members)
    return Codec(
        schema,
        decode,
        union.encode,
        native_types,
        union.children,
        hashable=hashable,
        structure=_scalar_structure(schema),
    )


def _scalar_structure(schema: dict[str, Any]) -> Callable[[Any], ScalarShape] | None:
    """Return the structure of a union of scalar classes whose native values are JSON data, else None."""
    kinds = schema.get("type")
    if (
        set(schema) != {"type"}
        or not isinstance(kinds, list)
        or "number" in kinds
        or not _SAME_SCALARS.issuperset(kinds)
    ):
        return None
    return lambda shape_of: ScalarShape(*kinds)


def _only_other_than_null(members: list[Codec]) -> Codec | None:
    """Return the codec of X if the union is `X | None` and X is never null, else None."""
    others = [member for member in members if member.json != {"type": "null"}]
    if len(others) != 1 or len(members) != 2 or not _is_never_null(others[0].json):
        return None
    return others[0]


def _is_never_null(json: dict[str, Any]) -> bool:
    return isinstance(json.get("type"), str) or "$ref" in json


def _unless_none(converter: Converter | None) -> Converter | None:
    if converter is None:
        return None
    return lambda value: None if value is None else converter(value)


def _union_schema(members: list[Codec]) -> dict[str, Any]:
    """Return {"type": [...]} if that says the same, else {"anyOf": [...]}."""
    schemas = [member.json for member in members]
    kinds = [schema.get("type") for schema in schemas]
    if all(isinstance(kind, str) for kind in kinds) and len(set(kinds)) == len(kinds):
        others = [schema for schema in schemas if schema != {"type": "null"}]
        if all(set(schema) == {"type"} for schema in others):
            return {"type": kinds}
        if len(schemas) == 2 and len(others) == 1 and set(others[0]) <= _SCALAR_KEYWORDS:
            return {**others[0], "type": kinds}
    return {"anyOf": schemas}


class _Union:
    def __init__(self, members: list[Codec], defs: dict[str, Any]) -> None:
        self._members = members
        self._defs = defs
        self._accepts = lru_cache(maxsize=None)(self._compile)
        self._indexes_for: Callable[[type], tuple[int, ...]] = lru_cache(maxsize=256)(self._find_indexes)

    def _compile(self, index: int) -> Callable[[Any], bool]:
        # compiled on first use: the definitions of a recursive type are complete only after the whole hint is mapped
        json = self._members[index].json
        return Validator({**json, "$defs": self._defs} if self._defs else json).accepts

    def _find_indexes(self, kind: type) -> tuple[int, ...]:
        """Return the indexes of the members with this native class, exact matches before superclasses."""
        exact = [i for i, member in enumerate(self._members) if kind in member.native_types[:1]]
        inherited = [
            i
            for i, member in enumerate(self._members)
            if i not in exact and any(issubclass(kind, native) for native in member.native_types)
        ]
        return tuple(exact + inherited)

    def _members_for_json(self, value: Any) -> Iterator[Codec]:
        """Yield the members that accept JSON data; a float such as 1.0 belongs to `float` rather than `int`."""
        order = list(range(len(self._members)))
        if type(value) is float:
            order.sort(key=lambda i: self._members[i].json.get("type") == "integer")
        return (self._members[i] for i in order if self._accepts(i)(value))

    def decode(self, value: Any) -> Any:
        """Return the native value of the first member that has one; raise what the first member raises."""
        first: Exception | None = None
        for member in self._members_for_json(value):
            if member.decode is None:
                return value
            try:
                return member.decode(value)
            except (ValueError, TypeError) as error:  # such as "::1" as the first of two classes of IP addresses
                first = first or error
        try:
            if first is not None:
                raise first
        finally:
            del first  # else the exception and this frame refer to each other
        return value

    def children(self, value: Any) -> Iterator[tuple[Any, Codec, Any]]:
        member = next(self._members_for_json(value), None)
        if member is not None and member.children is not None:
            yield from member.children(value)

    def encode(self, value: Any) -> Any:
        found = value if type(value) in _JSON_CLASSES else Unencodable(value)
        for index in self._indexes_for(type(value)):
            encode = self._members[index].encode
            found = value if encode is None else encode(value)
            if self._accepts(index)(found):
                return found
        return found
