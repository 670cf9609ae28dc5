"""The fields of dataclasses, TypedDicts and named tuples, with the type arguments of generic classes in place."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import ConfigError
from ..codecs import type_name
from ..codecs.records import MISSING
from .forms import form_name, is_typed_dict, qualifiers_of, substitute, variables_of

__all__ = ["ClassField", "alias_value", "class_hints", "fields_of", "require_plain_default"]


class ClassField(NamedTuple):
    """One field of a class.

    Attributes:
        name: the name.
        hint: the hint of its value.
        required: whether it must be present.
        default: its native default, or MISSING.
        computed: whether the class computes it, and takes no argument for it.
    """

    name: str
    hint: Any
    required: bool
    default: Any = MISSING
    computed: bool = False


def fields_of(hint: Any, kind: Any, args: tuple[Any, ...]) -> list[ClassField] | None:
    """Return the fields of a dataclass, TypedDict or named tuple; None for another class.

    Args:
        hint: the hint, which is what Self stands for.
        kind: the class.
        args: its type arguments.

    Raises: ConfigError for a hint that cannot be resolved, and for a class that cannot be made from its fields.
    """
    try:
        if is_typed_dict(kind):
            return list(_typed_dict_fields(hint, kind, args))
        if dataclasses.is_dataclass(kind):
            found = list(_dataclass_fields(kind, _class_hints(hint, kind, args)))
        elif hasattr(kind, "__attrs_attrs__"):
            found = list(_attrs_fields(kind, _class_hints(hint, kind, args)))
        elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
            found = list(_named_tuple_fields(kind, _class_hints(hint, kind, args)))
        else:
            return None
    except (NameError, TypeError, AttributeError) as error:
        name = type_name(kind)
        raise ConfigError(f"{name}: a type hint cannot be resolved: {error}", path=name) from error
    _require_constructor(kind, found)
    return found


def _dataclass_fields(kind: Any, hints: dict[str, Any]) -> Iterator[ClassField]:
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar) or hint is dataclasses.InitVar:
            where = f"{type_name(kind)}.{name}"
            message = f"{where} is an InitVar, whose value is not kept and cannot be sent; make it a field"
            raise ConfigError(message, path=where)
    for field in dataclasses.fields(kind):
        default = MISSING if field.default is dataclasses.MISSING else field.default
        require_plain_default(default, f"{type_name(kind)}.{field.name}")
        if field.init:
            # a factory runs for each value: what it makes now, such as a random id, is not part of the schema
            required = default is MISSING and field.default_factory is dataclasses.MISSING
            yield ClassField(field.name, hints[field.name], required, default)
        elif not field.name.startswith("_"):
            yield ClassField(field.name, hints[field.name], required=False, computed=True)


def require_plain_default(default: Any, where: str) -> None:
    """Raise ConfigError for a default that describes a field, as `Field(ge=1)` of pydantic does."""
    if {"FieldInfo", "Representation"} <= {kind.__name__ for kind in type(default).__mro__}:
        message = f"{where}: {default!r:.80} is not a default value; write it inside Annotated, and the default after ="
        raise ConfigError(message, path=where, expected="a hint such as Annotated[int, Field(ge=1)]")


def _attrs_fields(kind: Any, hints: dict[str, Any]) -> Iterator[ClassField]:
    """Yield the fields of an attrs class; `NOTHING` and a `Factory` are recognized by name, without importing attrs."""
    for field in kind.__attrs_attrs__:
        where = f"{type_name(kind)}.{field.name}"
        if field.init and field.alias != field.name:
            message = f"{where} is passed as {field.alias}; give it alias={field.name!r}, or a name without underscore"
            raise ConfigError(message, path=where)
        is_factory = type(field.default).__name__ == "Factory"
        is_missing = type(field.default).__name__ == "_Nothing"
        default = MISSING if is_factory or is_missing else field.default
        require_plain_default(default, where)
        hint = hints.get(field.name, Any if field.type is None else field.type)
        if field.init:
            yield ClassField(field.name, hint, default is MISSING and not is_factory, default)
        elif not field.name.startswith("_"):
            yield ClassField(field.name, hint, required=False, computed=True)


def _named_tuple_fields(kind: Any, hints: dict[str, Any]) -> Iterator[ClassField]:
    for name in kind._fields:
        default = kind._field_defaults.get(name, MISSING)
        yield ClassField(name, hints.get(name, Any), default is MISSING, default)


def _typed_dict_fields(hint: Any, kind: Any, args: tuple[Any, ...]) -> Iterator[ClassField]:
    extra = getattr(kind, "__extra_items__", None)
    absent = [getattr(sys.modules.get(name), "NoExtraItems", None) for name in ("typing", "typing_extensions")]
    if extra not in (None, *absent) and form_name(extra) != "Never":
        where = type_name(kind)
        raise ConfigError(f"{where} has extra_items, but every member must be declared; use a dict", path=where)
    for name, found in _typed_dict_hints(kind, variables_of(kind, args))[1].items():
        # with postponed annotations Python 3.11 does not see the qualifiers, and calls every field required
        qualifiers = qualifiers_of(found) & {"Required", "NotRequired"}
        required = "Required" in qualifiers if qualifiers else name in kind.__required_keys__
        yield ClassField(name, substitute(found, {"Self": hint}), required)


def _typed_dict_hints(kind: Any, variables: dict[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the hints of a TypedDict as they are written, and with its type variables replaced.

    A TypedDict has the annotations of its bases as its own, and no base class but dict.
    """
    written = class_hints(kind)
    own = inspect.get_annotations(kind)
    inherited: dict[str, Any] = {}
    of_bases: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for base, values in _generic_bases(kind, variables):
        if is_typed_dict(base):
            of_base, replaced = _typed_dict_hints(base, values)
            inherited |= of_base
            of_bases |= inspect.get_annotations(base)
            found |= replaced
    for name, hint in written.items():
        if name not in inherited or (inherited[name] != hint and of_bases[name] != own[name]):
            found[name] = substitute(hint, variables)
    return written, {name: found[name] for name in written}


