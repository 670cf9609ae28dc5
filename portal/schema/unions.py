"""Nodes of unions: which member a value belongs to.

On the way in the member is chosen by the JSON type of the value, on the way out by its class; only where that leaves
several members are they tried in order against the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from .codecs import Node, Unfit
from .validator import Validator

__all__ = ["union_node"]

_JSON_TYPES = frozenset((type(None), bool, int, float, str, list, dict))
_TYPED_ONLY = frozenset(("type", "format", "contentEncoding"))


def union_node(members: list[Node], defs: dict[str, Any]) -> Node:
    """The node of a union; `defs` is the table of named schemas, complete by the time a value comes."""
    choose = _Choice(members, defs)
    decode = None if all(member.decode is None for member in members) else choose.decode
    natives = tuple(kind for member in members for kind in member.natives)
    optional = _optional(members)
    if optional is not None:
        decode, encode = optional
        return Node(_json(members), decode, encode, natives, choose.children)
    return Node(_json(members), decode, choose.encode, natives, choose.children)


def _optional(members: list[Node]) -> tuple[Any, Any] | None:
    """The codecs of `X | None`, which need no choice."""
    others = [member for member in members if member.json != {"type": "null"}]
    if len(others) != 1 or len(members) != 2 or not _never_null(others[0].json):
        return None
    return _unless_none(others[0].decode), _unless_none(others[0].encode)


def _never_null(json: dict[str, Any]) -> bool:
    return isinstance(json.get("type"), str) or "$ref" in json


def _unless_none(codec: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if codec is None:
        return None
    return lambda value: None if value is None else codec(value)


def _json(members: list[Node]) -> dict[str, Any]:
    if all(
        set(member.json) == {"type"} or (set(member.json) <= _TYPED_ONLY and len(members) == 2) for member in members
    ):
        kinds = [member.json.get("type") for member in members]
        others = [member.json for member in members if member.json != {"type": "null"}]
        plain = all(set(json) == {"type"} for json in others)
        if (
            len(set(map(str, kinds))) == len(kinds)
            and (plain or len(others) == 1)
            and all(isinstance(kind, str) for kind in kinds)
        ):
            extra = {} if plain else others[0]
            return {**extra, "type": kinds}
    return {"anyOf": [member.json for member in members]}


class _Choice:
    def __init__(self, members: list[Node], defs: dict[str, Any]) -> None:
        self.members = members
        self.defs = defs
        self._accepts = lru_cache(maxsize=None)(self._compile)
        self._by_kind: Callable[[Any], tuple[int, ...]] = lru_cache(maxsize=256)(self._candidates)

    def _compile(self, index: int) -> Callable[[Any], bool]:
        # the definitions of a recursive type are complete only after the whole hint is mapped
        return Validator(
            {**self.members[index].json, "$defs": self.defs} if self.defs else self.members[index].json
        ).accepts

    def _candidates(self, kind: type) -> tuple[int, ...]:
        """Members whose native class is this one, exact matches before subclasses; all where none is."""
        exact = [i for i, member in enumerate(self.members) if kind in member.natives[:1]]
        wide = [
            i
            for i, member in enumerate(self.members)
            if i not in exact and any(issubclass(kind, n) for n in member.natives)
        ]
        return tuple(exact + wide)

    def of_json(self, value: Any) -> Node | None:
        """The member that JSON data belongs to; a float is a `float` rather than an `int` that happens to be whole."""
        order = list(range(len(self.members)))
        if type(value) is float:
            order.sort(key=lambda i: self.members[i].json.get("type") == "integer")
        return next((self.members[i] for i in order if self._accepts(i)(value)), None)

    def decode(self, value: Any) -> Any:
        member = self.of_json(value)
        return value if member is None or member.decode is None else member.decode(value)

    def children(self, value: Any) -> Iterator[tuple[Any, Node, Any]]:
        member = self.of_json(value)
        if member is not None and member.children is not None:
            yield from member.children(value)

    def encode(self, value: Any) -> Any:
        found = value if type(value) in _JSON_TYPES else Unfit(value)
        for index in self._by_kind(type(value)):
            codec = self.members[index].encode
            found = value if codec is None else codec(value)
            if self._accepts(index)(found):
                return found
        return found
