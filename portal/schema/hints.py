"""Type hints mapped to nodes: JSON Schema, decoder and encoder in one pass.

A class that contains itself is written once under $defs and referred to; every other class is written where it stands.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import abc
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from ..errors import ConfigError
from .codecs import SCALARS, Node, Unfit, any_node
from .constraints import constrain
from .containers import list_node, mapping_node, set_node, tuple_node, variadic_node
from .jsondata import is_json
from .records import MISSING, Field, record_node, typed_dict_node
from .unions import union_node

__all__ = ["HintMapper", "map_hint", "type_name"]

_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS = {set: set, abc.MutableSet: set, frozenset: frozenset, abc.Set: frozenset}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_HINTS = (
    "a dataclass, TypedDict, NamedTuple or Enum, None, bool, int, float, str, bytes, Decimal, UUID, datetime, date, "
    "time, timedelta, Any, and list, tuple, set, dict, Union, Optional, Literal and Annotated of these"
)
_MARKS = (typing.Required, typing.NotRequired, typing.Final)


def type_name(hint: Any) -> str:
    """The hint as a person writes it."""
    if typing.get_origin(hint) is None and isinstance(hint, type):
        return hint.__qualname__
    return str(hint).replace("typing.", "")


def map_hint(hint: Any) -> Node:
    """The node of one hint, with $defs in its JSON Schema where the hint is recursive.

    Raises:
        ConfigError: for a hint that has no JSON form, naming it.
    """
    mapper = HintMapper()
    node = mapper.node(hint)
    return dataclasses.replace(node, json=mapper.with_defs(node.json))


class HintMapper:
    """Maps the hints of one schema; they share their named definitions. For one thread."""

    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}
        self._open: dict[Any, _Named] = {}
        self._recursive: dict[Any, Node] = {}

    def with_defs(self, json: dict[str, Any]) -> dict[str, Any]:
        """The root schema with the definitions that it refers to."""
        return {**json, "$defs": self.defs} if self.defs else json

    def node(self, hint: Any) -> Node:
        """The node of a hint inside this schema."""
        if hint is None:
            hint = type(None)
        try:
            scalar = SCALARS.get(hint)
        except TypeError:  # an unhashable hint, such as Literal of a list
            scalar = None
        if scalar is not None:
            return scalar
        if hint is Any or hint is object:
            return any_node()
        return self._special(hint, typing.get_origin(hint), typing.get_args(hint))

    def _special(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Node:
        if origin is typing.Annotated:
            inner = self.node(args[0])
            return dataclasses.replace(inner, json=constrain(inner.json, args[1:], type_name(args[0])))
        if origin is typing.Union or origin is types.UnionType:
            return union_node([self.node(arg) for arg in args], self.defs)
        if origin is typing.Literal:
            return _literal(args, hint)
        if origin in _MARKS:
            return self.node(args[0])
        if isinstance(hint, typing.NewType):
            return self.node(hint.__supertype__)
        if hasattr(hint, "__value__") and type(hint).__name__ == "TypeAliasType":
            return self._named(hint, hint.__name__, lambda: self.node(hint.__value__))
        return self._container(hint, origin or hint, args)

    def _container(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Node:
        if origin is tuple:
            return self._tuple(hint, args)
        if origin in _LISTS:
            return list_node(self.node(args[0] if args else Any))
        if origin in _SETS:
            return set_node(self.node(args[0] if args else Any), _SETS[origin])
        if origin in _MAPPINGS:
            key, value = args or (str, Any)
            return mapping_node(self.node(key), self.node(value), type_name(hint))
        if isinstance(origin, type):
            return self._class(hint, origin, args)
        raise _unmapped(hint)

    def _tuple(self, hint: Any, args: tuple[Any, ...]) -> Node:
        if not args:
            # bare tuple holds anything; tuple[()] is the empty tuple
            return variadic_node(any_node()) if hint is tuple or hint is typing.Tuple else tuple_node(())  # noqa: UP006
        if args[-1] is Ellipsis:
            return variadic_node(self.node(args[0]))
        return tuple_node([self.node(arg) for arg in args])

    def _class(self, hint: Any, kind: type, args: tuple[Any, ...]) -> Node:
        if issubclass(kind, Enum):
            return _enum(kind)
        fields: Callable[[], Node]
        if dataclasses.is_dataclass(kind):
            fields = lambda: record_node(kind, list(self._dataclass(kind, args)))  # noqa: E731
        elif typing.is_typeddict(kind):
            fields = lambda: typed_dict_node(list(self._typed_dict(kind, args)))  # noqa: E731
        elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
            fields = lambda: record_node(kind, list(self._named_tuple(kind, args)))  # noqa: E731
        else:
            raise _unmapped(hint)
        return self._named(hint, kind.__name__, lambda: _titled(fields(), kind))

    def _hints(self, kind: Any, args: tuple[Any, ...]) -> dict[str, Any]:
        try:
            # a class of a function's body finds itself by name only here
            found = typing.get_type_hints(kind, localns={kind.__name__: kind}, include_extras=True)
        except (NameError, TypeError) as error:
            raise ConfigError(
                f"{type_name(kind)}: a type hint cannot be resolved: {error}", path=type_name(kind)
            ) from error
        given = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
        return {name: _substituted(hint, given) for name, hint in found.items()} if given else found

    def _dataclass(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        hints = self._hints(kind, args)
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            default = field.default
            if default is dataclasses.MISSING:
                default = MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()
            yield Field(field.name, self._field(kind, field.name, hints), default is MISSING, default)

    def _named_tuple(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        hints = self._hints(kind, args)
        for name in kind._fields:
            hints.setdefault(name, Any)
            default = kind._field_defaults.get(name, MISSING)
            yield Field(name, self._field(kind, name, hints), default is MISSING, default)

    def _typed_dict(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        for name, hint in self._hints(kind, args).items():
            # with postponed annotations Python 3.11 does not see the marks inside the text, and calls all required
            marks = _marks(hint)
            required = name in kind.__required_keys__
            if marks:
                required = typing.Required in marks
            yield Field(name, self._field(kind, name, {name: hint}), required)

    def _field(self, kind: Any, name: str, hints: dict[str, Any]) -> Node:
        try:
            return self.node(hints[name])
        except ConfigError as error:
            inner = f"{type_name(kind)}.{name}"
            raise ConfigError(f"{inner}: {error.message}", path=inner, expected=error.expected) from error

    def _named(self, hint: Any, name: str, build: Callable[[], Node]) -> Node:
        """The node of something that may contain itself."""
        if hint in self._recursive:
            return self._recursive[hint]
        if hint in self._open:
            return self._open[hint].reference()
        named = self._open[hint] = _Named(name, self)
        try:
            node = build()
        finally:
            del self._open[hint]
        if named.ref is None:
            return node
        named.node = node
        self.defs[named.key] = node.json
        self._recursive[hint] = named.ref
        return named.ref


def _titled(node: Node, kind: type) -> Node:
    """The class's name as the title, by which documents know it; see FunctionSchema.fingerprint."""
    return dataclasses.replace(node, json={"title": kind.__name__, **node.json})


