"""Map type hints to codecs: JSON Schema, decoder and encoder in one pass.

A class that contains itself is written once under `$defs`, and each use refers to it. Every other class is written
where it is used.
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
from .codecs import Codec, any_codec, type_name
from .codecs.containers import list_codec, mapping_codec, set_codec, tuple_codec, variadic_tuple_codec
from .codecs.enums import enum_codec, literal_codec
from .codecs.records import MISSING, Field, record_codec, typed_dict_codec
from .codecs.scalars import SCALARS
from .codecs.unions import union_codec
from .constraints import constrain

__all__ = ["HintMapper", "map_hint"]

_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS = {set: set, abc.MutableSet: set, frozenset: frozenset, abc.Set: frozenset}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_SUPPORTED = (
    "a dataclass, TypedDict, NamedTuple or Enum, None, bool, int, float, str, bytes, Decimal, UUID, datetime, date, "
    "time, timedelta, Any, and list, tuple, set, dict, Union, Optional, Literal and Annotated of these"
)
_QUALIFIERS = (typing.Required, typing.NotRequired, typing.Final)


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
        self._in_progress: dict[Any, _RecursiveCodec] = {}
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

    def _special_form(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Codec:
        if origin is typing.Annotated:
            inner = self.codec(args[0])
            return dataclasses.replace(inner, json=constrain(inner.json, args[1:], type_name(args[0])))
        if origin is typing.Union or origin is types.UnionType:
            return union_codec([self.codec(arg) for arg in args], self.defs)
        if origin is typing.Literal:
            return literal_codec(args, hint)
        if origin in _QUALIFIERS:
            return self.codec(args[0])
        if isinstance(hint, typing.NewType):
            return self.codec(hint.__supertype__)
        if hasattr(hint, "__value__") and type(hint).__name__ == "TypeAliasType":
            return self._maybe_recursive(hint, hint.__name__, lambda: self.codec(hint.__value__))
        return self._container(hint, origin or hint, args)

    def _container(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Codec:
        if not isinstance(origin, type):
            raise _unsupported(hint)
        if origin is tuple:
            return self._tuple(hint, args)
        if origin in _LISTS:
            return list_codec(self.codec(args[0] if args else Any))
        if origin in _SETS:
            return set_codec(self.codec(args[0] if args else Any), _SETS[origin])
        if origin in _MAPPINGS:
            key, value = args or (str, Any)
            return mapping_codec(self.codec(key), self.codec(value), type_name(hint))
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
        if issubclass(kind, Enum):
            return enum_codec(kind)
        build: Callable[[], Codec]
        if dataclasses.is_dataclass(kind):
            build = lambda: record_codec(kind, list(self._dataclass_fields(kind, args)))  # noqa: E731
        elif typing.is_typeddict(kind):
            build = lambda: typed_dict_codec(list(self._typed_dict_fields(kind, args)))  # noqa: E731
        elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
            build = lambda: record_codec(kind, list(self._named_tuple_fields(kind, args)))  # noqa: E731
        else:
            raise _unsupported(hint)
        return self._maybe_recursive(hint, kind.__name__, lambda: _with_title(build(), kind))

    def _field_hints(self, kind: Any, args: tuple[Any, ...]) -> dict[str, Any]:
        """Return the hints of the fields of a class, with its type variables replaced by `args`."""
        try:
            # localns lets a class that is defined inside a function refer to itself by name
            found = typing.get_type_hints(kind, localns={kind.__name__: kind}, include_extras=True)
        except (NameError, TypeError) as error:
            name = type_name(kind)
            raise ConfigError(f"{name}: a type hint cannot be resolved: {error}", path=name) from error
        arguments = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
        return {name: _substitute(hint, arguments) for name, hint in found.items()} if arguments else found

    def _dataclass_fields(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        hints = self._field_hints(kind, args)
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            default = MISSING if field.default is dataclasses.MISSING else field.default
            # a factory runs for each value: what it makes now, such as a random id, is not part of the schema
            required = default is MISSING and field.default_factory is dataclasses.MISSING
            codec = self._field_codec(kind, field.name, hints[field.name])
            yield Field(field.name, codec, required, default)

    def _named_tuple_fields(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        hints = self._field_hints(kind, args)
        for name in kind._fields:
            default = kind._field_defaults.get(name, MISSING)
            yield Field(name, self._field_codec(kind, name, hints.get(name, Any)), default is MISSING, default)

    def _typed_dict_fields(self, kind: Any, args: tuple[Any, ...]) -> Iterator[Field]:
        for name, hint in self._field_hints(kind, args).items():
            # with postponed annotations Python 3.11 does not see the qualifiers, and calls every field required
            qualifiers = _required_qualifiers(hint)
            required = typing.Required in qualifiers if qualifiers else name in kind.__required_keys__
            yield Field(name, self._field_codec(kind, name, hint), required)

    def _field_codec(self, kind: Any, name: str, hint: Any) -> Codec:
        try:
            return self.codec(hint)
        except ConfigError as error:
            place = f"{type_name(kind)}.{name}"
            raise ConfigError(f"{place}: {error.message}", path=place, expected=error.expected) from error

    def _maybe_recursive(self, hint: Any, name: str, build: Callable[[], Codec]) -> Codec:
        """Return the codec that `build` makes of a hint; a hint that contains itself becomes a definition."""
        if hint in self._recursive:
            return self._recursive[hint]
        if hint in self._in_progress:
            return self._in_progress[hint].reference()
        placeholder = self._in_progress[hint] = _RecursiveCodec(name, self.defs)
        try:
            codec = build()
        finally:
            del self._in_progress[hint]
        reference = placeholder.complete(codec)
        if reference is None:
            return codec
        self._recursive[hint] = reference
        return reference


def _with_title(codec: Codec, kind: type) -> Codec:
    """Return the codec with the name of the class as title; documents use it, `FunctionSchema.fingerprint` does not."""
    return dataclasses.replace(codec, json={"title": kind.__name__, **codec.json})


class _RecursiveCodec:
    """The codec of a class that is being mapped.

    A use of the class inside itself gets a reference, which `complete` makes usable.
    """

    def __init__(self, name: str, defs: dict[str, Any]) -> None:
        self._name = name
        self._defs = defs
        self._key = ""
        self._reference: Codec | None = None
        self._codec = Codec({})

    def reference(self) -> Codec:
        """Return the codec of a reference to the class, and reserve its place in the definitions."""
        if self._reference is None:
            self._key, count = self._name, 1
            while self._key in self._defs:
                count += 1
                self._key = f"{self._name}{count}"
            self._defs[self._key] = {}
            json = {"$ref": f"#/$defs/{self._key}"}
            self._reference = Codec(json, self._decode, self._encode, (object,), self._children)
        return self._reference

    def complete(self, codec: Codec) -> Codec | None:
        """Set the codec of the class, and return the codec of a reference if there is one."""
        if self._reference is not None:
            self._codec = codec
            self._defs[self._key] = codec.json
        return self._reference

    def _decode(self, value: Any) -> Any:
        decode = self._codec.decode
        return value if decode is None else decode(value)

    def _encode(self, value: Any) -> Any:
        encode = self._codec.encode
        return value if encode is None else encode(value)

    def _children(self, value: Any) -> Iterator[tuple[Any, Codec, Any]]:
        return iter(()) if self._codec.children is None else iter(self._codec.children(value))


def _required_qualifiers(hint: Any) -> set[Any]:
    """Return which of Required and NotRequired stand around a hint."""
    found = set()
    while (origin := typing.get_origin(hint)) in (*_QUALIFIERS, typing.Annotated):
        found.add(origin)
        hint = typing.get_args(hint)[0]
    return found & {typing.Required, typing.NotRequired}


def _substitute(hint: Any, arguments: dict[Any, Any]) -> Any:
    """Return a hint with its type variables replaced."""
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    if variables and not isinstance(hint, type):
        return hint[tuple(arguments.get(name, name) for name in variables)]
    return hint


def _unsupported(hint: Any) -> ConfigError:
    if isinstance(hint, str | typing.ForwardRef):
        return ConfigError(
            f"the type hint {hint!r} is a name that cannot be resolved here; pass the type itself", path=str(hint)
        )
    name = type_name(hint)
    if isinstance(hint, typing.TypeVar):
        message = f"the type hint {name} is a type variable; give its class arguments, such as Box[int]"
        return ConfigError(message, path=name)
    return ConfigError(f"the type hint {name} has no JSON Schema", path=name, expected=_SUPPORTED)
