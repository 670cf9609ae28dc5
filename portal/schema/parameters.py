"""Parameters: the input schema of a function; converts JSON parameters to arguments of a Python call, and back."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ..context import CallContext
from ..errors import ConfigError, Fault, ValidationError
from ..errors.failure import is_failure
from .codecs import Converter, generate, plain_test
from .codecs.records import MISSING, Field, typed_dict_codec
from .hints import HintMapper
from .jsondata import pointer, shorten
from .schema import Schema, require_object

__all__ = ["Parameters", "if_plain", "resolved_hints"]

_REJECTED_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, but parameters are passed by name; remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments, but parameters are passed by name; take a list",
    inspect.Parameter.VAR_KEYWORD: "takes any name, but every parameter must be declared; take a dict",
}


def resolved_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a callable by parameter name, with "return" for the result.

    Raises:
        ConfigError: a hint contains a name that cannot be resolved.
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
    """The parameters of a function.

    Make them with `Parameters.of` or `Parameters.from_schema`.

    Args:
        schema: an object schema whose properties are the parameters, in the order of the signature.
        names: names of the parameters that callers pass, in order.
        positional: names of those that `bind` accepts by position; all of them when None.
        defaults: native defaults of the optional ones.
        decoders: name -> decoder, if the schema was made from a signature; None if `schema` decodes the whole object.
        inject: name of the parameter with the hint CallContext; it is not in the schema. None if there is none.

    Attributes:
        plain_tests: the source text of a fast test of `{0}` for each name (see `plain_test`); None if a parameter has
            none.
        load: JSON parameters -> native arguments by name, with defaults filled in. Raises ValidationError.

    Threads: immutable; any thread may use it. Every call gets the same objects of `defaults`, as in Python itself.
    """

    __slots__ = ("_encode", "_positional", "defaults", "inject", "load", "names", "plain_tests", "schema")

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
            self.load = self._load_object
        else:
            self.load = _generate_load(schema, names, self.defaults, decoders, self.plain_tests)

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
        for name, parameter in inspect.signature(target).parameters.items():
            if parameter.kind in _REJECTED_KINDS:
                raise ConfigError(f"{where}: {parameter} {_REJECTED_KINDS[parameter.kind]}", path=f"{where}.{name}")
            hint = hints.get(name, Any)
            if not _is_context(hint):
                fields.append(_field(mapper, where, parameter, hint))
            elif inject is None:
                inject = name
            else:
                message = f"{where}: only one parameter may have the hint CallContext, got both {inject} and {name}"
                raise ConfigError(message, path=f"{where}.{name}")
        codec = typed_dict_codec(fields)
        return Parameters(
            Schema(mapper.with_defs(codec.json), kind="hint", source=target, codec=codec),
            tuple(field.name for field in fields),
            positional=tuple(field.name for field in fields if not field.keyword),
            defaults={field.name: field.default for field in fields if field.default is not MISSING},
            decoders={field.name: field.codec.decode for field in fields},
            inject=inject,
        )

    @staticmethod
    def from_schema(schema: Schema) -> Parameters:
        """Return the parameters that a schema declares: its properties, with their defaults.

        Raises:
            ConfigError: the schema is not an object.
        """
        properties = require_object(schema, "the input schema of a function")
        defaults = {
            name: schema_default
            for name, part in properties.items()
            if isinstance(part, dict) and (schema_default := part.get("default", MISSING)) is not MISSING
        }
        return Parameters(schema, tuple(properties), defaults=defaults)

    def _load_object(self, params: Mapping[str, Any]) -> dict[str, Any]:
        data = params if isinstance(params, dict) or not isinstance(params, Mapping) else dict(params)
        if self.defaults and isinstance(data, dict) and self.schema.kind == "json":
            # defaults of a JSON Schema are JSON data: they are validated and copied like what the caller sent
            data = {**{name: value for name, value in self.defaults.items() if name not in data}, **data}
        found = self.schema.load(data)
        if not isinstance(found, dict):
            message = f"must be an object, got {type(params).__name__}"
            raise ValidationError(errors=[Fault("", message, "type", "object", shorten(params))])
        return dict(found) if found is params else found

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


def _is_context(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    return hint is CallContext or CallContext in typing.get_args(hint)


def _field(mapper: HintMapper, where: str, parameter: inspect.Parameter, hint: Any) -> Field:
    try:
        codec = mapper.codec(hint)
    except ConfigError as error:
        place = f"{where}({parameter.name})"
        raise ConfigError(f"{place}: {error.message}", path=place, expected=error.expected) from error
    required = parameter.default is inspect.Parameter.empty
    keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return Field(parameter.name, codec, required, MISSING if required else parameter.default, keyword)


def _plain_tests(schema: Schema, names: tuple[str, ...]) -> tuple[str, ...] | None:
    tests = [plain_test(schema.json.get("properties", {}).get(name)) for name in names]
    found = tuple(test for test in tests if test is not None)
    return found if len(found) == len(names) else None


def if_plain(tests: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return source text that ends in an `if`: `params` is a dict of exactly these names, and every value passes.

    The body, indented by two spaces, finds the values in value0, value1, and so on.
    """
    values = "".join(f"   value{index} = params[{name!r}]\n" for index, name in enumerate(names))
    fit = " and ".join(test.format(f"value{index}") for index, test in enumerate(tests)) or "True"
    return (
        f" fits = False\n if params.__class__ is dict and len(params) == {len(names)}:\n"
        f"  try:\n{values}   fits = {fit}\n  except KeyError:\n   fits = False\n if fits:\n"
    )


def _generate_load(
    schema: Schema,
    names: tuple[str, ...],
    defaults: Mapping[str, Any],
    decoders: Mapping[str, Converter | None],
    tests: tuple[str, ...] | None,
) -> Callable[[Any], dict[str, Any]]:
    """Generate `Parameters.load`: one test of the whole object, then one expression for each parameter."""
    scope: dict[str, Any] = {"accepts": schema.accepts, "slow": _slow_load(schema)}
    members = []
    for index, name in enumerate(names):
        scope[f"decode{index}"] = decoders[name]
        got = f"params[{name!r}]" if decoders[name] is None else f"decode{index}(params[{name!r}])"
        if name in defaults:
            scope[f"default{index}"] = defaults[name]
            got += f" if {name!r} in params else default{index}"
        members.append(f"{name!r}: {got}")
    unchanged = ", ".join(f"{name!r}: value{index}" for index, name in enumerate(names))
    fast_path = "" if tests is None else f"{if_plain(tests, names)}  return {{{unchanged}}}\n"
    source = (
        f"def codec(params):\n{fast_path}"
        " if not accepts(params):\n  params = slow(params, None)\n"
        f" try:\n  return {{{', '.join(members)}}}\n except BaseException as error:\n  slow(params, error)\n  raise"
    )
    return generate(source, scope)


def _slow_load(schema: Schema) -> Callable[[Any, BaseException | None], Any]:
    """Return what generated code calls off its fast path.

    For rejected parameters it returns a dict that fits, if the parameters are another Mapping, or raises
    ValidationError. For what a decoder raised it raises the error to send, or returns if there is none.
    """

    def slow(params: Any, error: BaseException | None) -> Any:
        if error is not None:
            if not is_failure(error):
                return None
            raise schema.decode_error(params, error) from error
        if isinstance(params, Mapping) and type(params) is not dict:
            params = dict(params)
            if schema.accepts(params):
                return params
        raise ValidationError(errors=schema.faults(params))

    return slow
