"""Compare a callable with the schema that the options of `@function` give its parameters.

A schema that is given beside the hints may promise what the callable does not take. Such a function would fail on each
call; it is rejected when it is made.
"""

from __future__ import annotations

import inspect
import typing
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..schema import Parameters, Schema
from ..schema.callables import resolved_hints
from ..schema.hints.forms import is_typed_dict
from ..schema.parameters import is_context
from ..schema.subschemas import resolve

__all__ = ["given_parameters"]

#: Keywords whose schemas may declare members beside `properties`.
_COMPOSED = frozenset(
    ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "patternProperties",
     "unevaluatedProperties")
)  # fmt: skip
#: Keywords whose schemas may or may not apply to a value.
_CONDITIONAL = frozenset(("$dynamicRef", "anyOf", "oneOf", "if", "dependentSchemas", "dependentRequired"))


class _Accepted(NamedTuple):
    """The parameters that a callable accepts by name.

    Attributes:
        names: the names of its parameters.
        required: those without a default.
        takes_more: whether it takes other names too, by `**members`.
        inject: the name of the parameter for the CallContext, or None.
    """

    names: frozenset[str]
    required: tuple[str, ...]
    takes_more: bool
    inject: str | None


def given_parameters(target: Callable[..., Any], source: Any) -> Parameters:
    """Return the parameters of a callable by the schema in the option `input`.

    Raises: ConfigError if the callable does not take what the schema accepts.
    """
    where = getattr(target, "__qualname__", type(target).__qualname__)
    accepted = _accepted(target, where)
    if isinstance(source, dict) and source.get("type", "object") == "object" and accepted is not None:
        source = _without_other_members(source, accepted)
    schema = Schema.of(source)
    _require_members(schema, where)
    if accepted is None:
        return Parameters.from_schema(schema)
    given = Parameters.from_schema(
        schema, inject=accepted.inject, accepted=None if accepted.takes_more else accepted.names
    )
    _compare(schema, given, accepted, where)
    return given


def _accepted(target: Callable[..., Any], where: str) -> _Accepted | None:
    """Return what a callable takes; None if it has no signature, as some functions in C."""
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):
        return None
    try:
        hints = resolved_hints(target)
    except ConfigError:  # the schema takes the place of the hints
        hints = {}
    names: list[str] = []
    required: list[str] = []
    takes_more, inject = False, None
    is_method = _is_unbound_method(target)
    for name, parameter in signature.parameters.items():
        has_default = parameter.default is not inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
        elif is_context(hints.get(name, Any)):
            inject = name
        elif parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            names.append(name)
            if not has_default and not (is_method and not names[1:]):
                required.append(name)
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY and not has_default:
            message = f"{where}: {parameter} is positional-only, but parameters are passed by name; remove the '/'"
            raise ConfigError(message, path=f"{where}.{name}")
    return _Accepted(frozenset(names), tuple(required), takes_more, inject)


def _is_unbound_method(target: Any) -> bool:
    """Return whether a function was defined in the body of a class, where its first parameter is the instance."""
    *_, owner, _ = ("", "<locals>", *target.__qualname__.split(".")) if inspect.isfunction(target) else ("<locals>", "")
    return owner != "<locals>"


def _without_other_members(source: dict[str, Any], accepted: _Accepted) -> dict[str, Any]:
    """Return a JSON Schema that says that unknown members are rejected, where the callable takes no others.

    `Parameters` rejects them also under a composed schema, where no keyword says so as plainly.
    """
    properties = source.get("properties")
    is_json_schema = "type" in source or isinstance(properties, dict)
    if accepted.takes_more or not is_json_schema or "additionalProperties" in source or _COMPOSED & source.keys():
        return source
    return {**source, "additionalProperties": False}


def _require_members(schema: Schema, where: str) -> None:
    """Raise ConfigError for a type hint whose values are not dicts and cannot be passed by name."""
    if schema.kind != "hint":
        return
    kind = typing.get_origin(schema.source) or schema.source
    if not (is_typed_dict(kind) or kind in (dict, abc.Mapping, abc.MutableMapping)):
        advice = "declare a parameter of this type instead"
        message = f"{where}: input= must be a TypedDict or a dict, got {schema.source!r:.80}; {advice}"
        raise ConfigError(message, path="function.input")


def _compare(schema: Schema, given: Parameters, accepted: _Accepted, where: str) -> None:
    members = _Members.of(schema)
    if members is None:
        return
    if not accepted.takes_more:
        if unknown := [name for name in members.names if name not in accepted.names]:
            message = (
                f"{where} has no parameter {', '.join(unknown)} of the input schema; add the parameter or **members"
            )
            raise ConfigError(
                message, path="function.input", expected=", ".join(sorted(accepted.names)) or "no members"
            )
        if members.is_open:
            message = (
                f"{where} must have **members, because the input schema allows other names; add it, or close the schema"
            )
            raise ConfigError(message, path="function.input", expected="additionalProperties: false, or none")
    if members.is_complete:
        missing = [name for name in accepted.required if name not in members.always and name not in given.defaults]
        if missing:
            message = (
                f"{where} requires {', '.join(missing)}, which the input schema does not; list it in properties and "
                "required, or use **members for a whole object"
            )
            raise ConfigError(message, path="function.input", expected=f"a schema that requires {', '.join(missing)}")


class _Members(NamedTuple):
    """The members of the objects that a schema accepts.

    Attributes:
        names: those that it names.
        always: those that each object has.
        is_open: whether it says that it allows others.
        is_complete: whether `always` has all of them.
    """

    names: tuple[str, ...]
    always: frozenset[str]
    is_open: bool
    is_complete: bool

    @staticmethod
    def of(schema: Schema) -> _Members | None:
        """Return the members of a schema; None if hooks of marshmallow decide about them."""
        if schema.kind == "marshmallow":
            return _marshmallow_members(schema.source)
        parts = list(_applied(schema.json, schema.json, 0))
        names = {name: None for part in parts for name in part.get("properties", {})}
        always = frozenset(name for part in parts for name in part.get("required", ()))
        more = schema.json.get("additionalProperties", None)
        is_open = bool(schema.json.get("patternProperties")) or (more is not None and more is not False)
        return _Members(tuple(names), always, is_open, not any(_CONDITIONAL & part.keys() for part in parts))


_MAX_PARTS = 32


def _applied(root: dict[str, Any], schema: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the schemas that apply to each value of a schema: itself, and those under `allOf` and `$ref`."""
    if not isinstance(schema, dict) or depth > _MAX_PARTS:
        return
    yield schema
    for part in schema.get("allOf", ()):
        yield from _applied(root, part, depth + 1)
    if "$ref" in schema:
        yield from _applied(root, resolve(root, schema["$ref"]), depth + 1)


def _marshmallow_members(source: Any) -> _Members | None:
    import marshmallow as m

    if isinstance(source, dict):
        loader: m.Schema = m.Schema.from_dict(source)()
    else:
        loader = source() if isinstance(source, type) else source
    hooks: Mapping[Any, Any] = getattr(loader, "_hooks", {})
    if any(
        name == "post_load" or (isinstance(name, tuple) and name[0] == "post_load") for name in hooks if hooks[name]
    ):
        return None
    fields = {field.attribute or name: field for name, field in loader.load_fields.items()}
    if loader.many or any("." in name for name in fields):
        return None
    always = {
        name
        for name, field in fields.items()
        if (field.required and not loader.partial) or field.load_default is not m.missing
    }
    return _Members(tuple(fields), frozenset(always), loader.unknown == m.INCLUDE, is_complete=True)
