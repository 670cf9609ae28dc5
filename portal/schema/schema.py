"""Schema: what data must look like, whatever it was described with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ConfigError, Fault, ValidationError
from .codecs import Node, generate, plain_test
from .hints import map_hint
from .jsondata import MAX_FAULTS, copy_json, limit_faults, pointer, shorten
from .strictness import is_scalar
from .validator import Validator

__all__ = ["Schema", "makers"]


#: What makes the schemas of other libraries: each gives None for what is none of its own. Modules above add theirs.
makers: list[Callable[[Any], Schema | None]] = []


class Schema:
    """What data must look like: a JSON Schema, an accept check, an exact report, and native values both ways.

    Make one with `Schema.of`.

    Args:
        json: JSON Schema 2020-12 as a dict; not to be changed afterwards.
        kind: what it was made of: "hint", "marshmallow" or "json".
        source: the hint, marshmallow schema or dict itself.
        decode: JSON data that fits -> native value; None where they are the same.
        encode: native value -> JSON data, for the check that follows; None where they are the same.
        formats: whether date-time, date, time, duration, uuid and decimal are asserted (in JSON Schema 2020-12 they
            are annotations unless a schema's user says otherwise, section 7.2.1 of its validation part).
        node: the mapped hint, to find where a decoder failed.

    Attributes:
        accepts: value -> whether it is JSON data that fits. Never raises, whatever the value.
        plain: value -> True only if it fits and is the same natively as in JSON, so that nothing is left to do. A quick
            test for the commonest values of scalar types; False says nothing.
        plain_test: source text of that test, of `{0}`; None where it is always False.

    Raises:
        ConfigError: for what is no JSON Schema, and for a reference that leads out of it.

    Threads: immutable; any thread may use it.
    """

    __slots__ = (
        "_node",
        "_validator",
        "accepts",
        "decode",
        "encode",
        "formats",
        "json",
        "kind",
        "plain",
        "plain_test",
        "source",
    )  # fmt: skip

    accepts: Callable[[Any], bool]

    def __init__(
        self,
        json: dict[str, Any],
        *,
        kind: str,
        source: Any,
        decode: Callable[[Any], Any] | None = None,
        encode: Callable[[Any], Any] | None = None,
        formats: bool = True,
        node: Node | None = None,
    ) -> None:
        self.json = json
        self.kind = kind
        self.source = source
        self.decode = decode
        self.encode = encode
        self.formats = formats
        self._node = node
        self._validator = Validator(json, formats=formats)
        self.accepts = self._validator.accepts
        test = self.plain_test = plain_test(json) if kind in ("hint", "json") else None
        self.plain: Callable[[Any], bool] = (
            _never if test is None else generate(f"codec = lambda value: {test.format('value')}", {})
        )

    @staticmethod
    def of(source: Any, *, formats: bool | None = None) -> Schema:
        """The schema of a type hint, a marshmallow schema (class, instance, dict of fields) or a JSON Schema dict.

        Args:
            source: what to make it of; a Schema is returned as it is.
            formats: whether formats are asserted; by default for hints they are, for JSON Schemas they are not.

        Raises:
            ConfigError: for what cannot be mapped, naming it.
        """
        if isinstance(source, Schema):
            return source
        for make in makers:
            made = make(source)
            if made is not None:
                return made
        if isinstance(source, bool):
            source = {} if source else {"not": {}}
        if isinstance(source, dict):
            return _of_json(source, bool(formats))
        node = map_hint(source)
        return Schema(
            node.json,
            kind="hint",
            source=source,
            decode=node.decode,
            encode=node.encode,
            node=node,
            formats=formats is not False,
        )

    def faults(self, value: Any) -> list[Fault]:
        """Every fault of the value, each with its path; empty exactly where `accepts` is True."""
        return self._validator.faults(value)

    def load(self, value: Any) -> Any:
        """JSON data -> native value, containers copied.

        Raises:
            ValidationError: with every fault.
        """
        if not self.accepts(value):
            raise ValidationError(errors=self.faults(value))
        if self.decode is None:
            return value
        try:
            return self.decode(value)
        except Exception as error:  # decoders run constructors of user classes, which may raise anything
            raise self._decode_error(value, error) from error

    def dump(self, native: Any) -> Any:
        """Native value -> JSON data, containers copied.

        Raises:
            ValidationError: with every fault.
        """
        encoded = native
        if self.encode is not None:
            try:
                encoded = self.encode(native)
            except Exception as error:  # encoders read attributes of user classes and follow cycles
                fault = Fault("", f"cannot be written as JSON: {_words(error)}", "json", None, shorten(native))
                raise ValidationError(errors=[fault]) from error
        if not self.accepts(encoded):
            raise ValidationError(errors=self.faults(encoded))
        return encoded

    def _decode_error(self, value: Any, error: Exception) -> ValidationError:
        faults = limit_faults(_locate(self._node, value, ())) if self._node is not None else []
        return ValidationError(errors=faults or [_decode_fault((), value, error)])

    def to_json(self) -> dict[str, Any]:
        """The JSON Schema, as a copy."""
        found: dict[str, Any] = copy_json(self.json)
        return found

    def to_hint(self) -> Any:
        """The nearest type hint; the one it was made of, if it was."""
        if self.kind == "hint":
            return self.source
        from .conversion import hint_from_json

        return hint_from_json(self.json)

    def to_marshmallow(self) -> Any:
        """The nearest marshmallow Schema class; what it was made of, if that was marshmallow."""
        if self.kind == "marshmallow":
            return self.source
        from .conversion import marshmallow_from_json

        return marshmallow_from_json(self.json)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self.kind == other.kind and self.json == other.json

    def __hash__(self) -> int:
        # dicts are unordered to ==, and keywords alone tell most schemas apart
        return hash((self.kind, frozenset(self.json)))

    def __repr__(self) -> str:
        return f"Schema({self.kind}, {shorten(self.json)})"


def _never(value: Any) -> bool:
    return False


def _of_json(source: dict[str, Any], formats: bool) -> Schema:
    json = copy_json(source)
    copy = None if is_scalar(json) else copy_json
    return Schema(json, kind="json", source=source, decode=copy, encode=copy, formats=formats)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _decode_fault(path: tuple[Any, ...], value: Any, error: BaseException) -> Fault:
    return Fault(pointer(path), f"cannot be taken in: {_words(error)}", "decode", None, shorten(value))


def _locate(node: Node, value: Any, path: tuple[Any, ...]) -> Iterator[Fault]:
    """The innermost parts whose decoders fail."""
    if node.decode is None:
        return
    try:
        node.decode(value)
    except Exception as error:  # as in load
        inner: list[Fault] = []
        for token, child, part in node.children(value) if node.children is not None else ():
            inner.extend(_locate(child, part, (*path, token)))
            if len(inner) > MAX_FAULTS:
                break
        yield from inner or [_decode_fault(path, value, error)]


def require_object(schema: Schema, what: str) -> dict[str, Any]:
    """The properties of an object schema; ConfigError for another."""
    properties = schema.json.get("properties", {})
    if schema.json.get("type", "object") != "object" or not isinstance(properties, dict):
        raise ConfigError(f"{what} must be a JSON object with named properties", path="/type", expected="object")
    return properties
