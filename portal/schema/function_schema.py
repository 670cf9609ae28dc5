"""FunctionSchema: the contract of a function, as data that travels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from .._internal.settings import flag, positive_seconds
from ..errors import ConfigError, RegistryError, SerializationError, ValidationError
from .jsondata import copy_json
from .schema import Schema
from .subschemas import walk

__all__ = ["FunctionSchema", "check_name", "check_version"]

_FORBIDDEN = frozenset("/@?#%")
#: Characters of a version, or of a range of versions.
MAX_VERSION = 128
_MAX_NAME = 200
_FLAGS = ("idempotent", "cacheable", "streaming", "deprecated")


def check_name(name: object) -> str:
    """The name of a function or service, if it can be one segment of an address as it stands.

    Raises:
        RegistryError: kind "invalid", for an empty or overlong name, "." and "..", and names with "/", "@", "?", "#",
            "%", white space, control characters or lone surrogates.
    """
    reason = _name_fault(name)
    if reason:
        raise RegistryError(f"{name!r:.120} is no name: {reason}", name=str(name)[:_MAX_NAME], kind="invalid")
    return str(name)


def _name_fault(name: object) -> str:
    if not isinstance(name, str):
        return "it is no text"
    if not name or len(name) > _MAX_NAME:
        return f"it must have 1 to {_MAX_NAME} characters"
    if name in (".", ".."):
        return "it means a folder in an address"
    for character in name:
        if character in _FORBIDDEN or character.isspace() or not character.isprintable():
            return f"{character!r} cannot stand in it"
    return ""


def check_version(version: object) -> str:
    """The version, if it is one by PEP 440, not longer than `MAX_VERSION`; RegistryError (kind "invalid") otherwise."""
    if isinstance(version, str) and len(version) > MAX_VERSION:
        raise RegistryError(f"{version[:40]!r}... is longer than {MAX_VERSION} characters", kind="invalid")
    if isinstance(version, str) and version.isascii() and version.isdigit():
        return version
    from packaging.version import InvalidVersion, Version

    try:
        Version(str(version) if isinstance(version, str) else "")
    except InvalidVersion as error:
        raise RegistryError(f"{version!r:.120} is no version by PEP 440", kind="invalid") from error
    return str(version)


@dataclass(frozen=True)
class FunctionSchema:
    """The contract of a function.

    Attributes:
        name: one segment of an address, see `check_name`.
        version: by PEP 440.
        input: JSON Schema of the parameters, an object.
        output: JSON Schema of the result; of one item, where `streaming`.
        description: for people.
        tags: words to find it by.
        examples: dicts with "input" and "output".
        idempotent: whether calling it twice does no more than calling it once.
        cacheable: whether the same input gives the same output for a while.
        streaming: whether it gives many results, one after another.
        deprecated: whether new callers should look elsewhere.
        timeout: seconds a call may take, or None.

    Raises:
        RegistryError: kind "invalid", for a name or version that is none.
        ConfigError: a flag is not True or False, or the timeout is not a number of seconds above 0.

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

    def __post_init__(self) -> None:
        check_name(self.name)
        check_version(self.version)
        positive_seconds("function.timeout", self.timeout, optional=True)
        for name in _FLAGS:
            flag(f"function.{name}", getattr(self, name))
        object.__setattr__(self, "tags", tuple(self.tags))
        object.__setattr__(self, "examples", tuple(self.examples))

    @cached_property
    def fingerprint(self) -> str:
        """8 hex digits that are the same wherever name, version, input and output are.

        Titles do not count: what a class is called is nothing that a caller could notice.
        """
        contract = {
            "name": self.name,
            "version": self.version,
            "input": _untitled(self.input),
            "output": _untitled(self.output),
        }
        text = json.dumps(contract, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.fingerprint))

    def to_dict(self) -> dict[str, Any]:
        """The schema as JSON data, one member an attribute, and its fingerprint."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        found["tags"] = list(self.tags)
        found["examples"] = [dict(example) for example in self.examples]
        found["fingerprint"] = self.fingerprint
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FunctionSchema:
        """The schema that `to_dict` wrote. Unknown members are ignored, so that a newer peer can be understood.

        Raises:
            SerializationError: for a member of the wrong type, or no name.
            RegistryError: for a name or version that is none.
        """
        if not isinstance(data, Mapping):
            raise SerializationError("a function schema must be an object")
        given = {name: value for name, value in data.items() if name in _MEMBERS}
        if "name" not in given:
            raise SerializationError("a function schema needs a name")
        for name, value in given.items():
            given[name] = _member(name, value)
        try:
            return cls(**given)
        except ConfigError as error:
            raise SerializationError(str(error)) from None

    @cached_property
    def input_schema(self) -> Schema:
        """The input, compiled on first use; formats are asserted, as they are where the function runs."""
        return Schema.of(self.input, formats=True)

    @cached_property
    def output_schema(self) -> Schema:
        """The output, compiled on first use; formats are asserted."""
        return Schema.of(self.output, formats=True)

    def validate_input(self, params: Any) -> None:
        """Raise ValidationError, with every fault, unless the JSON parameters fit."""
        _validate(self.input_schema, params)

    def validate_output(self, value: Any) -> None:
        """Raise ValidationError, with every fault, unless the JSON result fits."""
        _validate(self.output_schema, value)

    def __getstate__(self) -> dict[str, Any]:
        # the compiled schemas do not pickle, and are made again on first use
        return {item.name: self.__dict__[item.name] for item in fields(self)}


def _untitled(schema: Any) -> Any:
    copy = copy_json(schema)
    for part in walk(copy):
        part.pop("title", None)
    return copy


def _validate(schema: Schema, value: Any) -> None:
    if not schema.accepts(value):
        raise ValidationError(errors=schema.faults(value))


def _flag(value: Any) -> bool:
    return type(value) is bool


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


_MEMBERS: dict[str, tuple[str, Any]] = {
    "name": ("text", _text),
    "version": ("text", _text),
    "input": ("an object", _object),
    "output": ("an object", _object),
    "description": ("text", _text),
    "tags": ("a list of texts", lambda value: isinstance(value, list | tuple) and all(map(_text, value))),
    "examples": ("a list of objects", lambda value: isinstance(value, list | tuple) and all(map(_object, value))),
    "idempotent": ("true or false", _flag),
    "cacheable": ("true or false", _flag),
    "streaming": ("true or false", _flag),
    "deprecated": ("true or false", _flag),
    "timeout": ("a number or null", lambda value: value is None or type(value) in (int, float)),
}


def _member(name: str, value: Any) -> Any:
    wanted, fits = _MEMBERS[name]
    if not fits(value):
        raise SerializationError(f"{name} of a function schema must be {wanted}")
    return value
