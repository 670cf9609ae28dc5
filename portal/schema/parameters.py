"""Parameters: the input schema of a function, and the way from JSON parameters to a Python call and back."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..context import CallContext
from ..errors import ConfigError, Fault, ValidationError
from .codecs import Node, generate, plain_test
from .hints import HintMapper
from .jsondata import shorten
from .records import MISSING, Field, typed_dict_node
from .schema import Schema, require_object

__all__ = ["Parameters", "if_plain", "resolved_hints"]

_REFUSED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, but parameters travel by name; drop the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments, but parameters travel by name; take a list",
    inspect.Parameter.VAR_KEYWORD: "takes any name, but every parameter must be declared; take a dict",
}


def resolved_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a callable by parameter name, "return" among them.

    Raises:
        ConfigError: for a hint that names something which cannot be looked up.
    """
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isroutine(target) or inspect.isclass(target)):
        target = type(target).__call__
    if inspect.isclass(target):
        target = target.__init__
    target = inspect.unwrap(target)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        name = getattr(target, "__qualname__", str(target))
        raise ConfigError(
            f"{name}: a type hint cannot be resolved: {error}", path=name, expected="names defined at module level"
        ) from error


class Parameters:
    """The parameters of a function, by name.

    Attributes:
        schema: an object schema: properties in the order of the signature, required, no others.
        names: the parameters that travel, in order.
        defaults: native defaults of those that may be left out.
        inject: the parameter annotated CallContext, which does not travel, or None.

    Threads: immutable; any thread may use it. `defaults` are handed to every call as Python does with its own.
    """

    __slots__ = ("_encode", "_positional", "defaults", "inject", "load", "names", "plain_tests", "schema")

    #: Source text of a test of `{0}` for each of the names: what passes fits, and is the same natively as in JSON.
    #: None where a parameter has no such test.
    plain_tests: tuple[str, ...] | None
    #: load(params) -> kwargs: JSON parameters -> native ones with defaults filled. Raises ValidationError.
    load: Callable[[Mapping[str, Any]], dict[str, Any]]

    def __init__(
        self,
        schema: Schema,
        names: tuple[str, ...],
        *,
        positional: tuple[str, ...] | None = None,
        defaults: Mapping[str, Any] | None = None,
        decoders: Mapping[str, Callable[[Any], Any] | None] | None = None,
        inject: str | None = None,
    ) -> None:
        self.schema = schema
        self.names = names
        self.defaults = dict(defaults or {})
        self.inject = inject
        self._positional = names if positional is None else positional
        self._encode = schema.encode
        self.plain_tests = None if decoders is None else _plain_tests(schema, names)
        if decoders is None:
            self.load = self._load_whole
        else:
            self.load = _loader(schema, names, self.defaults, decoders, self.plain_tests)

    @staticmethod
    def of(target: Callable[..., Any]) -> Parameters:
        """The parameters of a callable, from its signature and type hints; unannotated ones are Any.

        Raises:
            ConfigError: for positional-only and variadic parameters and for hints that cannot be mapped, by name.
        """
        where = getattr(target, "__qualname__", type(target).__qualname__)
        hints = resolved_hints(target)
        mapper = HintMapper()
        fields: list[Field] = []
        inject: str | None = None
        for name, parameter in inspect.signature(target).parameters.items():
            if parameter.kind in _REFUSED:
                raise ConfigError(f"{where}: {parameter} {_REFUSED[parameter.kind]}", path=f"{where}.{name}")
            hint = hints.get(name, Any)
            if _is_context(hint):
                if inject is not None:
                    raise ConfigError(
                        f"{where}: {inject} and {name} both ask for the CallContext", path=f"{where}.{name}"
                    )
                inject = name
                continue
            fields.append(_field(mapper, where, parameter, hint))
        node = typed_dict_node(fields)
        schema = Schema(
            mapper.with_defs(node.json),
            kind="hint",
            source=target,
            decode=node.decode,
            encode=node.encode,
            node=node,
        )
        return Parameters(
            schema,
            tuple(field.name for field in fields),
            positional=tuple(field.name for field in fields if not field.keyword),
            defaults={field.name: field.default for field in fields if field.default is not MISSING},
            decoders={field.name: field.node.decode for field in fields},
            inject=inject,
        )

    @staticmethod
    def from_schema(schema: Schema) -> Parameters:
        """The parameters that a schema declares: its properties, with the defaults it states.

        Raises:
            ConfigError: for a schema that is no object.
        """
        properties = require_object(schema, "the input schema of a function")
        defaults = {
            name: schema_default
            for name, part in properties.items()
            if isinstance(part, dict) and (schema_default := part.get("default", MISSING)) is not MISSING
        }
        return Parameters(schema, tuple(properties), defaults=defaults)

    def _load_whole(self, params: Mapping[str, Any]) -> dict[str, Any]:
        data = params if isinstance(params, dict) or not isinstance(params, Mapping) else dict(params)
        if self.defaults and isinstance(data, dict) and self.schema.kind == "json":
            # defaults of a JSON Schema are JSON data: they go through the check and are copied like what was sent
            data = {**{name: value for name, value in self.defaults.items() if name not in data}, **data}
        found = self.schema.load(data)
        if not isinstance(found, dict):
            raise ValidationError(errors=[Fault("", "must be an object", "type", "object", shorten(params))])
        return dict(found) if found is params else found

    def dump(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Native parameters by name -> JSON parameters. Raises ValidationError with every fault."""
        found: dict[str, Any] = self.schema.dump(dict(kwargs))
        return found

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """A Python call's native arguments by name; defaults are not filled.

        Raises:
            ValidationError: for missing (rule "required"), unknown, duplicate and too many ("additionalProperties").
        """
        found = dict(zip(self._positional, args, strict=False)) if args else {}
        if len(args) > len(self._positional) or not found.keys().isdisjoint(kwargs):
            raise ValidationError(errors=self._misbound(args, kwargs, found))
        found.update(kwargs)
        names = self.names
        if len(found) != len(names) or any(name not in found for name in names):
            faults = self._misbound(args, kwargs, found)
            if faults:
                raise ValidationError(errors=faults)
        return found

    def _misbound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], found: dict[str, Any]) -> list[Fault]:
        faults = []
        for value in args[len(self._positional) :]:
            text = f"takes {len(self._positional)} positional arguments, and {len(args)} were given"
            faults.append(Fault("", text, "additionalProperties", False, shorten(value)))
        for name in self._positional[: len(args)]:
            if name in kwargs:
                text = f"{name!r} was given twice, by place and by name"
                faults.append(Fault(f"/{name}", text, "additionalProperties", False, shorten(kwargs[name])))
        if self.schema.json.get("additionalProperties") is False:
            for name in kwargs:
                if name not in self.names:
                    text = f"{name!r} is not known"
                    faults.append(Fault(f"/{name}", text, "additionalProperties", False, shorten(kwargs[name])))
        required = self.schema.json.get("required", [])
        faults.extend(
            Fault(f"/{name}", f"{name!r} is required", "required", list(required))
            for name in required
            if name not in found and name not in kwargs and name not in self.defaults
        )
        return faults

    def __repr__(self) -> str:
        return f"Parameters({', '.join(self.names)})"


def _is_context(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint is CallContext or CallContext in typing.get_args(hint)


def _field(mapper: HintMapper, where: str, parameter: inspect.Parameter, hint: Any) -> Field:
    try:
        node: Node = mapper.node(hint)
    except ConfigError as error:
        inner = f"{where}({parameter.name})"
        raise ConfigError(f"{inner}: {error.message}", path=inner, expected=error.expected) from error
    missing = parameter.default is inspect.Parameter.empty
    keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return Field(parameter.name, node, missing, MISSING if missing else parameter.default, keyword)


def _plain_tests(schema: Schema, names: tuple[str, ...]) -> tuple[str, ...] | None:
    tests = [plain_test(schema.json.get("properties", {}).get(name)) for name in names]
    known = tuple(test for test in tests if test is not None)
    return known if len(known) == len(names) else None


def if_plain(tests: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Source text that ends in an `if`: `params` is a dict of just these names, with values that pass.

    The values are value0, value1, ... in its body, which is indented by two spaces.
    """
    values = "".join(f"   value{index} = params[{name!r}]\n" for index, name in enumerate(names))
    fit = " and ".join(test.format(f"value{index}") for index, test in enumerate(tests)) or "True"
    return (
        f" fits = False\n if params.__class__ is dict and len(params) == {len(names)}:\n"
        f"  try:\n{values}   fits = {fit}\n  except KeyError:\n   fits = False\n if fits:\n"
    )


def _loader(
    schema: Schema,
    names: tuple[str, ...],
    defaults: Mapping[str, Any],
    decoders: Mapping[str, Callable[[Any], Any] | None],
    tests: tuple[str, ...] | None,
) -> Callable[[Any], dict[str, Any]]:
    """Flat code for load: one accept check, then one expression a parameter."""
    scope: dict[str, Any] = {"accepts": schema.accepts, "slow": _slow_load(schema)}
    parts = []
    for index, name in enumerate(names):
        scope[f"decode{index}"] = decoders[name]
        got = f"params[{name!r}]" if decoders[name] is None else f"decode{index}(params[{name!r}])"
        if name in defaults:
            scope[f"default{index}"] = defaults[name]
            got += f" if {name!r} in params else default{index}"
        parts.append(f"{name!r}: {got}")
    same = ", ".join(f"{name!r}: value{index}" for index, name in enumerate(names))
    quick = "" if tests is None else f"{if_plain(tests, names)}  return {{{same}}}\n"
    source = (
        f"def codec(params):\n{quick}"
        " if not accepts(params):\n  params = slow(params, None)\n"
        f" try:\n  return {{{', '.join(parts)}}}\n except Exception as error:\n  raise slow(params, error) from error"
    )
    return generate(source, scope)


def _slow_load(schema: Schema) -> Callable[[Any, Exception | None], Any]:
    def slow(params: Any, error: Exception | None) -> Any:
        if error is not None:
            return schema._decode_error(params, error)
        if isinstance(params, Mapping) and type(params) is not dict:
            params = dict(params)
            if schema.accepts(params):
                return params
        raise ValidationError(errors=schema.faults(params))

    return slow
