"""Shapes of objects with named members: dataclasses, named tuples and TypedDicts."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
from typing import Any, NamedTuple

from .shapes import Shape
from .writer import Writer

__all__ = ["ABSENT", "FieldShape", "MembersShape", "RecordShape", "has_plain_constructor", "is_plain_name"]

#: The file name of the methods that the dataclass decorator generates.
_GENERATED_METHOD = "<string>"
ABSENT: Any = object()


class FieldShape(NamedTuple):
    """One member.

    Attributes:
        name: the name.
        shape: the shape of its value.
        required: whether it must be present.
        default: its native default; `ABSENT` if there is none, or if a factory makes it.
    """

    name: str
    shape: Shape
    required: bool
    default: Any = ABSENT


def is_plain_name(name: str) -> bool:
    """Return whether a name can stand in generated code as an attribute or an argument."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


class RecordShape:
    """An instance of a class that takes its fields by name, and has them as attributes.

    Args:
        kind: the class.
        fields: its fields, in the order of the class.
        is_plain: whether the class runs no code of its user when it is called; see `has_plain_constructor`.
    """

    is_same = False

    def __init__(self, kind: type, fields: tuple[FieldShape, ...], is_plain: bool) -> None:
        self._kind = kind
        self._fields = fields
        self.is_pure = is_plain and all(field.shape.is_pure for field in fields)
        self._by_position = is_plain and _takes_by_position(kind, fields)

    def load(self, out: Writer, value: str) -> str:
        found, optional = load_members(out, value, self._fields)
        if not out.builds:
            return value
        if self._by_position and optional is None:
            arguments = list(found.values())
        else:
            arguments = [f"{name}={expression}" for name, expression in found.items()]
            arguments += [] if optional is None else [f"**{optional}"]
        if self._by_position and issubclass(self._kind, tuple) and optional is None:
            new = out.constant(tuple.__new__)
            return f"{new}({out.constant(self._kind)}, ({''.join(part + ', ' for part in arguments)}))"
        return f"{out.constant(self._kind)}({', '.join(arguments)})"

    def dump(self, out: Writer, value: str) -> str:
        out.reject_if(f"{value}.__class__ is not {out.constant(self._kind)}")
        members = []
        for field in self._fields:
            part = out.name()
            out.line(f"{part} = {value}.{field.name}")
            members.append(f"{field.name!r}: {field.shape.dump(out, part)}")
        return f"{{{', '.join(members)}}}"


class MembersShape:
    """A dict with named members, as a TypedDict is. Args: the members."""

    is_same = False

    def __init__(self, fields: tuple[FieldShape, ...]) -> None:
        self._fields = fields
        self.is_pure = all(field.shape.is_pure for field in fields)

    def load(self, out: Writer, value: str) -> str:
        return self._converted(out, value, "load")

    def dump(self, out: Writer, value: str) -> str:
        return self._converted(out, value, "dump")

    def _converted(self, out: Writer, value: str, direction: str) -> str:
        """Write a copy with the order of the original, in which converted members are replaced."""
        found = out.name()
        out.reject_if(f"{value}.__class__ is not dict")
        out.line(f"{found} = {value}.copy()")
        count = _count_of(out, self._fields)
        for field in self._fields:
            part = out.name()
            convert = field.shape.load if direction == "load" else field.shape.dump
            if field.required:
                out.line(f"{part} = {value}[{field.name!r}]")
                _replace(out, found, field, part, convert(out, part))
                continue
            out.line(f"{part} = {value}.get({field.name!r}, {out.constant(ABSENT)})")
            with out.block(f"if {part} is not {out.constant(ABSENT)}:"):
                _add_one(out, count)
                _replace(out, found, field, part, convert(out, part))
        _reject_others(out, value, self._fields, count)
        return found


def _replace(out: Writer, found: str, field: FieldShape, part: str, expression: str) -> None:
    if not field.shape.is_same:
        out.line(f"{found}[{field.name!r}] = {expression}")


def load_members(out: Writer, value: str, fields: tuple[FieldShape, ...]) -> tuple[dict[str, str], str | None]:
    """Write the conversion of the members of an object. An absent member gets its native default.

    Returns: the native values by name; the name of a dict with those that may be absent, or None.
    """
    out.reject_if(f"{value}.__class__ is not dict")
    count = _count_of(out, fields)
    found: dict[str, str] = {}
    optional: str | None = None
    for field in fields:
        part = out.name()
        if field.required:
            out.line(f"{part} = {value}[{field.name!r}]")
            found[field.name] = field.shape.load(out, part)
            continue
        has_default = field.default is not ABSENT
        if not has_default and optional is None:
            optional = out.name()
            out.line(f"{optional} = {{}}")
        absent, made = out.constant(ABSENT), out.name()
        out.line(f"{part} = {value}.get({field.name!r}, {absent})")
        if has_default:
            found[field.name] = made
            out.line(f"{made} = {out.constant(field.default)}")
        with out.block(f"if {part} is not {absent}:"):
            _add_one(out, count)
            expression = field.shape.load(out, part)
            out.line(f"{made} = {expression}" if has_default else f"{optional}[{field.name!r}] = {expression}")
    _reject_others(out, value, fields, count)
    return found, optional


def _count_of(out: Writer, fields: tuple[FieldShape, ...]) -> str:
    """Return the name of a variable that counts the members, or their number if none is optional."""
    required = sum(field.required for field in fields)
    if required == len(fields) or not out.checks:
        return str(required)
    count = out.name()
    out.line(f"{count} = {required}")
    return count


def _add_one(out: Writer, count: str) -> None:
    if out.checks:
        out.line(f"{count} += 1")


def _reject_others(out: Writer, value: str, fields: tuple[FieldShape, ...], count: str) -> None:
    """Write a check for members that are not declared: those that are have been counted."""
    out.reject_if(f"len({value}) != {count}")


def has_plain_constructor(kind: type) -> bool:
    """Return whether calling a class runs no code of its user, as the decorator or `NamedTuple` has generated it."""
    if type(kind).__call__ is not type.__call__ or hasattr(kind, "__del__"):
        return False
    own: Any = kind
    if not dataclasses.is_dataclass(kind):
        return bool(kind.__bases__ == (tuple,) and own.__new__.__module__ == f"namedtuple_{kind.__name__}")
    fields = dataclasses.fields(kind)
    return (
        own.__new__ is object.__new__
        and not hasattr(own, "__post_init__")
        and _is_generated(own.__init__)
        and (own.__setattr__ is object.__setattr__ or _is_generated(own.__setattr__))
        and all(field.init and field.default_factory in (dataclasses.MISSING, list, dict, set) for field in fields)
        and not any(_has_setter(own, field.name) for field in fields)
    )


def _is_generated(method: Any) -> bool:
    return inspect.isfunction(method) and method.__code__.co_filename == _GENERATED_METHOD


def _has_setter(kind: type, name: str) -> bool:
    found = inspect.getattr_static(kind, name, None)
    return not inspect.ismemberdescriptor(found) and hasattr(type(found), "__set__")


def _takes_by_position(kind: type, fields: tuple[FieldShape, ...]) -> bool:
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        return False
    return [parameter.name for parameter in parameters] == [field.name for field in fields] and all(
        parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters
    )
