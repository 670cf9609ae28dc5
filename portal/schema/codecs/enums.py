"""Codecs of enumerations: Enum classes and Literal."""

from __future__ import annotations

from collections.abc import Callable
from enum import KEEP, Enum, Flag
from typing import Any

from ...errors import ConfigError
from ..jsondata import MEMBER_NAMES, SCALAR_TYPES, is_json
from .codec import Codec, Unencodable, Violation, type_name
from .shapes import ChoiceShape

__all__ = ["enum_codec", "literal_codec"]


def enum_codec(kind: type[Enum]) -> Codec:
    """Return the codec of an Enum class: its JSON data are the values of the members, or the bits of a Flag.

    Raises: ConfigError if a value is not a JSON scalar.
    """
    if issubclass(kind, Flag):
        return _flag_codec(kind)
    return _member_codec([(_json_value(member, kind), member) for member in kind], kind, kind)


def _flag_codec(kind: type[Flag]) -> Codec:
    """Return the codec of a Flag class: an integer, the sum of the bits that are set; 0 has none of them."""
    mask = 0
    for member in kind.__members__.values():
        mask |= member.value
    if mask <= 0:
        raise _invalid_choices(kind)
    if getattr(kind, "_boundary_", None) is KEEP:  # an IntFlag keeps bits without a name, which its complements have
        mask = (1 << mask.bit_length()) - 1
    limits = {"minimum": 0, "maximum": mask}
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    expected = " + ".join(map(str, bits))

    def decode(value: Any) -> Any:
        number = int(value)
        if number & ~mask:
            raise Violation(f"must be a sum of some of {expected}, got {number}", "flags", bits)
        return kind(number)

    def encode(value: Any) -> Any:
        if not isinstance(value, kind):
            return Unencodable(value, expected=kind)
        return value.value & mask if value.value < 0 else value.value  # a complement may be negative

    return Codec({"type": "integer", **limits}, decode, encode, (kind,))


def literal_codec(values: tuple[Any, ...], hint: Any) -> Codec:
    """Return the codec of Literal[values].

    Raises: ConfigError if a value is neither a JSON scalar nor an Enum member whose value is one.
    """
    if not all(isinstance(value, Enum) or type(value) in SCALAR_TYPES for value in values):
        raise _invalid_choices(hint)
    if any(isinstance(value, Enum) for value in values):
        return _member_codec([(_json_value(value, hint), value) for value in values], hint, None)
    # True and 1 are equal in Python and not in JSON
    choices = list({(type(value), value): value for value in values}.values())
    return Codec(
        _choice_schema(choices, hint),
        native_types=tuple({type(value) for value in choices}),
        structure=_structure({value: value for value in choices}, len(choices)),
    )


def _json_value(member: Any, hint: Any) -> Any:
    value = member.value if isinstance(member, Enum) else member
    if type(value) not in SCALAR_TYPES:
        raise ConfigError(
            f"{type_name(hint)}: the value of {member!r} must be a string, number, boolean or None",
            path=type_name(hint),
        )
    return value


def _member_codec(choices: list[tuple[Any, Any]], hint: Any, kind: type | None) -> Codec:
    """Return the codec of choices with members of an Enum.

    Args:
        choices: JSON data and native value of each.
        hint: the hint, for messages.
        kind: the Enum class if all choices are its members, else None.
    """
    # True and 1 are equal in Python and not in JSON, and so are False and 0
    members = {(type(value) is bool, value): member for value, member in choices}
    if len(members) != len(choices):
        name = type_name(hint)
        raise ConfigError(f"{name}: two choices must not have the same JSON form", path=name)
    json = _choice_schema([value for value, _ in choices], hint)
    if kind is not None:  # generated clients name their class and its members after these
        json = {"title": kind.__name__, **json, MEMBER_NAMES: [member.name for _, member in choices]}
    value_of_id = {id(member): value for value, member in choices if isinstance(member, Enum)}
    has_bool = any(is_bool for is_bool, _ in members)

    def decode(value: Any) -> Any:
        return members[type(value) is bool, value]

    def encode(value: Any) -> Any:
        if isinstance(value, Enum):
            return value_of_id.get(id(value), Unencodable(value))
        return value if kind is None else Unencodable(value, expected=kind)

    native_types = (kind,) if kind else tuple({type(member) for _, member in choices})
    by_value = dict(choices)
    return Codec(
        json,
        decode if has_bool else by_value.__getitem__,
        encode,
        native_types,
        structure=_structure(by_value, len(choices)),
    )


def _structure(members: dict[Any, Any], count: int) -> Callable[[Any], ChoiceShape] | None:
    """Return the structure of choices that are all strings or all integers, else None.

    Args:
        count: of the choices: fewer members mean that two choices are equal in Python.
    """
    kinds = {type(value) for value in members}
    if len(members) != count or len(kinds) != 1 or not kinds <= {str, int}:
        return None
    return lambda shape_of: ChoiceShape(kinds.copy().pop(), members)


def _choice_schema(choices: list[Any], hint: Any) -> dict[str, Any]:
    if not choices or not all(is_json(choice) for choice in choices):
        raise _invalid_choices(hint)
    kinds = list(dict.fromkeys(SCALAR_TYPES[type(choice)] for choice in choices))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": choices}


def _invalid_choices(hint: Any) -> ConfigError:
    name = type_name(hint)
    return ConfigError(f"{name} must have at least one choice, and each must be a JSON scalar", path=name)
