"""FunctionSchema: name, version, input, output and options of a function, as data that is sent to clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from .._internal.settings import flag, positive_seconds, require, whole_number
from ..errors import ConfigError, SerializationError, ValidationError
from .documentation.errors import declared_errors, is_row
from .fingerprint import fingerprint_of
from .jsondata import MAX_DEPTH, shorten, too_deep
from .names import check_name, check_version
from .schema import Schema
from .transfer import Transfer, transfer_of

__all__ = ["FunctionSchema"]

_FLAGS = ("idempotent", "cacheable", "streaming", "deprecated")


@dataclass(frozen=True)
class FunctionSchema:
    """The schema of a function.

    Attributes:
        name: one segment of an address; see `check_name`.
        version: a version by PEP 440.
        input: JSON Schema of the parameters, an object.
        output: JSON Schema of the result, or of one item if `streaming`.
        description: text for people.
        tags: words that group functions in documents.
        examples: dicts with "input" and "output".
        idempotent: whether calling it twice has the same effect as calling it once.
        cacheable: whether the same input gives the same output for a while.
        streaming: whether it returns a stream of items.
        deprecated: whether new callers should use another function.
        timeout: seconds that a call may take, or None.
        max_body: bytes of the body of an HTTP request at most; None for the limit of the server.
        raises: the errors that it declares, a dict for each; see `portal.schema.documentation.errors`.

    Raises:
        RegistryError: kind "invalid", for an invalid name or version.
        ConfigError: a flag is not True or False, the timeout is not a number of seconds above 0, tags are not strings,
            or examples are not dicts.

    Threads: immutable; any thread may use it.
    """

    name: str
    version: str = "1"
    input: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    output: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()
    idempotent: bool = False
    cacheable: bool = False
    streaming: bool = False
    deprecated: bool = False
    timeout: float | None = None
    raises: tuple[dict[str, Any], ...] = ()
    max_body: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_version(self.version)
        positive_seconds("function.timeout", self.timeout, optional=True)
        whole_number("function.max_body", self.max_body, minimum=1, optional=True)
        for name in _FLAGS:
            flag(f"function.{name}", getattr(self, name))
        object.__setattr__(self, "tags", _tuple_of(str, "function.tags", self.tags, "a list of strings"))
        object.__setattr__(self, "examples", _tuple_of(Mapping, "function.examples", self.examples, "a list of dicts"))
        object.__setattr__(self, "raises", declared_errors(self.raises))
        transfer_of(self.input, where=self.name)  # raises for markers that contradict each other

    @cached_property
    def fingerprint(self) -> str:
        """8 hex digits of name, version, input and output; see `fingerprint_of`."""
        return fingerprint_of(self.name, self.version, self.input, self.output)

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.fingerprint))

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON data: a member for each attribute, and the fingerprint."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        found["tags"] = list(self.tags)
        found["examples"] = [dict(example) for example in self.examples]
        found["raises"] = [dict(row) for row in self.raises]
        found["fingerprint"] = self.fingerprint
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FunctionSchema:
        """Return the schema that `to_dict` wrote. Unknown members are ignored: a newer peer may send them.

        Raises:
            SerializationError: a member has the wrong type, the name is missing, or JSON Schemas are nested too deeply.
            RegistryError: the name or version is invalid.
        """
        if not isinstance(data, Mapping):
            raise SerializationError(f"a function schema must be an object, got {type(data).__name__}")
        members = {name: value for name, value in data.items() if name in _MEMBERS}
        if "name" not in members:
            raise SerializationError("a function schema must have a name")
        for name, value in members.items():
            _check_member(name, value)
        if any(too_deep(members.get(name)) for name in ("input", "output", "examples", "raises")):
            raise SerializationError(f"a function schema must be nested at most {MAX_DEPTH} levels deep")
        try:
            return cls(**members)
        except ConfigError as error:
            raise SerializationError(str(error)) from None

    @cached_property
    def transfer(self) -> Transfer | None:
        """The parts of an HTTP request outside the members of its JSON object; None if there are none."""
        return transfer_of(self.input, None if self.streaming else self.output, self.name)

    @cached_property
    def input_schema(self) -> Schema:
        """The input schema, compiled on first use. Formats are validated, as they are where the function runs."""
        return self._compile("input")

    @cached_property
    def output_schema(self) -> Schema:
        """The output schema, compiled on first use. Formats are validated."""
        return self._compile("output")

    def _compile(self, member: str) -> Schema:
        """Return a compiled schema. One that cannot be compiled is tried once, as a server may have sent it."""
        failures: dict[str, ConfigError] = self.__dict__.setdefault("_failures", {})
        if member in failures:
            raise _copy(failures[member])
        try:
            return Schema.of(getattr(self, member), formats=True)
        except ConfigError as error:
            # The raised one refers to all frames of the call, and so to this schema: such a cycle stays until the
            # garbage collector has run.
            failures[member] = _copy(error)
            raise

    def validate_input(self, params: Any) -> None:
        """Raise ValidationError with every fault if the JSON parameters do not fit."""
        _validate(self.input_schema, params)

    def validate_output(self, value: Any) -> None:
        """Raise ValidationError with every fault if the JSON result does not fit."""
        _validate(self.output_schema, value)

    def __getstate__(self) -> dict[str, Any]:
        # compiled schemas cannot be pickled; they are compiled again on first use
        return {item.name: self.__dict__[item.name] for item in fields(self)}


def _copy(error: ConfigError) -> ConfigError:
    return ConfigError(error.message, path=error.path, expected=error.expected)


def _tuple_of(kind: type, setting: str, values: Any, expected: str) -> tuple[Any, ...]:
    """Return an iterable as a tuple. Raises ConfigError for one string, and for items that are not of the class."""
    iterable = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    found = tuple(values) if iterable else ()
    require(iterable and all(isinstance(item, kind) for item in found), setting, values, expected)
    return found


def _validate(schema: Schema, value: Any) -> None:
    if not schema.accepts(value):
        raise ValidationError(errors=schema.faults(value))


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_item, value))


#: Member -> (what it must be, the test for it).
_MEMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a string", _is_string),
    "version": ("a string", _is_string),
    "input": ("an object", _is_object),
    "output": ("an object", _is_object),
    "description": ("a string", _is_string),
    "tags": ("a list of strings", _list_of(_is_string)),
    "examples": ("a list of objects", _list_of(_is_object)),
    **dict.fromkeys(_FLAGS, ("true or false", _is_bool)),
    "timeout": ("a number or null", lambda value: value is None or type(value) in (int, float)),
    "max_body": ("a number of bytes or null", lambda value: value is None or type(value) is int),
    "raises": ("a list of errors, each with a name, code and status", _list_of(is_row)),
}


def _check_member(name: str, value: Any) -> None:
    expected, is_valid = _MEMBERS[name]
    if not is_valid(value):
        raise SerializationError(f"{name} of a function schema must be {expected}, got {shorten(value)}")
