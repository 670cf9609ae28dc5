"""Shapes: what a codec does, in a form from which code for a whole schema is generated (`schema/inline.py`).

Each shape writes statements that check one value and convert it. The validator accepts whatever they accept, and the
codec converts it to the same value. A value that they do not accept may still fit: then the validator decides, which
knows every rule and makes the report.

Names from a schema stand in generated code only as literals of strings, and as attributes and arguments if they are
ASCII identifiers. Everything else that the code refers to is a constant with a generated name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .writer import Writer

__all__ = ["ArrayShape", "ChoiceShape", "FloatShape", "MapShape", "OptionalShape", "PartShape", "ScalarShape",
           "Shape", "TextShape", "TupleShape"]  # fmt: skip

Converter = Callable[[Any], Any]

_MAX = "1.7976931348623157e308"
#: JSON type -> condition for a value of another type. JSON text cannot contain lone surrogates.
_WRONG = {
    "string": "{0}.__class__ is not str or not ({0}.isascii() or is_encodable({0}))",
    "integer": "{0}.__class__ is not int",
    "boolean": "{0} is not True and {0} is not False",
    "null": "{0} is not None",
}


class Shape(Protocol):
    """Writes the conversion of one value.

    Attributes:
        is_same: whether the native value is the JSON data itself.
        is_pure: whether loading runs no code of a user. Then a value may be made before another part of the data is
            rejected.
    """

    is_same: bool
    is_pure: bool

    def load(self, out: Writer, value: str) -> str:
        """Write the conversion of JSON data, and return the expression of the native value.

        Args:
            value: the name of a local variable with the data, which may be assigned to.
        """

    def dump(self, out: Writer, value: str) -> str:
        """Write the conversion of a native value, and return the expression of the JSON data."""


class ScalarShape:
    """A string, an integer, a boolean or null, or one of several of these. Args: the JSON types."""

    is_same = is_pure = True

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds

    def load(self, out: Writer, value: str) -> str:
        wrong = [_WRONG[kind].format(value) for kind in self._kinds]
        out.reject_if(wrong[0] if len(wrong) == 1 else " and ".join(f"({condition})" for condition in wrong))
        return value

    dump = load


class FloatShape:
    """A finite number; an integer becomes a float."""

    is_same, is_pure = False, True

    def load(self, out: Writer, value: str) -> str:
        with out.block(f"if {value}.__class__ is not float:"):
            out.reject_if(f"{value}.__class__ is not int")
            out.line(f"{value} = float({value})")
        out.reject_if(f"not -{_MAX} <= {value} <= {_MAX}")
        return value

    dump = load


class TextShape:
    """A value that is written as text, such as a date.

    Args:
        parse: text -> native value; raises for other text.
        encode: native value -> text; for any other value, something that is not text.
        has_format: text -> whether it has the format of the schema; None if there is none.
    """

    is_same, is_pure = False, True

    def __init__(self, parse: Converter, encode: Converter, has_format: Callable[[Any], bool] | None) -> None:
        self._parse = parse
        self._encode = encode
        self._has_format = has_format

    def load(self, out: Writer, value: str) -> str:
        out.reject_if(_WRONG["string"].format(value))
        found = out.name()
        out.line(f"{found} = {out.constant(self._parse)}({value})")
        return found

    def dump(self, out: Writer, value: str) -> str:
        found = out.name()
        out.line(f"{found} = {out.constant(self._encode)}({value})")
        out.reject_if(_WRONG["string"].format(found))
        if self._has_format is not None:
            out.reject_if(f"not {out.constant(self._has_format)}({found})")
        return found


class ChoiceShape:
    """One of several strings, or one of several integers.

    Args:
        kind: `str` or `int`.
        members: JSON data -> native value.
    """

    is_pure = True

    def __init__(self, kind: type, members: Mapping[Any, Any]) -> None:
        self._kind = kind
        self._members = dict(members)
        self._data = {id(member): data for data, member in self._members.items()}
        self.is_same = all(data is member for data, member in self._members.items())

    def load(self, out: Writer, value: str) -> str:
        out.reject_if(f"{value}.__class__ is not {self._kind.__name__}")
        if self.is_same:
            out.reject_if(f"{value} not in {out.constant(self._members)}")
            return value
        found = out.name()
        out.line(f"{found} = {out.constant(self._members)}[{value}]")  # KeyError for another value
        return found

    def dump(self, out: Writer, value: str) -> str:
        if self.is_same:
            return self.load(out, value)
        found = out.name()
        out.constant(self._members)  # holds the members, so that no other object gets one of their ids
        out.line(f"{found} = {out.constant(self._data)}[id({value})]")
        return found


class ArrayShape:
    """An array of any length.

    Args:
        item: the shape of the items.
        container: the class of the native value.
        accepted: the classes of the values that can be dumped.
    """

    is_same = False

    def __init__(self, item: Shape, container: type, accepted: tuple[type, ...]) -> None:
        self._item = item
        self._container = container
        self._accepted = accepted
        self.is_pure = item.is_pure

    def load(self, out: Writer, value: str) -> str:
        out.reject_if(f"{value}.__class__ is not list")
        found = self._mapped(out, value, self._item.load)
        return found if self._container is list or not out.builds else f"{out.constant(self._container)}({found})"

    def dump(self, out: Writer, value: str) -> str:
        kinds = [out.constant(kind) for kind in self._accepted]
        out.reject_if(" and ".join(f"{value}.__class__ is not {kind}" for kind in kinds))
        return self._mapped(out, value, self._item.dump)

    def _mapped(self, out: Writer, value: str, convert: Callable[[Writer, str], str]) -> str:
        found, item = out.name(), out.name()
        if self._item.is_same:
            if out.checks:
                with out.block(f"for {item} in {value}:"):
                    convert(out, item)
            return f"list({value})"
        if not out.builds:
            with out.block(f"for {item} in {value}:"):
                convert(out, item)
            return value
        out.line(f"{found} = []")
        with out.block(f"for {item} in {value}:"):
            out.line(f"{found}.append({convert(out, item)})")
        return found


class TupleShape:
    """An array of a fixed length. Args: the shapes of the items."""

    is_same = False

    def __init__(self, items: tuple[Shape, ...]) -> None:
        self._items = items
        self.is_pure = all(item.is_pure for item in items)

    def load(self, out: Writer, value: str) -> str:
        out.reject_if(f"{value}.__class__ is not list or len({value}) != {len(self._items)}")
        return f"({''.join(part + ', ' for part in self._parts(out, value, 'load'))})"

    def dump(self, out: Writer, value: str) -> str:
        kinds = f"{value}.__class__ is not tuple and {value}.__class__ is not list"
        out.reject_if(f"({kinds}) or len({value}) != {len(self._items)}")
        return f"[{', '.join(self._parts(out, value, 'dump'))}]"

    def _parts(self, out: Writer, value: str, direction: str) -> list[str]:
        found = []
        for index, item in enumerate(self._items):
            name = out.name()
            out.line(f"{name} = {value}[{index}]")
            found.append(getattr(item, direction)(out, name))
        return found


class MapShape:
    """An object with any names, as a dict. Args: the shape of the values."""

    is_same = False

    def __init__(self, item: Shape) -> None:
        self._item = item
        self.is_pure = item.is_pure

    def load(self, out: Writer, value: str) -> str:
        return self._mapped(out, value, self._item.load)

    def dump(self, out: Writer, value: str) -> str:
        return self._mapped(out, value, self._item.dump)

    def _mapped(self, out: Writer, value: str, convert: Callable[[Writer, str], str]) -> str:
        found, name, item = out.name(), out.name(), out.name()
        out.reject_if(f"{value}.__class__ is not dict")
        out.line(f"{found} = {{}}")
        with out.block(f"for {name}, {item} in {value}.items():"):
            out.reject_if(_WRONG["string"].format(name))
            out.line(f"{found}[{name}] = {convert(out, item)}")
        return found


class OptionalShape:
    """A value or null. Args: the shape of the value, which is never null."""

    def __init__(self, item: Shape) -> None:
        self._item = item
        self.is_same = item.is_same
        self.is_pure = item.is_pure

    def load(self, out: Writer, value: str) -> str:
        return self._unless_null(out, value, self._item.load)

    def dump(self, out: Writer, value: str) -> str:
        return self._unless_null(out, value, self._item.dump)

    def _unless_null(self, out: Writer, value: str, convert: Callable[[Writer, str], str]) -> str:
        found = value if self.is_same else out.name()
        if not self.is_same:
            out.line(f"{found} = None")
        with out.block(f"if {value} is not None:"):
            expression = convert(out, value)
            if expression != found:
                out.line(f"{found} = {expression}")
        return found


class PartShape:
    """A value that its own codec converts and its own validator checks, such as one with constraints.

    Args:
        accepts: JSON data -> whether it fits.
        decode, encode: as of the codec.
    """

    def __init__(self, accepts: Callable[[Any], bool], decode: Converter | None, encode: Converter | None) -> None:
        self._accepts = accepts
        self._decode = decode
        self._encode = encode
        self.is_same = decode is None
        self.is_pure = decode in (None, int, float)

    def load(self, out: Writer, value: str) -> str:
        out.reject_if(f"not {out.constant(self._accepts)}({value})")
        if self._decode is None or not out.builds:
            return value
        return f"{out.constant(self._decode)}({value})"

    def dump(self, out: Writer, value: str) -> str:
        found = value
        if self._encode is not None:
            found = out.name()
            out.line(f"{found} = {out.constant(self._encode)}({value})")
        out.reject_if(f"not {out.constant(self._accepts)}({found})")
        return found
