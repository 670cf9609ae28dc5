"""Describe a callable: make its schema from type hints, docstring and the options of `@function`."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from .._internal.settings import choice, instance
from ..errors import ConfigError
from ..schema import FunctionSchema, Parameters, Schema
from ..schema.callables import implementation_of, resolved_hints
from ..schema.documentation.docstrings import docstring_of, without_parameters
from .signature import given_parameters
from .wrappers import own_code, require_callable_by_name

__all__ = ["CallableDescription", "OutputCheck", "check_output_option", "describe"]

OutputCheck = Literal["error", "warn", "off"]

_OUTPUT_CHECKS = ("error", "warn", "off")
_OPTIONS = frozenset(
    (
        *("name", "version", "input", "output", "description", "tags", "examples"),
        *("idempotent", "cacheable", "deprecated", "timeout", "max_body", "raises", "validate_output"),
    )
)
_STREAM_ORIGINS = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


class CallableDescription(NamedTuple):
    """The arguments of `Function` beside the callable."""

    schema: FunctionSchema
    parameters: Parameters
    output: Schema
    validate_output: OutputCheck


def check_output_option(value: OutputCheck) -> OutputCheck:
    """Return the option `validate_output` unchanged. Raises ConfigError for another value."""
    return choice("function.validate_output", value, _OUTPUT_CHECKS)


def describe(target: Callable[..., Any], options: Mapping[str, Any]) -> CallableDescription:
    """Return the description of a callable.

    Args:
        target: the callable; a generator function is a stream.
        options: the options of `@function`.

    Raises: ConfigError for a callable without a schema, an unknown option, or a wrong value of one.
    """
    if not callable(target):
        raise ConfigError.invalid("function", target, "a callable")
    code = own_code(target)
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        message = f"{_name_of(target)} must be a function without async, got a coroutine function"
        raise ConfigError(message, path="function")
    settings = dict(options)
    if unknown := settings.keys() - _OPTIONS:
        raise ConfigError(
            f"@function has no option {', '.join(sorted(unknown))}",
            path="function",
            expected=", ".join(sorted(_OPTIONS)),
        )
    input_source, output_source = settings.pop("input", None), settings.pop("output", None)
    check = check_output_option(settings.pop("validate_output", "error"))
    streaming = inspect.isgeneratorfunction(implementation_of(target))
    parameters = Parameters.of(target) if input_source is None else given_parameters(target, input_source)
    require_callable_by_name(target, parameters, streaming)
    output = _output_of(target, _output_hint(target, streaming)) if output_source is None else Schema.of(output_source)
    description, name = settings.pop("description", None), settings.pop("name", None)
    instance("function.description", description, str, expected="a string", optional=True)
    schema = FunctionSchema(
        name=_own_name(target) if name is None else name,
        input=parameters.schema.json,
        output=output.json,
        description=without_parameters(docstring_of(target)) if description is None else description,
        tags=settings.pop("tags", ()),
        examples=settings.pop("examples", ()),
        streaming=streaming,
        **settings,
    )
    return CallableDescription(schema, parameters, output, check)


def _own_name(target: Any) -> str:
    """Return the name under which a callable is published. Raises: ConfigError for a lambda, which has none."""
    if (name := _name_of(target)) != "<lambda>":
        return name
    message = "function.name must be given for a lambda; use function(name=...)(lambda ...), or def"
    raise ConfigError(message, path="function.name")


def _name_of(target: Any) -> str:
    if isinstance(target, functools.partial):
        return _name_of(target.func)
    return str(getattr(target, "__name__", type(target).__name__))


def _output_of(target: Callable[..., Any], hint: Any) -> Schema:
    try:
        return Schema.of(hint)
    except ConfigError as error:
        if hint is target:
            message = f"{_name_of(target)} is a class without a JSON Schema"
            expected = "a function; a class with the decorator @service goes to apply_service"
            raise ConfigError(message, path="function", expected=expected) from error
        place = f"the result of {getattr(target, '__qualname__', _name_of(target))}"
        raise ConfigError(f"{place}: {error.message}", path=place, expected=error.expected) from error


def _output_hint(target: Callable[..., Any], streaming: bool) -> Any:
    """Return the type hint of the result, or of one item of a stream."""
    hint = target if inspect.isclass(target) else resolved_hints(target).get("return", Any)
    if not streaming:
        return hint
    if typing.get_origin(hint) in _STREAM_ORIGINS:
        arguments = typing.get_args(hint)
        return arguments[0] if arguments else Any
    return Any