class _Named:
    """A class being mapped; whoever meets it again meanwhile gets a reference that is filled in later."""

    def __init__(self, name: str, mapper: HintMapper) -> None:
        self.name = name
        self.mapper = mapper
        self.key = ""
        self.ref: Node | None = None
        self.node = Node({})

    def reference(self) -> Node:
        if self.ref is None:
            taken = self.mapper.defs
            self.key, count = self.name, 1
            while self.key in taken:
                count += 1
                self.key = f"{self.name}{count}"
            taken[self.key] = {}
            self.ref = Node({"$ref": f"#/$defs/{self.key}"}, self.decode, self.encode, (object,), self.children)
        return self.ref

    def decode(self, value: Any) -> Any:
        codec = self.node.decode
        return value if codec is None else codec(value)

    def encode(self, value: Any) -> Any:
        codec = self.node.encode
        return value if codec is None else codec(value)

    def children(self, value: Any) -> Iterator[tuple[Any, Node, Any]]:
        return iter(()) if self.node.children is None else iter(self.node.children(value))


def _marks(hint: Any) -> set[Any]:
    found = set()
    while (origin := typing.get_origin(hint)) in (*_MARKS, typing.Annotated):
        found.add(origin)
        hint = typing.get_args(hint)[0]
    return found & {typing.Required, typing.NotRequired}


def _substituted(hint: Any, given: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint)
    free = getattr(hint, "__parameters__", ())
    if free and not isinstance(hint, type):
        return hint[tuple(given.get(name, name) for name in free)]
    return hint


def _literal(values: tuple[Any, ...], hint: Any) -> Node:
    if any(isinstance(value, Enum) for value in values):
        return _choices(
            {_enum_value(value, hint) if isinstance(value, Enum) else value: value for value in values}, hint
        )
    return _choices({(type(value), value): value for value in values}, hint, plain=True)


def _enum(kind: type[Enum]) -> Node:
    return _choices({_enum_value(member, kind): member for member in kind}, kind, kind)


def _enum_value(member: Enum, hint: Any) -> Any:
    value = member.value
    if type(value) not in (str, int, float, bool, type(None)):
        raise ConfigError(f"{type_name(hint)}: the value of {member!r} is no JSON scalar", path=type_name(hint))
    return value


def _choices(table: dict[Any, Any], hint: Any, kind: type | None = None, *, plain: bool = False) -> Node:
    """An enumeration of JSON scalars, each with its native value."""
    values = list(table.values()) if plain else list(table)
    if not values or not all(is_json(value) for value in values):
        raise ConfigError(f"{type_name(hint)}: a choice is no JSON scalar, or there is none", path=type_name(hint))
    kinds = list(dict.fromkeys(_JSON_NAMES[type(value)] for value in values))
    json = {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}
    if plain:
        return Node(json, natives=tuple({type(value) for value in values}))
    natives = {id(member): value for value, member in table.items()}

    def encode(value: Any) -> Any:
        if isinstance(value, Enum):
            return natives.get(id(value), Unfit(value))
        return value if kind is None else Unfit(value)

    return Node(json, table.__getitem__, encode, (kind,) if kind else tuple({type(v) for v in table.values()}))


_JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _unmapped(hint: Any) -> ConfigError:
    if isinstance(hint, str | typing.ForwardRef):
        return ConfigError(f"the type hint {hint!r} is a name that cannot be looked up here", path=str(hint))
    told = f"the type hint {type_name(hint)} has no JSON form"
    if isinstance(hint, typing.TypeVar):
        return ConfigError(f"{told}; give it a value for its type variables", path=type_name(hint))
    return ConfigError(told, path=type_name(hint), expected=_HINTS)
