"""Map type hints to codecs: JSON Schema, decoder and encoder in one pass.

A class that contains itself is written once under `$defs`, and each use refers to it. Every other class is written
where it is used.
"""

from __future__ import annotations

import collections
import dataclasses
import types
import typing
from collections import abc
from collections.abc import Callable
from enum import Enum
from typing import Any

from ...errors import ConfigError
from ..codecs import Codec, any_codec, type_name
from ..codecs.containers import list_codec, sequence_codec, set_codec, tuple_codec, variadic_tuple_codec
from ..codecs.enums import enum_codec, literal_codec
from ..codecs.files import BYTES, FILE, File, RawBytes
from ..codecs.mappings import mapping_codec
from ..codecs.records import Field, record_codec, typed_dict_codec
from ..codecs.scalars import SCALARS
from ..codecs.unions import union_codec
from ..constraints import constrain
from ..foreign.models import foreign_codec
from ..jsondata import MAX_DEPTH
from .fields import ClassField, alias_value, fields_of
from .forms import QUALIFIERS, form_name, is_typed_dict, substitute, variable_default, variables_of
from .references import RecursiveCodec

__all__ = ["HintMapper", "map_hint"]

_LISTS = {list: list, collections.deque: collections.deque}
_SEQUENCES = (abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS = {set: set, abc.MutableSet: set, frozenset: frozenset, abc.Set: frozenset}
_MAPPINGS = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.Counter: collections.Counter,
}
_SUPPORTED = (
    "a dataclass, TypedDict, NamedTuple, Enum or Flag, None, bool, int, float, str, bytes, Decimal, Fraction, UUID, "
    "datetime, date, time, timedelta, Path, an IP address, Any, and list, tuple, set, dict, deque, Union, Optional, "
    "Literal and Annotated of these, an attrs class, a model of pydantic or msgspec, and a type of register_type"
)
#: Classes in progress at a time; a generic alias that contains itself with other arguments has no end.
_MAX_NESTING = MAX_DEPTH


def map_hint(hint: Any) -> Codec:
    """Return the codec of one hint; its JSON Schema has `$defs` if the hint is recursive.

    Raises:
        ConfigError: the hint has no JSON Schema.
    """
    mapper = HintMapper()
    codec = mapper.codec(hint)
    return dataclasses.replace(codec, json=mapper.with_defs(codec.json))


