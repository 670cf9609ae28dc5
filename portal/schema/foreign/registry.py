"""The registered types, by class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..._internal.at_fork import new_lock
from ...errors import ConfigError
from ..codecs import Codec
from ..codecs.codec import Unencodable
from ..jsondata import copy_json
from ..subschemas import walk

__all__ = ["ForeignType", "add", "embedded", "find"]


class ForeignType(NamedTuple):
    """The conversion of a class to JSON data and back.

    Attributes:
        kind: the class.
        json: its JSON Schema; its references lead to its own `$defs`.
        decode: JSON data that fits -> instance.
        encode: instance -> JSON data.
    """

    kind: type
    json: dict[str, Any]
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]

    def codec(self, defs: dict[str, Any]) -> Codec:
        """Return the codec of the class inside a schema with these definitions, to which its own are added."""
        kind, encode = self.kind, self.encode

        def encode_instance(value: Any) -> Any:
            return encode(value) if isinstance(value, kind) else Unencodable(value, expected=kind)

        hashable = getattr(kind, "__hash__", None) is not None
        return Codec(embedded(self.json, defs), self.decode, encode_instance, (kind,), hashable=hashable)


_types: dict[type, ForeignType] = {}
_lock = new_lock()  # guards replacing the table


def add(found: ForeignType) -> None:
    """Register a type.

    Raises: ConfigError if the class is registered already.
    """
    global _types
    with _lock:
        if found.kind in _types:
            name = found.kind.__qualname__
            raise ConfigError(f"{name} is registered already; register it once, where it is defined", path=name)
        _types = {**_types, found.kind: found}


def find(kind: type) -> ForeignType | None:
    """Return how a class becomes JSON data, or None if it is not registered; a base does not register it."""
    return _types.get(kind)


def embedded(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a schema without `$defs`, whose references lead to `defs`; its definitions are added there."""
    copy: dict[str, Any] = copy_json(schema)
    own = copy.pop("$defs", {})
    names = {name: _free_name(name, part, own, defs) for name, part in own.items()}
    for part in _parts(copy, own):
        reference = part.get("$ref")
        if isinstance(reference, str) and (name := reference.removeprefix("#/$defs/")) in names:
            part["$ref"] = f"#/$defs/{names[name]}"
    for name, part in own.items():
        defs[names[name]] = part
    return copy


def _parts(root: dict[str, Any], own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from walk(root)
    for part in own.values():
        yield from walk(part)


def _free_name(name: str, part: Any, own: dict[str, Any], defs: dict[str, Any]) -> str:
    """Return a name for a definition: its own, or one with a number if another definition has that."""
    found, number = name, 1
    while (found in defs and defs[found] != part) or (found != name and found in own):
        number += 1
        found = f"{name}{number}"
    return found
