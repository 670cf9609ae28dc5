"""Codecs of enumerations: Enum classes and Literal."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ...errors import ConfigError
from ..jsondata import SCALAR_TYPES, is_json
from .codec import Codec, Unencodable, type_name

__all__ = ["enum_codec", "literal_codec"]


def enum_codec(kind: type[Enum]) -> Codec:
    """Return the codec of an Enum class: its JSON data are the values of the members.

    Raises: ConfigError if a value is not a JSON scalar.
    """
    return _member_codec({_json_value(member, kind): member for member in kind}, kind, kind)


def literal_codec(values: tuple[Any, ...], hint: Any) -> Codec:
    """Return the codec of Literal[values].

    Raises: ConfigError if a value is neither a JSON scalar nor an Enum member whose value is one.
    """
    if not all(isinstance(value, Enum) or type(value) in SCALAR_TYPES for value in values):
        raise _invalid_choices(hint)
    if any(isinstance(value, Enum) for value in values):
        members = {_json_value(value, hint) if isinstance(value, Enum) else value: value for value in values}
        return _member_codec(members, hint, None)
    # True and 1 are equal in Python and not in JSON
    choices = list({(type(value), value): value for value in values}.values())
    return Codec(_choice_schema(choices, hint), native_types=tuple({type(value) for value in choices}))


def _json_value(member: Enum, hint: Any) -> Any:
    value = member.value
    if type(value) not in SCALAR_TYPES:
        raise ConfigError(
            f"{type_name(hint)}: the value of {member!r} must be a string, number, boolean or None",
            path=type_name(hint),
        )
    return value


def _member_codec(members: dict[Any, Any], hint: Any, kind: type | None) -> Codec:
    """Return the codec of choices with members of an Enum.

    Args:
        members: JSON data -> native value.
        hint: the hint, for messages.
        kind: the Enum class if all choices are its members, else None.
    """
    json = _choice_schema(list(members), hint)
    value_of_id = {id(member): value for value, member in members.items()}

    def encode(value: Any) -> Any:
        if isinstance(value, Enum):
            return value_of_id.get(id(value), Unencodable(value))
        return value if kind is None else Unencodable(value)

    native_types = (kind,) if kind else tuple({type(member) for member in members.values()})
    return Codec(json, members.__getitem__, encode, native_types)


def _choice_schema(choices: list[Any], hint: Any) -> dict[str, Any]:
    if not choices or not all(is_json(choice) for choice in choices):
        raise _invalid_choices(hint)
    kinds = list(dict.fromkeys(SCALAR_TYPES[type(choice)] for choice in choices))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": choices}


def _invalid_choices(hint: Any) -> ConfigError:
    name = type_name(hint)
    return ConfigError(f"{name} must have at least one choice, and each must be a JSON scalar", path=name)
