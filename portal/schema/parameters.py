"""Parameters: the input schema of a function; converts JSON parameters to arguments of a Python call, and back."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from ..context import CallContext
from ..errors import ConfigError, Fault, FunctionError, ValidationError
from ..errors.fault import limit_faults
from .callables import resolved_hints
from .codecs import Converter
from .codecs.record_shapes import FieldShape
from .codecs.records import MISSING, Field, shapes_of, typed_dict_codec
from .documentation.docstrings import docstring_of, parameter_descriptions
from .hints import HintMapper
from .hints.fields import require_plain_default
from .hints.forms import form_name, is_typed_dict
from .inline import Shapes
from .jsondata import pointer, shorten
from .loading import generate_load, plain_tests
from .schema import Schema, require_object
from .strictness import is_scalar

__all__ = ["Parameters", "is_context"]

_REJECTED_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, but parameters are passed by name; remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments, but parameters are passed by name; use a list",
    inspect.Parameter.VAR_KEYWORD: (
        "takes any name, but every parameter must be declared; use a dict, or give it the hint Unpack[a TypedDict]"
    ),
}

#: Decoders that leave a value of the exact class as it is.
_PLAIN = (None, int, float)


class Parameters:
    """The parameters of a function.

    Make them with `Parameters.of` or `Parameters.from_schema`.

    Args:
        schema: an object schema whose properties are the parameters, in the order of the signature.
        names: names of the parameters that callers pass, in order.
        positional: names of those that `bind` accepts by position; all of them when None.
        defaults: native defaults of the optional ones.
        decoders: name -> decoder, if the schema was made from a signature; None if `schema` decodes the whole object.
        absent: names of those that are left out if the caller leaves them out, as members of `**kwargs` are.
        unhashable: names of those whose native values are not hashable.
        accepted: names that the callable takes; None for any.
        inject: name of the parameter with the hint CallContext; it is not in the schema. None if there is none.
        fields: returns the shapes of the parameters, if the schema was made from a signature.

    Attributes:
        plain_tests: the source text of a fast test of `{0}` for each name (see `plain_test`); None if a parameter has
            none.
        load: JSON parameters -> native arguments by name, with defaults filled in. Raises ValidationError.

    Threads: immutable; any thread may use it. Every call gets the same objects of `defaults`, as in Python itself.
    """

    __slots__ = ("_accepted", "_encode", "_positional", "defaults", "inject", "load", "names", "plain_tests", "schema",
                 "unhashable")  # fmt: skip

    plain_tests: tuple[str, ...] | None
    load: Callable[[Mapping[str, Any]], dict[str, Any]]

    def __init__(
        self,
        schema: Schema,
        names: tuple[str, ...],
        *,
        positional: tuple[str, ...] | None = None,
        defaults: Mapping[str, Any] | None = None,
        decoders: Mapping[str, Converter | None] | None = None,
        absent: frozenset[str] = frozenset(),
        unhashable: tuple[str, ...] = (),
        accepted: frozenset[str] | None = None,
        inject: str | None = None,
        fields: Callable[[Shapes], tuple[FieldShape, ...]] | None = None,
    ) -> None:
        self.schema = schema
        self.names = names
        self.defaults = dict(defaults or {})
        self.inject = inject
        self.unhashable = unhashable
        self._accepted = accepted
        self._positional = names if positional is None else positional
        self._encode = schema.encode
        keep = decoders is not None and all(decode in _PLAIN for decode in decoders.values())
        self.plain_tests = plain_tests(schema, names) if keep else None
        if decoders is None:
            self.load = self._load_object
        else:
            self.load = generate_load(schema, names, self.defaults, decoders, self.plain_tests, absent, fields)

    @staticmethod
    def of(target: Callable[..., Any]) -> Parameters:
        """Return the parameters of a callable, from its signature and type hints; no hint means Any.

        Raises:
            ConfigError: a parameter is positional-only or variadic, or its hint has no JSON Schema.
        """
        where = getattr(target, "__qualname__", type(target).__qualname__)
        hints = resolved_hints(target)
        mapper = HintMapper()
        fields: list[Field] = []
        inject: str | None = None
        words = parameter_descriptions(docstring_of(target))
        for name, parameter in _signature_of(target, where).parameters.items():
            hint = hints.get(name, Any)
            if parameter.kind is inspect.Parameter.VAR_KEYWORD and form_name(typing.get_origin(hint)) == "Unpack":
                fields += _unpacked(mapper, where, parameter, typing.get_args(hint)[0], fields)
                continue
            if parameter.kind in _REJECTED_KINDS:
                raise ConfigError(f"{where}: {parameter} {_REJECTED_KINDS[parameter.kind]}", path=f"{where}.{name}")
            if not is_context(hint):
                fields.append(_field(mapper, where, parameter, hint))
            elif inject is None:
                inject = name
            else:
                message = f"{where}: only one parameter may have the hint CallContext, got both {inject} and {name}"
                raise ConfigError(message, path=f"{where}.{name}")
        codec = typed_dict_codec([_described(field, words.get(field.name)) for field in fields])
        return Parameters(
            Schema(mapper.with_defs(codec.json), kind="hint", source=target, codec=codec),
            tuple(field.name for field in fields),
            positional=tuple(field.name for field in fields if not field.keyword),
            defaults={field.name: field.default for field in fields if field.default is not MISSING},
            decoders={field.name: field.codec.decode for field in fields},
            absent=frozenset(field.name for field in fields if not field.required and field.default is MISSING),
            unhashable=tuple(field.name for field in fields if not field.codec.hashable),
            inject=inject,
            fields=lambda shapes: shapes_of(fields, shapes.of),
        )

    @staticmethod
    def from_schema(schema: Schema, *, inject: str | None = None, accepted: frozenset[str] | None = None) -> Parameters:
        """Return the parameters that a schema declares: its properties, with their defaults.

        Args:
            schema: the schema.
            inject: name of the parameter for the CallContext; None if there is none.
            accepted: names that the callable takes; others are rejected, also if the schema allows them. None for any.

        Raises:
            ConfigError: the schema is not an object.
        """
        properties = require_object(schema, "the input schema of a function")
        defaults = {
            name: schema_default
            for name, part in properties.items()
            if isinstance(part, dict) and (schema_default := part.get("default", MISSING)) is not MISSING
        }
        unhashable = tuple(name for name, part in properties.items() if not is_scalar(part))
        return Parameters(
            schema, tuple(properties), defaults=defaults, inject=inject, accepted=accepted, unhashable=unhashable
        )

    def _load_object(self, params: Mapping[str, Any]) -> dict[str, Any]:
        data = params if isinstance(params, dict) or not isinstance(params, Mapping) else dict(params)
        if self.defaults and isinstance(data, dict) and self.schema.kind == "json":
            # defaults of a JSON Schema are JSON data: they are validated and copied like what the caller sent
            data = {**{name: value for name, value in self.defaults.items() if name not in data}, **data}
        found = self.schema.load(data)
        if not isinstance(found, dict):
            return self._reject_native(params, found)
        if self._accepted is not None and not self._accepted.issuperset(found):
            raise ValidationError(errors=limit_faults(self._unknown(found)))
        return dict(found) if found is params else found

    def _unknown(self, found: dict[Any, Any]) -> Iterator[Fault]:
        """Yield a fault for each parameter that the callable does not take."""
        for name, value in found.items():
            if self._accepted is not None and name not in self._accepted:
                message = f"{shorten(name)} is unknown"
                yield Fault(pointer((name,)), message, "additionalProperties", False, shorten(value))

    def _reject_native(self, params: object, found: object) -> NoReturn:
        """Raise the error for a schema that makes no dict of parameters: the caller's if they are no object."""
        if isinstance(params, Mapping):
            kind = type(found).__name__
            message = f"the input schema must load a dict of arguments, got {kind}; return a dict from post_load"
            raise FunctionError(message, type="InvalidInput", private=True)
        message = f"must be an object, got {type(params).__name__}"
        raise ValidationError(errors=[Fault("", message, "type", "object", shorten(params))])

    def dump(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return native parameters as JSON parameters. Raises ValidationError with every fault."""
        found: dict[str, Any] = self.schema.dump(dict(kwargs))
        return found

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the native arguments of a Python call by name; defaults are not filled in.

        Raises:
            ValidationError: an argument is missing (rule "required"), unknown, passed twice, or one too many
                ("additionalProperties").
        """
        found = dict(zip(self._positional, args, strict=False)) if args else {}
        if len(args) > len(self._positional) or not found.keys().isdisjoint(kwargs):
            raise ValidationError(errors=self._binding_faults(args, kwargs, found))
        found.update(kwargs)
        names = self.names
        if len(found) != len(names) or any(name not in found for name in names):
            faults = self._binding_faults(args, kwargs, found)
            if faults:
                raise ValidationError(errors=faults)
        return found

    def _binding_faults(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: dict[str, Any]) -> list[Fault]:
        faults = []
        for value in args[len(self._positional) :]:
            message = f"at most {len(self._positional)} positional arguments are allowed, got {len(args)}"
            faults.append(Fault("", message, "additionalProperties", False, shorten(value)))
        for name in self._positional[: len(args)]:
            if name in kwargs:
                message = f"{name!r} must be passed once, got it by position and by name"
                faults.append(Fault(pointer((name,)), message, "additionalProperties", False, shorten(kwargs[name])))
        if self.schema.json.get("additionalProperties") is False:
            faults.extend(
                Fault(pointer((name,)), f"{name!r} is unknown", "additionalProperties", False, shorten(value))
                for name, value in kwargs.items()
                if name not in self.names
            )
        required = self.schema.json.get("required", [])
        faults.extend(
            Fault(pointer((name,)), f"{name!r} is required", "required", list(required))
            for name in required
            if name not in found and name not in kwargs and name not in self.defaults
        )
        return faults

    def __repr__(self) -> str:
        return f"Parameters({', '.join(self.names)})"


def _signature_of(target: Callable[..., Any], where: str) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (ValueError, TypeError) as error:  # some functions in C, and an object whose `__call__` is a property
        message = f"{where} has no signature: {error}; write a function around it"
        raise ConfigError(message, path=where) from error


def is_context(hint: Any) -> bool:
    """Return whether a hint is CallContext, or Optional or Annotated of it."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint is CallContext or CallContext in typing.get_args(hint)


def _described(field: Field, words: str | None) -> Field:
    """Return a field with the description of the docstring, unless its hint has one."""
    if words is None or "description" in field.codec.json:
        return field
    json = {**field.codec.json, "description": words}
    return dataclasses.replace(field, codec=dataclasses.replace(field.codec, json=json))


def _field(mapper: HintMapper, where: str, parameter: inspect.Parameter, hint: Any) -> Field:
    try:
        codec = mapper.codec(hint)
    except ConfigError as error:
        place = f"{where}({parameter.name})"
        raise ConfigError(f"{place}: {error.message}", path=place, expected=error.expected) from error
    required = parameter.default is inspect.Parameter.empty
    require_plain_default(parameter.default, f"{where}({parameter.name})")
    keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return Field(parameter.name, codec, required, MISSING if required else parameter.default, keyword)


def _unpacked(
    mapper: HintMapper, where: str, parameter: inspect.Parameter, hint: Any, others: list[Field]
) -> list[Field]:
    """Return the parameters that `**kwargs: Unpack[hint]` stands for: the members of a TypedDict."""
    place = f"{where}({parameter.name})"
    fields = mapper.record_fields(hint) if is_typed_dict(typing.get_origin(hint) or hint) else None
    if fields is None:
        raise ConfigError(f"{place}: Unpack must have a TypedDict, got {hint!r:.80}", path=place)
    if taken := {field.name for field in fields} & {field.name for field in others}:
        raise ConfigError(f"{place}: {', '.join(sorted(taken))} is a parameter already", path=place)
    return fields