class HintMapper:
    """Maps the hints of one schema; they share their named definitions.

    Attributes:
        defs: the definitions: name -> JSON Schema.

    Threads: one.
    """

    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}
        self._in_progress: dict[Any, RecursiveCodec] = {}
        self._recursive: dict[Any, Codec] = {}

    def with_defs(self, json: dict[str, Any]) -> dict[str, Any]:
        """Return the root schema with the definitions that it refers to."""
        return {**json, "$defs": self.defs} if self.defs else json

    def codec(self, hint: Any) -> Codec:
        """Return the codec of a hint inside this schema. Raises ConfigError if the hint has no JSON Schema."""
        if hint is None:
            hint = type(None)
        try:
            scalar = SCALARS.get(hint)
        except TypeError:  # an unhashable hint, such as Literal of a list
            scalar = None
        if scalar is not None:
            return scalar
        if hint is Any or hint is object:
            return any_codec()
        return self._special_form(hint, typing.get_origin(hint), typing.get_args(hint))

    def record_fields(self, hint: Any) -> list[Field] | None:
        """Return the fields of a dataclass, TypedDict or named tuple; None for another hint."""
        kind = typing.get_origin(hint) or hint
        if not isinstance(kind, type):
            return None
        fields = fields_of(hint, kind, typing.get_args(hint))
        return None if fields is None else [self._field(kind, field) for field in fields]

    def _special_form(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Codec:
        if origin is typing.Annotated:
            is_raw = args[0] is bytes and any(isinstance(one, RawBytes) for one in args[1:])
            return constrain(BYTES if is_raw else self.codec(args[0]), args[1:], type_name(args[0]))
        if hint is File:
            return FILE
        if origin is typing.Union or origin is types.UnionType:
            return union_codec([self.codec(arg) for arg in args], self.defs)
        if origin is typing.Literal:
            return literal_codec(args, hint)
        if form_name(origin) in QUALIFIERS:
            return self.codec(args[0])
        if form_name(hint) == "LiteralString":
            return SCALARS[str]
        if isinstance(hint, typing.NewType):
            return self.codec(hint.__supertype__)
        if type(origin or hint).__name__ == "TypeAliasType":
            return self._alias(hint, origin or hint, args)
        if isinstance(hint, typing.TypeVar) and (default := variable_default(hint)) is not None:
            return self.codec(default)
        return self._container(hint, origin or hint, args)

    def _alias(self, hint: Any, alias: Any, args: tuple[Any, ...]) -> Codec:
        variables = variables_of(alias, args)
        value = alias_value(alias)
        return self._maybe_recursive(hint, alias.__name__, lambda: self.codec(substitute(value, variables)))

    def _container(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Codec:
        if not isinstance(origin, type):
            raise _unsupported(hint)
        if origin is tuple:
            return self._tuple(hint, args)
        item = args[0] if args else Any
        if origin in _LISTS:
            return list_codec(self.codec(item), _LISTS[origin])
        if origin in _SEQUENCES:
            return sequence_codec(self.codec(item), origin)
        if origin in _SETS:
            return set_codec(self.codec(item), _SETS[origin], type_name(hint))
        if origin in _MAPPINGS:
            key, value = (item if args else str), (int if origin is collections.Counter else (args or (str, Any))[1])
            return mapping_codec(self.codec(key), self.codec(value), type_name(hint), _MAPPINGS[origin])
        return self._class(hint, origin, args)

    def _tuple(self, hint: Any, args: tuple[Any, ...]) -> Codec:
        if not args:
            # tuple without arguments holds anything; tuple[()] is the empty tuple
            unparameterized = hint is tuple or hint is typing.Tuple  # noqa: UP006
            return variadic_tuple_codec(any_codec()) if unparameterized else tuple_codec(())
        if args[-1] is Ellipsis:
            return variadic_tuple_codec(self.codec(args[0]))
        return tuple_codec([self.codec(arg) for arg in args])

    def _class(self, hint: Any, kind: type, args: tuple[Any, ...]) -> Codec:
        foreign = foreign_codec(kind, self.defs)
        if foreign is not None:
            return foreign
        if issubclass(kind, Enum):
            return enum_codec(kind)
        return self._maybe_recursive(hint, kind.__name__, lambda: self._record(hint, kind))

    def _record(self, hint: Any, kind: type) -> Codec:
        fields = self.record_fields(hint)
        if fields is None:
            raise _unsupported(hint)
        codec = typed_dict_codec(fields) if is_typed_dict(kind) else record_codec(kind, fields)
        # documents use the title; `FunctionSchema.fingerprint` does not
        return dataclasses.replace(codec, json={"title": kind.__name__, **codec.json})

    def _field(self, kind: type, field: ClassField) -> Field:
        try:
            codec = self.codec(field.hint)
        except ConfigError as error:
            place = f"{type_name(kind)}.{field.name}"
            raise ConfigError(f"{place}: {error.message}", path=place, expected=error.expected) from error
        return Field(field.name, codec, field.required, field.default, computed=field.computed)

    def _maybe_recursive(self, hint: Any, name: str, build: Callable[[], Codec]) -> Codec:
        """Return the codec that `build` makes of a hint; a hint that contains itself becomes a definition."""
        if hint in self._recursive:
            return self._recursive[hint]
        if hint in self._in_progress:
            return self._in_progress[hint].reference()
        if len(self._in_progress) >= _MAX_NESTING:
            message = f"the type hint {name} contains itself without end, each time with other type arguments"
            raise ConfigError(message, path=name)
        placeholder = self._in_progress[hint] = RecursiveCodec(name, self.defs)
        try:
            codec = build()
        finally:
            del self._in_progress[hint]
        reference = placeholder.complete(codec)
        if reference is None:
            return codec
        self._recursive[hint] = reference
        return reference


def _unsupported(hint: Any) -> ConfigError:
    if isinstance(hint, str | typing.ForwardRef):
        return ConfigError(
            f"the type hint {hint!r} is a name that cannot be resolved here; pass the type itself", path=str(hint)
        )
    name = type_name(hint)
    if isinstance(hint, typing.TypeVar):
        message = f"the type hint {name} is a type variable; give its class arguments, such as Box[int]"
        return ConfigError(message, path=name)
    if (typing.get_origin(hint) or hint) in (abc.Iterator, abc.Generator):
        message = f"the type hint {name} has no JSON Schema; yield the items for a stream, or use Iterable for an array"
        return ConfigError(message, path=name)
    if form_name(hint) == "Self":
        return ConfigError("the type hint Self has a meaning only inside a class", path=name)
    return ConfigError(f"the type hint {name} has no JSON Schema", path=name, expected=_SUPPORTED)