def _class_hints(hint: Any, kind: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the hints of the attributes of a class; each class that it inherits from has type arguments of its own."""
    variables: dict[Any, dict[Any, Any]] = {}
    _add_variables(variables, kind, variables_of(kind, args))
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        own = inspect.get_annotations(base)
        if own:
            resolved = class_hints(base)
            values = {**variables.get(base, {}), "Self": hint}
            found |= {name: substitute(resolved[name], values) for name in own if name in resolved}
    return found


def _add_variables(found: dict[Any, dict[Any, Any]], kind: Any, values: dict[Any, Any]) -> None:
    if kind not in found:
        found[kind] = values
        for base, arguments in _generic_bases(kind, values):
            _add_variables(found, base, arguments)


def _generic_bases(kind: Any, variables: dict[Any, Any]) -> Iterator[tuple[Any, dict[Any, Any]]]:
    """Yield the bases of a class, each with the arguments of its type variables."""
    for written in vars(kind).get("__orig_bases__", kind.__bases__):
        base = typing.get_origin(written) or written
        if isinstance(base, type) and base not in (typing.Generic, typing.Protocol):
            args = tuple(substitute(arg, variables) for arg in typing.get_args(written))
            yield base, variables_of(base, args)


def class_hints(kind: Any) -> dict[str, Any]:
    """Return the hints of a class and its bases, with names resolved."""
    # names: a class that is defined inside a function may refer to itself; type parameters may be in quotes
    names = {kind.__name__: kind} | _type_parameters(kind)
    return typing.get_type_hints(kind, localns=names, include_extras=True)


def _type_parameters(kind: Any) -> dict[str, Any]:
    """Return the type parameters in brackets of a class and its bases by name, those of the class before others."""
    found: dict[str, Any] = {}
    for written in vars(kind).get("__orig_bases__", kind.__bases__):
        base = typing.get_origin(written) or written
        if isinstance(base, type) and base is not typing.Generic:
            found |= _type_parameters(base)
    return found | {name.__name__: name for name in getattr(kind, "__type_params__", ())}


def alias_value(alias: Any) -> Any:
    """Return the hint that an alias of the statement `type` stands for, with names resolved.

    Raises: ConfigError for a name that cannot be resolved.
    """

    def holder() -> None: ...

    names = {alias.__name__: alias} | {name.__name__: name for name in alias.__type_params__}
    module = sys.modules.get(alias.__module__)
    try:
        holder.__annotations__ = {"value": alias.__value__}
        scope = {} if module is None else vars(module)
        return typing.get_type_hints(holder, globalns=scope, localns=names, include_extras=True)["value"]
    except (NameError, TypeError, AttributeError) as error:
        raise ConfigError(f"{alias.__name__}: its value cannot be resolved: {error}", path=alias.__name__) from error


def _require_constructor(kind: Any, fields: list[ClassField]) -> None:
    """Raise ConfigError if a class does not take its fields by name, as one with an `__init__` of its own may not."""
    if inspect.isabstract(kind):
        name = type_name(kind)
        raise ConfigError(f"{name} is abstract, so it has no instances; use a union of its subclasses", path=name)
    try:
        signature = inspect.signature(kind)
    except ValueError:  # a class of an extension may have none
        return
    arguments = [field for field in fields if not field.computed]
    for names in ({field.name for field in arguments}, {field.name for field in arguments if field.required}):
        try:
            signature.bind(**dict.fromkeys(names))
        except TypeError as error:
            name = type_name(kind)
            message = f"{name} cannot be made from its fields: {error}; its constructor must take them by name"
            raise ConfigError(message, path=name) from error
